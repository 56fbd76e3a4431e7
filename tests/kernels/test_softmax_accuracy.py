"""How far the native softmax is from float64 in the worst of millions of elements, not in the few of other tests.

The largest error is that of rare rows, in which one element makes up most of the sum: whatever rounds that element
again shows in every result of the row.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from normkit.kernels import native

pytestmark = pytest.mark.skipif(not native.AVAILABLE, reason=native.WHY_NOT)

if native.AVAILABLE:
    from normkit import _native

    ISAS = [isa["name"] for isa in _native.available() if isa["supported"]]
else:
    ISAS = []

WIDTHS = (48, 64, 128, 200, 256, 500, 1000)
SMALLEST = 2.0**-125


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _native.isa()
    _native.use_isa(request.param)
    yield request.param
    _native.use_isa(before)


def worst(y: Tensor, exact: Tensor) -> float:
    """Largest error in units in the last place, of results that are not flushed."""
    counted = exact >= SMALLEST
    exponent = torch.frexp(exact).exponent - 24
    return float(torch.where(counted, torch.ldexp((y.double() - exact).abs(), -exponent), 0.0).max())


def worst_of(width: int, elements: int, scale: float, **options: str) -> float:
    draw = torch.Generator().manual_seed(width)
    rows = max(1, 2**19 // width)
    found = 0.0
    for _ in range(max(1, elements // (rows * width))):
        x = scale * torch.randn(rows, width, generator=draw)
        found = max(found, worst(native.softmax(x, 1, **options), torch.softmax(x.double(), 1)))
    return found


@pytest.mark.parametrize("width", WIDTHS)
def test_millions_of_elements(isa: str, width: int) -> None:
    assert worst_of(width, 6_000_000, 4.0) <= 5.5
    assert worst_of(width, 500_000, 1.0) <= 5.5
    assert worst_of(width, 500_000, 4.0, accuracy="high") <= 4


@pytest.mark.slow
@pytest.mark.parametrize("width", [*WIDTHS, 17, 33, 513, 4096, 33000])
def test_many_millions_of_elements(isa: str, width: int) -> None:
    assert worst_of(width, 36_000_000, 4.0) <= 6
    assert worst_of(width, 8_000_000, 30.0) <= 6
    assert worst_of(width, 8_000_000, 4.0, accuracy="high") <= 4


def exact_softmax(x: Tensor) -> Tensor:
    """In float64, the sum added up in pieces so that it has no error to speak of at any length."""
    exponentials = (x.double() - x.max().double()).exp_()
    total = torch.stack([piece.sum() for piece in exponentials.split(2**16)]).sum()
    return exponentials.div_(total)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "bound"), [(2**18, 6), (2**20, 6), (2**22, 6), (2**24, 6), (2**24 + 5, 6), (10**8, 8)]
)
@pytest.mark.parametrize("variant", [None, "two-pass"])
def test_long_rows(isa: str, width: int, bound: float, variant: str | None) -> None:
    """One row: the error does not grow with its length, and the results add up to 1."""
    x = torch.randn(1, width, generator=torch.Generator().manual_seed(0)).mul_(4)
    y = native.softmax(x, 1, variant=variant)
    exact = exact_softmax(x[0])
    found = max(worst(a, b) for a, b in zip(y[0].split(2**22), exact.split(2**22), strict=True))
    assert found <= bound
    assert sum(float(piece.double().sum()) for piece in y[0].split(2**20)) == pytest.approx(1, rel=1e-6)
