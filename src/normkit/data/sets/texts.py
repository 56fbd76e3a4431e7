"""English prose in gzipped files: one document a file, cut into the first 90 % for training and the rest for test."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from normkit.data.bunch import Arrays, DataSet

__all__ = ["DARWIN", "STATE_UNION", "TINYSHAKESPEARE", "WIKITEXT2_MINI"]

_TRAIN_SHARE = 0.9


def _two_parts(file: str) -> Callable[[Path | None], Arrays]:
    def read(folder: Path | None) -> Arrays:
        content = _text(folder, file)
        cut = int(_TRAIN_SHARE * len(content))
        return _documents([content[:cut], content[cut:]]), None, {"train": np.array([0]), "test": np.array([1])}

    return read


def _read_wikitext(folder: Path | None) -> Arrays:
    test = _text(folder, "wikitext2_test.txt.gz")
    half = test.index("\n", len(test) // 2) + 1
    documents = _documents([_text(folder, "wikitext2_valid.txt.gz"), test[:half], test[half:]])
    return documents, None, {"train": np.array([0]), "validation": np.array([1]), "test": np.array([2])}


def _text(folder: Path | None, file: str) -> str:
    assert folder is not None
    return gzip.decompress((folder / file).read_bytes()).decode()


def _documents(texts: list[str]) -> NDArray[np.object_]:
    return np.array(texts, dtype=object)


TINYSHAKESPEARE = DataSet(
    name="tinyshakespeare",
    summary="1.1 million characters of Shakespeare's plays; two documents: the first 90 % and the rest",
    source="the repository karpathy/char-rnn, data/tinyshakespeare/input.txt, gzipped",
    licence="public domain",
    citation="A. Karpathy (2015), The Unreasonable Effectiveness of Recurrent Neural Networks",
    read=_two_parts("tinyshakespeare.txt.gz"),
    files=("tinyshakespeare.txt.gz",),
    folder="text",
    size=433_904,
    details={"joined_by": ""},
)

DARWIN = DataSet(
    name="darwin",
    summary="3.5 million characters of Charles Darwin's books; two documents: the first 90 % and the rest",
    source="the repository ml5js/ml5-data-and-models, datasets/text/darwin, gzipped",
    licence="public domain",
    citation="C. Darwin (1859), On the Origin of Species, and other books",
    read=_two_parts("darwin.txt.gz"),
    files=("darwin.txt.gz",),
    folder="text",
    size=1_196_794,
    details={"joined_by": ""},
)

STATE_UNION = DataSet(
    name="state-union",
    summary="2.1 million characters of State of the Union addresses, 1945 to 2006; the first 90 % and the rest",
    source="the nltk_data corpus state_union, its files joined in the order of their names, gzipped",
    licence="public domain",
    citation="nltk_data, corpus state_union",
    read=_two_parts("state_union.txt.gz"),
    files=("state_union.txt.gz",),
    folder="text",
    size=710_357,
    details={"joined_by": ""},
)

WIKITEXT2_MINI = DataSet(
    name="wikitext2-mini",
    summary="validation and test text of WikiText-2; training is on the former: no match for published figures",
    source="the repository pytorch/examples, word_language_model/data/wikitext-2, gzipped",
    licence="CC BY-SA 3.0",
    citation="S. Merity, C. Xiong, J. Bradbury and R. Socher (2016), Pointer Sentinel Mixture Models, arXiv:1609.07843",
    read=_read_wikitext,
    files=("wikitext2_valid.txt.gz", "wikitext2_test.txt.gz"),
    folder="text",
    size=784_458,
)
