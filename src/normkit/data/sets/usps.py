"""USPS "zip code" digits, grey values kept as thousandths."""

from pathlib import Path

import numpy as np

from normkit.data.bunch import Arrays, DataSet

__all__ = ["USPS"]


def _read(folder: Path | None) -> Arrays:
    assert folder is not None
    with np.load(folder / "usps.npz") as file:
        thousandths = np.concatenate([file["X_train"], file["X_test"]])
        y = np.concatenate([file["y_train"], file["y_test"]]).astype(np.int64)
        train = len(file["y_train"])
    # -1000…1000 to 0…255: background is 0 as in MNIST, and the step of 2/255 is above the source's resolution of 1/1000
    X = np.rint((thousandths.astype(np.float64) + 1000) * (255 / 2000)).astype(np.uint8)[..., None]
    index = np.arange(len(X))
    return X, y, {"train": index[:train], "test": index[train:]}


USPS = DataSet(
    name="usps",
    summary="9,298 grey 16×16 images of digits from envelopes",
    source="the CRAN package ElemStatLearn (zip.train, zip.test) as usps.npz: X_train, X_test int16 (N, 16, 16) in "
    "thousandths from -1000 to 1000, y_train, y_test",
    licence="as ElemStatLearn (GPL >= 2); data made available by AT&T Bell Labs",
    citation="Y. LeCun et al. (1990), Handwritten digit recognition with a back-propagation network",
    read=_read,
    files=("usps.npz",),
    size=1_668_482,
    details={"classes": [str(digit) for digit in range(10)], "highest": 255},
)
