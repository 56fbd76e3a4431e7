import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from normkit import data
from normkit.comparison import Comparison, compare
from normkit.comparison.method import named
from normkit.models import MLP

X = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
Y = (X.sum(1) > 0).long()
DATA = (X[:150], Y[:150], X[150:], Y[150:])


def build() -> nn.Module:
    return MLP((6, 8, 2))


def halved(model: nn.Module) -> nn.Module:
    """A method that only hurts: what the last layer says is always the first class."""
    with torch.no_grad():
        model.layers.head.weight.zero_()
    model.layers.head.requires_grad_(False)
    return model


def small(methods: object = (None, halved), **options: object) -> Comparison:
    return compare(build, DATA, methods, **{"seeds": 2, "steps": 30, "lrs": (0.03, 0.3), **options})  # type: ignore[arg-type]


def test_it_finds_the_better_method_with_intervals() -> None:
    comparison = small()
    plain, worse = comparison.methods
    assert (plain.name, worse.name) == ("baseline", "halved")
    assert plain.quality_best.mean > 0.8 > worse.quality_best.mean
    assert plain.quality_best.low < plain.quality_best.mean < plain.quality_best.high
    assert plain.quality_best.mean >= plain.quality_worst.mean
    assert plain.best_lr == 0.3
    assert [lr for lr, _, _ in plain.curve] == [0.03, 0.3]
    assert plain.gain is None
    assert worse.gain.mean == pytest.approx(worse.quality_best.mean - plain.quality_best.mean)
    assert len(comparison.runs) == 2 * 2 * 2


def test_two_names_for_one_method_give_one_result() -> None:
    """Seeds are paired: the same network, the same order of batches, so a method that does nothing gains nothing."""
    one, two = small({"a": None, "b": lambda model: model}).methods
    assert [each.mean for _, each, _ in one.curve] == [each.mean for _, each, _ in two.curve]
    assert (two.gain.mean, two.gain.low, two.gain.high) == (0, 0, 0)
    assert one.peak_bytes == two.peak_bytes
    different = small([None], seed=5).methods[0]
    assert [each.mean for _, each, _ in one.curve] != [each.mean for _, each, _ in different.curve]


def test_the_json_has_the_documented_shape() -> None:
    found = small(n_jobs=1).to_dict()["methods"][0]
    assert {"name", "best_lr", "quality_best", "quality_worst", "step_seconds", "peak_bytes"} <= found.keys()
    assert found["quality_best"].keys() == {"mean", "low", "high"}
    assert found["step_seconds"] > 0
    assert found["peak_bytes"] > 4 * sum(p.numel() for p in build().parameters())


def test_processes_give_the_same_result() -> None:
    def qualities(comparison: Comparison) -> list[float]:
        return [run.quality for run in comparison.runs]

    assert qualities(small(n_jobs=2)) == qualities(small())


def test_a_run_that_diverges_counts_with_the_floor() -> None:
    def diverge(output: Tensor, batch: object) -> Tensor:
        return output.mean() * float("nan")

    (method,) = small([None], loss=diverge, floor=0.25).methods
    assert method.quality_best.mean == 0.25
    assert [bad for _, _, bad in method.curve] == [2, 2]


def test_a_quality_of_ones_own() -> None:
    def negative_loss(model: nn.Module, batches: object) -> float:
        x, y = next(iter(batches))  # type: ignore[call-overload]
        assert not model.training
        return -float(nn.functional.cross_entropy(model(x), y))

    (method,) = small([None], quality=negative_loss, floor=-9.0).methods
    assert -1 < method.quality_best.mean < 0


def test_a_sweep_adds_batch_sizes() -> None:
    comparison = small(sweep="batch", batch_sizes=(2, 16), seeds=1, steps=5)
    assert [(m.name, m.batch_size) for m in comparison.methods] == [
        ("baseline", 2),
        ("halved", 2),
        ("baseline", 16),
        ("halved", 16),
    ]
    assert comparison.methods[2].peak_bytes > comparison.methods[0].peak_bytes


def test_rules_are_applied_by_slug_and_in_lists() -> None:
    from normkit.models import PlainConvNet

    comparison = compare(
        lambda: PlainConvNet(channels=4, depth=2, pool_after=1),
        data.digits(),
        ["baseline", "group-norm", ["weight-standardization", "batch-channel-norm"]],
        seeds=1,
        steps=3,
        lrs=(0.05,),
        batch_size=4,
    )
    assert [m.name for m in comparison.methods] == [
        "baseline",
        "group-norm",
        "weight-standardization+batch-channel-norm",
    ]
    assert len({m.peak_bytes for m in comparison.methods}) > 1


def first_gain(method: object, model: nn.Module) -> Tensor:
    from normkit.comparison.method import apply
    from normkit.comparison.split import split_of

    return apply(method, model, split_of(data.digits()), batch_size=8, seed=0).features.norm0.weight


def test_a_rule_fits_itself_to_a_trained_network_only() -> None:
    """A new BatchNorm passes its input unchanged in eval mode: fitted to that, the gains would shrink the signal."""
    from normkit.conversion import ToGroupNorm
    from normkit.models import PlainConvNet

    new = PlainConvNet(channels=4, depth=2, pool_after=1)
    trained = PlainConvNet(channels=4, depth=2, pool_after=1)
    trained(data.digits()[0][:64])
    assert torch.equal(first_gain("group-norm", new), torch.ones(4))
    assert not torch.equal(first_gain("group-norm", trained), torch.ones(4))
    assert torch.equal(first_gain(ToGroupNorm(fit=False), trained), torch.ones(4))  # a rule object is the user's choice


# -------------------------------------------------------------------------------------------------- stopping


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        assert total == 8
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small(out=tmp_path, progress=stop)
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 3
    assert not (tmp_path / "report.html").exists()
    seen: list[int] = []
    comparison = small(out=tmp_path, progress=lambda done, total: seen.append(done))
    assert seen == [3, 4, 5, 6, 7, 8]
    assert [run.quality for run in comparison.runs] == [run.quality for run in small().runs]
    assert sorted(os.listdir(tmp_path)) == ["report.html", "runs.jsonl", "settings.json"]


@pytest.mark.parametrize("change", [{"steps": 31}, {"lrs": (0.1,)}, {"seed": 1}, {"methods": [None]}])
def test_a_folder_is_not_resumed_with_other_settings(tmp_path: Path, change: dict[str, object]) -> None:
    small(out=tmp_path, steps=2, seeds=1)
    with pytest.raises(ValueError, match="holds a comparison with another"):
        small(**{"out": tmp_path, "steps": 2, "seeds": 1, **change})


def test_nor_with_another_network_or_other_data(tmp_path: Path) -> None:
    options = {"seeds": 1, "steps": 2, "lrs": (0.1,), "out": tmp_path}
    compare(build, DATA, [None], **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="another model"):
        compare(lambda: MLP((6, 9, 2)), DATA, [None], **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="another data"):
        compare(build, (X, Y), [None], **options)  # type: ignore[arg-type]


def test_the_page_shows_curves_and_figures(tmp_path: Path) -> None:
    page = small(sweep="batch", batch_sizes=(4, 8), steps=4, out=tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count("<svg") == 3  # a curve for each batch size, and one over batch sizes
    for text in ("baseline", "halved", "Batch size 4", "95 %", "optimistic"):
        assert text in html
    assert page.to_frame().shape[0] == 16


# ------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"methods": []}, "no method to compare"),
        ({"methods": [None, "baseline"]}, "two methods are called 'baseline'"),
        ({"seeds": 0}, "seeds is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"lrs": ()}, "rates is 0"),
        ({"sweep": "depth"}, "sweep is 'depth'"),
        ({"batch_sizes": (1,)}, "without sweep"),
        ({"batch_size": 0}, "a batch size is 0"),
        ({"batch_size": 151}, "larger than the 150 training samples"),
    ],
)
def test_what_cannot_be_compared_is_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small(**options)


def test_things_of_another_kind_are_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="give a list of methods"):
        small("group-norm")
    with pytest.raises(TypeError, match="a method is a int"):
        small([3])
    with pytest.raises(TypeError, match="returned a NoneType: it must return the module"):
        small([lambda model: None])
    with pytest.raises(TypeError, match="build_model returned a str"):
        compare(lambda: "net", DATA, [None])  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match="cuts the data anew"):
        compare(build, ([{"x": X, "y": Y}], [{"x": X, "y": Y}]), [None], sweep="batch")
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError, match="cannot be created"):
        small(out=blocked / "inside")


def test_an_unknown_rule_is_said_before_anything_is_trained() -> None:
    with pytest.raises(ValueError, match="no-such-rule"):
        small([None, "no-such-rule"], steps=10**9)


def test_names() -> None:
    class Rule:
        slug = "a-rule"

    assert list(named([None, "x", ["x", Rule()], halved])) == ["baseline", "x", "x+a-rule", "halved"]
