"""The recurrent layers and cells: torch's own where the norms are off, and what holds for all of them with norms."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence, unpack_sequence

from normkit import nn

KINDS = ("LSTM", "GRU", "RNN")
every_kind = pytest.mark.parametrize("kind", KINDS)


def ours(kind: str) -> Any:
    return getattr(nn, f"LayerNorm{kind}")


def cell(kind: str) -> Any:
    return getattr(nn, f"LayerNorm{kind}Cell")


def shaken(layer: torch.nn.Module, seed: int = 1) -> torch.nn.Module:
    """The layer, none of its parameters being 0 or 1 any more."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64).to(parameter.dtype))
    return layer


def states_of(kind: str, count: int, batch: int, hidden: int, **options: Any) -> Any:
    h, c = torch.randn(count, batch, hidden, **options), torch.randn(count, batch, hidden, **options)
    return (h, c) if kind == "LSTM" else h


def tensors(found: Any) -> list[Tensor]:
    """All tensors of an output and its states, in order."""
    if isinstance(found, PackedSequence):
        return [found.data, *(each for each in found[1:] if each is not None)]
    return [found] if isinstance(found, Tensor) else [tensor for each in found for tensor in tensors(each)]


def assert_same(found: Any, wanted: Any, tolerance: float = 1e-6) -> None:
    found, wanted = tensors(found), tensors(wanted)
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


OPTIONS = [
    {},
    {"bias": False, "batch_first": True},
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": 3, "dropout": 0.4, "bidirectional": True, "batch_first": True},
]


@every_kind
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("given", [True, False], ids=["states", "zeros"])
@pytest.mark.parametrize("form", ["padded", "packed", "sorted", "unbatched"])
def test_without_norms_it_is_torchs_layer(kind: str, options: dict[str, Any], given: bool, form: str) -> None:
    theirs = getattr(torch.nn, kind)(4, 5, **options)
    mine = ours(kind).from_torch(theirs, layer_norm=False)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    axes = {"padded": (3, 6, 4) if options.get("batch_first") else (6, 3, 4), "unbatched": (6, 4)}
    x: Any = torch.randn(axes.get(form, (1,)))
    if form in ("packed", "sorted"):
        lengths = (2, 6, 3) if form == "packed" else (6, 3, 3)
        x = pack_sequence([torch.randn(length, 4) for length in lengths], enforce_sorted=form == "sorted")
    states = states_of(kind, theirs.num_layers * (1 + theirs.bidirectional), 3, 5) if given else None
    if given and form == "unbatched":
        states = tuple(each[:, 0] for each in states) if kind == "LSTM" else states[:, 0]
    outcomes = []
    for layer in (mine, theirs):
        torch.manual_seed(5)  # of the dropout
        outcomes.append(layer(x, states))
    assert_same(*outcomes)
    losses = [sum(each.square().sum() for each in tensors(outcome) if each.is_floating_point()) for outcome in outcomes]
    gradients = [
        torch.autograd.grad(loss, list(layer.parameters())) for loss, layer in zip(losses, (mine, theirs), strict=True)
    ]
    assert_same(*gradients, tolerance=1e-5)


@pytest.mark.parametrize("make", [nn.LayerNormRNN, nn.LayerNormRNNCell])
def test_relu(make: Any) -> None:
    theirs = (
        torch.nn.RNN(4, 5, nonlinearity="relu") if make is nn.LayerNormRNN else torch.nn.RNNCell(4, 5, True, "relu")
    )
    mine = make(4, 5, layer_norm=False, nonlinearity="relu")
    mine.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(3, 2, 4) if make is nn.LayerNormRNN else torch.randn(3, 4)
    assert_same(mine(x), theirs(x))
    if make is nn.LayerNormRNN:
        assert_same(make.from_torch(theirs, layer_norm=False)(x), theirs(x))
    with pytest.raises(ValueError, match=r"Unknown nonlinearity 'gelu'\. Select from 'tanh' or 'relu'"):
        make(4, 5, nonlinearity="gelu")


@every_kind
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [(3,), ()], ids=["batched", "unbatched"])
def test_without_norms_it_is_torchs_cell(kind: str, bias: bool, batch: tuple[int, ...]) -> None:
    theirs = getattr(torch.nn, f"{kind}Cell")(4, 5, bias)
    mine = cell(kind)(4, 5, bias, layer_norm=False)
    mine.load_state_dict(theirs.state_dict(), strict=True)
    x, h, c = torch.randn(*batch, 4), torch.randn(*batch, 5), torch.randn(*batch, 5)
    assert_same(mine(x), theirs(x))
    states = (h, c) if kind == "LSTM" else h
    assert_same(mine(x, states), theirs(x, states))


@every_kind
def test_the_weights_start_as_torchs_and_the_norms_as_the_identity(kind: str) -> None:
    torch.manual_seed(3)
    theirs = getattr(torch.nn, kind)(4, 5, 2)
    torch.manual_seed(3)
    mine = ours(kind)(4, 5, 2)
    state = mine.state_dict()
    for name, value in theirs.state_dict().items():
        assert torch.equal(state.pop(name), value)
    assert all(torch.equal(value, torch.full_like(value, float("weight" in name))) for name, value in state.items())


@every_kind
@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_sequences_do_not_see_each_other(kind: str, bidirectional: bool) -> None:
    layer = shaken(ours(kind)(4, 5, 2, bidirectional=bidirectional, dtype=torch.float64))
    sequences = [torch.randn(length, 4, dtype=torch.float64) for length in (2, 6, 3, 6, 1)]
    states = states_of(kind, 4 if bidirectional else 2, 5, 5, dtype=torch.float64)
    output, last = layer(pack_sequence(sequences, enforce_sorted=False), states)
    for place, (sequence, found) in enumerate(zip(sequences, unpack_sequence(output), strict=True)):
        own = tuple(s[:, place] for s in states) if kind == "LSTM" else states[:, place]
        wanted, wanted_last = layer(sequence, own)
        assert_same(found, wanted, 1e-12)
        for a, b in zip(tensors(last), tensors(wanted_last), strict=True):
            assert_same(a[:, place], b, 1e-12)


@every_kind
def test_a_sequence_is_not_touched_by_the_batch_nor_by_what_follows(kind: str) -> None:
    layer = shaken(ours(kind)(4, 5, dtype=torch.float64))
    x = torch.randn(7, 3, 4, dtype=torch.float64)
    whole, _ = layer(x)
    assert_same(layer(x[:4, 1:2])[0], whole[:4, 1:2], 1e-12)


@every_kind
def test_the_second_direction_reads_from_the_end(kind: str) -> None:
    both = shaken(ours(kind)(4, 5, bidirectional=True, dtype=torch.float64))
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    output, last = both(x)
    for direction, suffix in enumerate(("", "_reverse")):
        single = ours(kind)(4, 5, dtype=torch.float64)
        state = both.state_dict()
        single.load_state_dict({name: state[name.replace("_l0", "_l0" + suffix)] for name in single.state_dict()})
        wanted, wanted_last = single(x.flip(0) if suffix else x)
        wanted = wanted.flip(0) if suffix else wanted
        assert_same(output[..., 5 * direction : 5 * direction + 5], wanted, 1e-12)
        for a, b in zip(tensors(last), tensors(wanted_last), strict=True):
            assert_same(a[direction], b[0], 1e-12)


@every_kind
@pytest.mark.parametrize("layer_norm", [True, False])
def test_the_layer_is_the_cell_step_by_step(kind: str, layer_norm: bool) -> None:
    layer = shaken(ours(kind)(4, 5, layer_norm=layer_norm, dtype=torch.float64))
    one = cell(kind)(4, 5, layer_norm=layer_norm, dtype=torch.float64)
    one.load_state_dict({name.replace("_l0", ""): value for name, value in layer.state_dict().items()}, strict=True)
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    states, found = None, []
    for step in x:
        states = one(step, states)
        found.append(states[0] if kind == "LSTM" else states)
    output, last = layer(x)
    assert_same(torch.stack(found), output, 1e-12)
    assert_same(states, tuple(each[0] for each in last) if kind == "LSTM" else last[0], 1e-12)


@every_kind
def test_the_scale_of_the_weights_does_not_matter(kind: str) -> None:
    """The paper's table 1 at every step; the Elman network has one norm of both sums, so both scales are one there."""
    layer = shaken(ours(kind)(4, 8, bias=False, eps=0.0, dtype=torch.float64))
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    states = states_of(
        kind, 1, 3, 8, dtype=torch.float64
    )  # from h = 0 the row is constant, which eps = 0 cannot divide
    before = layer(x, states)
    with torch.no_grad():
        layer.weight_hh_l0 *= 5
        layer.weight_ih_l0 *= 5 if kind == "RNN" else 0.3
    assert_same(layer(x, states), before, 1e-10)


@every_kind
def test_a_norm_that_is_exchanged_or_hooked_is_used(kind: str) -> None:
    layer = ours(kind)(4, 6)
    name = "ln_l0" if kind == "RNN" else "ln_hh_l0"
    seen: list[int] = []
    hook = getattr(layer, name).register_forward_hook(lambda *_: seen.append(1))
    x = torch.randn(5, 3, 4)
    before = layer(x)[0]
    assert len(seen) == 5
    hook.remove()
    setattr(layer, name, torch.nn.Identity())
    assert (layer(x)[0] - before).abs().max() > 1e-3


@every_kind
def test_states_get_gradients(kind: str) -> None:
    layer = shaken(ours(kind)(3, 4, 2, bidirectional=True, dtype=torch.float64))
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    states = states_of(kind, 4, 2, 4, dtype=torch.float64, requires_grad=True)

    def function(*states: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensors(layer(x, states if kind == "LSTM" else states[0])))

    assert torch.autograd.gradcheck(function, tensors(states), fast_mode=True)


@every_kind
def test_half_precision_under_autocast_carries_its_state_in_float32(kind: str) -> None:
    layer = shaken(ours(kind)(8, 16))
    x = torch.randn(50, 3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        output, last = layer(x)
    assert {each.dtype for each in (output, *tensors(last))} == {torch.float32}
    assert (output - layer(x)[0]).abs().max() < 0.1


@every_kind
def test_copies_of_a_used_layer_keep_to_their_own_weights(kind: str) -> None:
    layer = shaken(ours(kind)(4, 5))
    x = torch.randn(6, 3, 4)
    before = layer(x)
    torch.func.functional_call(layer, {name: 2 * value for name, value in layer.named_parameters()}, (x,))
    assert_same(layer(x), before, 0)
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert_same(layer(x), before, 0)
    assert tensors(twin(x))[0].abs().max() == 0


@pytest.fixture
def annotations_unchecked() -> Iterator[None]:
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


MISFITS: list[tuple[Callable[[Any, str], Any], str]] = [
    (lambda layer, kind: layer(torch.randn(3, 4, 2, 4)), "Expected input to be 2D or 3D, got 4D instead"),
    (lambda layer, kind: layer(torch.randn(6, 3, 7)), "must be equal to input_size. Expected 4, got 7"),
    (lambda layer, kind: layer(torch.randn(0, 3, 4)), "Expected sequence length to be larger than 0"),
    (lambda layer, kind: layer(torch.randn(6, 3, 4).double()), r"RNN input dtype \(torch.float64\) does not match"),
    (
        lambda layer, kind: layer(torch.randn(6, 3, 4), states_of(kind, 2, 3, 5, dtype=torch.float64)),
        r"RNN hx dtype \(torch.float64\) does not match weight dtype \(torch.float32\)",
    ),
    (lambda layer, kind: layer(torch.randn(6, 3, 4), states_of(kind, 2, 2, 5)), r"Expected hidden.* size \(2, 3, 5\)"),
    (lambda layer, kind: layer(torch.randn(6, 3, 4), states_of(kind, 1, 3, 5)), r"got \[1, 3, 5\]"),
    (lambda layer, kind: layer(torch.randn(6, 4), states_of(kind, 2, 1, 5)), "For unbatched 2-D input, hx"),
    (
        lambda layer, kind: layer(
            torch.randn(6, 3, 4), (torch.randn(2, 5),) * 2 if kind == "LSTM" else torch.randn(2, 5)
        ),
        "For batched 3-D input, hx",
    ),
]


@every_kind
@pytest.mark.parametrize(("call", "message"), MISFITS)
def test_misfits_of_a_layer(kind: str, call: Callable[[Any, str], Any], message: str) -> None:
    layer = ours(kind)(4, 5, 2)
    with pytest.raises(ValueError, match=message) as caught:
        call(layer, kind)
    assert isinstance(caught.value, RuntimeError)  # which is what torch raises for most of them
    assert f"LayerNorm{kind}" in str(caught.value)


@every_kind
def test_misfits_of_a_cell(kind: str) -> None:
    one = cell(kind)(4, 5)
    x = torch.randn(3, 4)

    def states(*shape: int) -> Any:
        return (torch.randn(shape),) * 2 if kind == "LSTM" else torch.randn(shape)

    with pytest.raises(ValueError, match="Expected input to be 1D or 2D, got 3D instead"):
        one(torch.randn(2, 3, 4))
    with pytest.raises(ValueError, match="input has inconsistent input_size: got 7 expected 4"):
        one(torch.randn(3, 7))
    with pytest.raises(ValueError, match="Input batch size 3 doesn't match hidden0 batch size 2"):
        one(x, states(2, 5))
    with pytest.raises(ValueError, match="hidden0 has inconsistent hidden_size: got 6, expected 5"):
        one(x, states(3, 6))
    with pytest.raises(ValueError, match=r"Expected hx\[0\] to be 2D like the input, got 1D"):
        one(x, states(5))
    with pytest.raises(ValueError, match=r"RNN input dtype \(torch.float64\) does not match"):
        one(x.double())
    with pytest.raises(TypeError, match=r"float tensor, got torch\.int64"):
        one(x.long())


@pytest.mark.parametrize("make", [*(ours(kind) for kind in KINDS), *(cell(kind) for kind in KINDS)])
def test_refusals_of_the_constructor(make: Any) -> None:
    with pytest.raises(ValueError, match=r"hidden_size 1 leaves the norm one unit.*constant.*layer_norm=False"):
        make(4, 1)
    assert make(4, 1, layer_norm=False).hidden_size == 1
    with pytest.raises(ValueError, match="eps must be at least 0, got -1"):
        make(4, 5, eps=-1.0)
    with pytest.raises(ValueError, match="input_size"):
        make(0, 5)


@every_kind
def test_a_projection_is_refused_and_so_is_another_layer(kind: str) -> None:
    with pytest.raises(ValueError, match=r"no layer norm for a projected state, got proj_size=2; .* torch\.nn\.Linear"):
        ours(kind)(4, 5, proj_size=2)
    with pytest.raises(ValueError, match="dropout should be a number in range"):
        ours(kind)(4, 5, dropout=1.5)


@pytest.mark.usefixtures("annotations_unchecked")
def test_what_is_no_pair_and_no_such_layer() -> None:
    with pytest.raises(TypeError, match=r"hx must be a pair of tensors \(h_0, c_0\), got Tensor"):
        nn.LayerNormLSTM(4, 5)(torch.randn(6, 3, 4), torch.randn(1, 3, 5))
    with pytest.raises(TypeError, match=r"hx must be a pair of tensors \(h_0, c_0\), got Tensor"):
        nn.LayerNormLSTMCell(4, 5)(torch.randn(3, 4), torch.randn(3, 5))
    with pytest.raises(TypeError, match=r"takes a torch\.nn\.LSTM, got GRU"):
        nn.LayerNormLSTM.from_torch(torch.nn.GRU(4, 5))
    with pytest.raises(ValueError, match="proj_size=2"):
        nn.LayerNormLSTM.from_torch(torch.nn.LSTM(4, 5, proj_size=2))


def test_from_torch_refuses_weights_under_other_names() -> None:
    theirs = torch.nn.utils.parametrizations.weight_norm(torch.nn.LSTM(4, 5), "weight_hh_l0")
    with pytest.raises(ValueError, match=r"kept under other names, .*weight_hh_l0.*remove_parametrizations"):
        nn.LayerNormLSTM.from_torch(theirs)


@every_kind
def test_a_parametrized_weight_is_trained_through_its_own(kind: str) -> None:
    layer = ours(kind)(4, 5)
    torch.nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
    x = torch.randn(6, 3, 4)
    before = layer(x)[0]
    before.square().sum().backward()
    originals = [value for name, value in layer.named_parameters() if "original" in name]
    assert len(originals) == 2
    assert all(value.grad is not None and value.grad.abs().max() > 0 for value in originals)
    with torch.no_grad():
        originals[1].neg_()
    assert (layer(x)[0] - before).abs().max() > 1e-3


def test_from_torch_keeps_dtype_mode_and_padding() -> None:
    theirs = torch.nn.LSTM(4, 5, 2, batch_first=True, dropout=0.1, dtype=torch.float64).eval()
    mine = nn.LayerNormLSTM.from_torch(theirs, eps=1e-3)
    assert not mine.training
    assert (mine.batch_first, mine.dropout, mine.eps, mine.ln_c_l1.eps) == (True, 0.1, 1e-3, 1e-3)
    assert {value.dtype for value in mine.state_dict().values()} == {torch.float64}
    packed, _ = mine(pack_sequence([torch.randn(n, 4, dtype=torch.float64) for n in (3, 1)]))
    assert pad_packed_sequence(packed, batch_first=True)[0].shape == (2, 3, 5)


@pytest.mark.slow
@every_kind
@pytest.mark.usefixtures("annotations_unchecked")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # torch's own, in its exporter
def test_exports_to_onnx(kind: str) -> None:
    """Computed by ONNX's own reference implementation."""
    evaluator = pytest.importorskip("onnx.reference", reason="onnx is needed to run an exported network")
    pytest.importorskip("onnxscript", reason="torch exports to ONNX through onnxscript")
    layer = shaken(ours(kind)(4, 6, 2, bidirectional=True)).eval()
    x = torch.randn(3, 2, 4)
    program = torch.onnx.export(layer, (x,), dynamo=True, verbose=False)
    graph = program.model_proto
    found = evaluator.ReferenceEvaluator(graph).run(None, {graph.graph.input[0].name: x.numpy()})
    assert_same([torch.from_numpy(each) for each in found], layer(x), 1e-5)


@every_kind
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_about_as_close_as_torchs_own(kind: str, dtype: torch.dtype) -> None:
    """Ten steps: as far from float64 as torch's layer without norms is from its own, within a factor of 8."""
    theirs = getattr(torch.nn, kind)(8, 16)
    mine = ours(kind).from_torch(theirs)
    x = torch.randn(10, 4, 8).to(dtype)
    errors = []
    for layer in (mine, theirs):
        exact = copy.deepcopy(layer.to(dtype)).double()
        found, _ = layer(x)
        assert found.dtype == dtype
        errors.append((found.double() - exact(x.double())[0]).abs().max().item())
    assert errors[0] < 8 * errors[1]
    assert errors[0] < 40 * torch.finfo(dtype).eps
