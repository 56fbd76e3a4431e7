"""LayerNorm and its recurrent cells and layers against the vectors of the authors' own functions.

The authors' matrices are input × output and their LSTM's gates i, f, o, g (torch: i, f, g, o). Their LSTM adds the bias
b twice: inside the first norm's argument and to the sum, which is a second shift of that norm.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from normkit import nn
from tests.golden.conftest import Golden

PRECISIONS = [(torch.float64, 1e-10), (torch.float32, 1e-5)]
precisions = pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)


@precisions
def test_layer_norm(golden: Golden, dtype: torch.dtype, tolerance: float) -> None:
    x = golden.tensor("ln_x", dtype).requires_grad_()
    layer = nn.LayerNorm(golden["ln_weight"].shape, dtype=dtype)
    layer.load_state_dict({"weight": golden.tensor("ln_weight", dtype), "bias": golden.tensor("ln_bias", dtype)})
    y = layer(x)
    gradients = torch.autograd.grad(y, (x, layer.weight, layer.bias), golden.tensor("ln_gy", dtype))
    for key, ours in zip(("ln_y", "ln_gx", "ln_gw", "ln_gb"), (y, *gradients), strict=True):
        _close(ours, golden.tensor(key), tolerance, key)


Parameters = dict[str, Tensor]


@precisions
def test_lstm_cell(golden: Golden, dtype: torch.dtype, tolerance: float) -> None:
    theirs = _parameters(golden, "lstm", ("W", "U", "b", "b1", "s1", "b2", "s2", "b3", "s3"), dtype)
    cell = nn.LayerNormLSTMCell(len(theirs["W"]), len(theirs["U"]), dtype=dtype)
    h, c, leaves = _walk(golden, "lstm", cell, _lstm_state(theirs), dtype, tolerance)
    assert c is not None
    upstream = [golden.tensor(f"lstm_g{name}", dtype) for name in "hc"]
    _check_gradients(golden, "lstm", (h, c), upstream, leaves | theirs, tolerance)


@precisions
def test_gru_cell(golden: Golden, dtype: torch.dtype, tolerance: float) -> None:
    names = ("W", "b", "U", "Wx", "bx", "Ux", *(f"{kind}{place}" for place in range(1, 5) for kind in "bs"))
    theirs = _parameters(golden, "gru", names, dtype)
    cell = nn.LayerNormGRUCell(len(theirs["W"]), len(theirs["U"]), dtype=dtype)
    h, _, leaves = _walk(golden, "gru", cell, _gru_state(theirs), dtype, tolerance)
    _check_gradients(golden, "gru", (h,), [golden.tensor("gru_gh", dtype)], leaves | theirs, tolerance)


@precisions
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_packed_layer(golden: Golden, kind: str, dtype: torch.dtype, tolerance: float) -> None:
    """Sequences that end early, packed: what stands behind their ends is not computed, the rest is the masked run."""
    mask = golden.tensor(f"{kind}_mask")
    lengths = mask.sum(0).long()
    if not bool((mask.sort(0, descending=True).values == mask).all()) or not bool((lengths > 0).all()):
        pytest.skip("the file masks more than ends")
    names = {key.removeprefix(f"{kind}_grad_") for key in golden.arrays if key.startswith(f"{kind}_grad_")}
    theirs = _parameters(golden, kind, sorted(names), dtype)
    state = _lstm_state(theirs) if kind == "lstm" else _gru_state(theirs)
    make: Callable[..., torch.nn.Module] = nn.LayerNormLSTM if kind == "lstm" else nn.LayerNormGRU
    layer = make(len(theirs["W"]), len(theirs["U"]), dtype=dtype)
    layer.load_state_dict({_of_layer(name): value for name, value in state.items()})
    packed = pack_padded_sequence(golden.tensor(f"{kind}_x", dtype), lengths, enforce_sorted=False)
    h0 = golden.tensor(f"{kind}_h0", dtype)[None]
    output, last = layer(packed, (h0, golden.tensor("lstm_c0", dtype)[None]) if kind == "lstm" else h0)
    wanted = golden.tensor(f"{kind}_h")
    _close(pad_packed_sequence(output)[0], wanted[: lengths.max()] * mask[: lengths.max(), :, None], tolerance, "h")
    _close((last[0] if kind == "lstm" else last)[0], wanted[-1], tolerance, "last h")
    if kind == "lstm":
        _close(last[1][0], golden.tensor("lstm_c")[-1], tolerance, "last c")


def _parameters(golden: Golden, kind: str, names: tuple[str, ...] | list[str], dtype: torch.dtype) -> Parameters:
    return {name: golden.tensor(f"{kind}_{name}", dtype).requires_grad_() for name in names}


def _in_torchs_order(gates: Tensor) -> Tensor:
    """From i, f, o, g to i, f, g, o along the last axis."""
    i, f, o, g = gates.chunk(4, -1)
    return torch.cat([i, f, g, o], -1)


def _lstm_state(theirs: Parameters) -> Parameters:
    """The cell's state, as functions of the authors' parameters."""
    ours = {name: _in_torchs_order(value) for name, value in theirs.items() if value.shape[-1] == theirs["b"].shape[-1]}
    return {
        "weight_ih": ours["W"].T,
        "weight_hh": ours["U"].T,
        "bias_ih": ours["b"],
        "bias_hh": torch.zeros_like(ours["b"]),
        "ln_ih.weight": ours["s1"],
        "ln_ih.bias": ours["b1"] + ours["b"],
        "ln_hh.weight": ours["s2"],
        "ln_hh.bias": ours["b2"],
        "ln_c.weight": theirs["s3"],
        "ln_c.bias": theirs["b3"],
    }


def _gru_state(theirs: Parameters) -> Parameters:
    bias = torch.cat([theirs["b"], theirs["bx"]])
    state = {
        "weight_ih": torch.cat([theirs["W"], theirs["Wx"]], 1).T,
        "weight_hh": torch.cat([theirs["U"], theirs["Ux"]], 1).T,
        "bias_ih": bias,
        "bias_hh": torch.zeros_like(bias),
    }
    for place, norm in enumerate(("ln_ih", "ln_in", "ln_hh", "ln_hn"), 1):
        state |= {f"{norm}.weight": theirs[f"s{place}"], f"{norm}.bias": theirs[f"b{place}"]}
    return state


def _of_layer(name: str) -> str:
    """The name in a stack of one layer of a parameter of the cell."""
    head, dot, tail = name.partition(".")
    return f"{head}_l0{dot}{tail}"


def _walk(
    golden: Golden, kind: str, cell: torch.nn.Module, state: Parameters, dtype: torch.dtype, tolerance: float
) -> tuple[Tensor, Tensor | None, Parameters]:
    """The cell at every step, held where the mask is 0: h and c of all steps, checked, and what they come from."""
    leaves = {name: golden.tensor(f"{kind}_{name}", dtype).requires_grad_() for name in ("x", "h0")}
    if kind == "lstm":
        leaves["c0"] = golden.tensor("lstm_c0", dtype).requires_grad_()
    held = tuple(leaves[name] for name in ("h0", "c0") if name in leaves)
    found = []
    for x, real in zip(leaves["x"], golden.tensor(f"{kind}_mask", dtype)[..., None], strict=True):
        after = torch.func.functional_call(cell, state, (x, held if kind == "lstm" else held[0]), strict=True)
        after = after if kind == "lstm" else (after,)
        held = tuple(real * new + (1 - real) * old for new, old in zip(after, held, strict=True))
        found.append(held)
    sequences = [torch.stack(each) for each in zip(*found, strict=True)]
    for name, ours in zip("hc", sequences, strict=False):
        _close(ours, golden.tensor(f"{kind}_{name}"), tolerance, name)
    return sequences[0], sequences[1] if kind == "lstm" else None, leaves


def _check_gradients(
    golden: Golden,
    kind: str,
    outputs: tuple[Tensor, ...],
    upstream: list[Tensor],
    leaves: Parameters,
    tolerance: float,
) -> None:
    gradients = torch.autograd.grad(outputs, list(leaves.values()), upstream)
    for name, gradient in zip(leaves, gradients, strict=True):
        key = f"{kind}_g{name}" if name in ("x", "h0", "c0") else f"{kind}_grad_{name}"
        _close(gradient, golden.tensor(key), tolerance, key)


def _close(ours: Tensor, wanted: Tensor, tolerance: float, key: str) -> None:
    bound = tolerance * max(1.0, wanted.abs().max().item())
    assert (ours.double() - wanted).abs().max().item() <= bound, key
