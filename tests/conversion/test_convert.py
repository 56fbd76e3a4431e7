"""The contract of `convert` that belongs to no single rule: what it takes, what it refuses, what it says."""

from dataclasses import dataclass
from typing import ClassVar

import jaxtyping
import pytest
import torch
from torch import nn

from normkit import surgery
from normkit.conversion import ConversionError, Fold, PreRMSNorm, Rule, ToBatchChannelNorm, ToGroupNorm, convert
from normkit.nn import RMSNorm
from tests.conversion.instances import conv_net, encoder, images, residual_net, vectors


@dataclass(frozen=True)
class NaiveSwap(Rule):
    """What people do: put an RMSNorm where a LayerNorm stood, "because the stream has almost no mean"."""

    slug: ClassVar[str] = "naive"

    def matches(self, site):
        return isinstance(site.module, nn.LayerNorm)

    def replacement(self, site, pairs):
        old = site.module
        new = RMSNorm(old.normalized_shape, old.eps, bias=True)
        new.load_state_dict(old.state_dict())
        return new


def test_a_naive_swap_is_rejected_and_nothing_is_changed():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.linear = nn.LayerNorm(16), nn.Linear(16, 4)

        def forward(self, x):
            return self.linear(self.norm(x))

    net = Net()
    with pytest.raises(ConversionError, match=r"naive: the converted model differs .* where 1e-10 is allowed"):
        convert(net, NaiveSwap(), example=vectors()[0], inplace=True)
    assert isinstance(net.norm, nn.LayerNorm)
    with pytest.raises(ConversionError, match="differs"):
        convert(net, NaiveSwap(), example=vectors()[0] - vectors()[0].mean(), tolerance=1e-3)


def test_a_naive_swap_in_a_transformer_is_rejected_where_the_rule_is_exact():
    model = encoder()
    with pytest.raises(ConversionError, match=r"naive: the converted model differs"):
        convert(model, NaiveSwap(), example=vectors()[0])
    assert convert(model, "pre-rmsnorm", example=vectors()[0]).max_rel_diff < 1e-12


def test_the_tolerance_is_the_users():
    with pytest.raises(ConversionError, match="where 0e"):
        convert(encoder(), "pre-rmsnorm", example=vectors()[0], tolerance=0.0)


def test_rules_slugs_and_lists_mean_the_same():
    net, data = conv_net(), images()
    by_slug = convert(net, "group-norm", data=data)
    by_rule = convert(net, [ToGroupNorm()], data=data)
    assert by_slug.changes == by_rule.changes
    assert by_slug.recipe["steps"][0]["options"] == {"fit": True, "groups": "auto"}
    assert torch.equal(by_slug.model[1].weight, by_rule.model[1].weight)


def test_a_list_is_applied_in_order():
    conversion = convert(conv_net(), ["weight-standardization", "batch-channel-norm"], data=images())
    assert conversion.kind == "calibrated"
    assert conversion.to == ["weight-standardization", "batch-channel-norm"]
    assert type(conversion.model[1]).__name__ == "BatchChannelNorm2d"
    assert nn.utils.parametrize.is_parametrized(conversion.model[0])


@pytest.mark.parametrize(
    ("to", "error", "message"),
    [
        ("pre-rmsnrom", ValueError, "there is no rule 'pre-rmsnrom': did you mean pre-rmsnorm or pre-crmsnorm"),
        ([], ValueError, "to= is empty"),
        ([3], TypeError, "takes rules of normkit.conversion or their slugs, got 3"),
        ([Fold], TypeError, r"write Fold\(\)"),
    ],
)
def test_a_wrong_rule_is_named(to, error, message):
    with pytest.raises(error, match=message):
        convert(conv_net(), to, data=images())


def test_what_data_and_example_may_be():
    net, batches = conv_net(), images()
    wanted = convert(net, "fold", data=batches).changes
    for data in (batches[0], [(batch, torch.zeros(6)) for batch in batches], iter(batches)):
        assert convert(net, "fold", data=data).changes == wanted
    for example in (batches[0], (batches[0],), [batches[0]], {"input": batches[0]}):
        assert convert(net, "fold", example=example).changes == wanted
    with pytest.raises(ValueError, match="data yields no batches"):
        convert(net, "fold", data=[])
    with pytest.raises(ConversionError, match="verified before it returns: pass example="):
        convert(net, "fold")
    with pytest.raises(ConversionError, match="the model itself fails on the input given: RuntimeError"):
        convert(net, "fold", example=torch.randn(2, 5, 8, 8))


def test_a_class_or_nothing_for_a_rule_is_named_as_users_meet_it():
    jaxtyping.config.update("jaxtyping_disable", True)  # the annotations, which are checked in the tests alone
    try:
        for to, message in ((Fold, r"write Fold\(\)"), (None, "rules of normkit.conversion or their slugs, got None")):
            with pytest.raises(TypeError, match=message):
                convert(conv_net(), to, data=images())
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("slug", ["fold", "group-norm"])
def test_inputs_that_the_model_does_not_take_are_one_clear_error(slug: str):
    net, images_and_labels = conv_net(), (images()[0], torch.zeros(6))
    with pytest.raises(ConversionError, match=r"fails on batch 1 of data: RuntimeError.*write one batch as \[batch\]"):
        convert(net, slug, data=images_and_labels)
    with pytest.raises(ConversionError, match="the model itself fails on the input given: RuntimeError"):
        convert(net, slug, example=torch.randn(2, 5, 8, 8), dry_run=True)
    with pytest.raises(TypeError, match="data must be batches, such as a DataLoader or a list of tensors, got int"):
        convert(net, slug, data=5)


class FirstState(nn.Module):
    """Makes a tensor of its own in `forward`, as recurrent networks make their first state."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.cell = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.GRUCell(4, 2)

    def forward(self, x):
        return self.cell(self.bn(self.conv(x)).relu().mean((2, 3)), torch.zeros(len(x), 2))


class Single(nn.Module):
    """Insists on float32."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.bn(self.conv(x.float()))


def test_a_model_that_makes_tensors_of_its_own_is_verified_in_float64():
    assert convert(FirstState(), "fold", data=images()).max_rel_diff < 1e-12
    assert convert(FirstState(), "group-norm", data=images()).own_dtype["max_rel_diff"] < float("inf")
    assert torch.get_default_dtype() == torch.float32


def test_a_model_without_float64_can_be_fitted_and_an_exact_rule_says_why_not():
    fitted = convert(Single(), "group-norm", data=images())
    assert fitted.max_rel_diff == fitted.own_dtype["max_rel_diff"]
    assert any("in the model's own dtype alone" in remark for remark in fitted.remarks)
    with pytest.raises(ConversionError, match=r"cannot be run in torch.float64, which verification needs: Runtime"):
        convert(Single(), "fold", data=images())


@pytest.mark.parametrize(("slug", "name"), [("group-norm", ""), ("batch-channel-norm", "bn."), ("evonorm-s0", "")])
def test_a_parameter_that_was_frozen_alone_stays_frozen_alone(slug: str, name: str):
    net = conv_net()
    net[1].weight.requires_grad_(False)
    new = convert(net, slug, data=images()).model
    assert [key for key, p in new.named_parameters() if not p.requires_grad] == [f"1.{name}weight"]


def test_select_takes_paths_patterns_and_functions():
    net, data = residual_net(), images()
    for select in ("blocks.0.*", ["blocks.0.bn1", "blocks.0.bn2"], lambda path, module: path.startswith("blocks.0.")):
        changes = convert(net, "batch-channel-norm", data=data, select=select).changes
        assert [change["path"] for change in changes] == ["blocks.0.bn1", "blocks.0.bn2"]


def test_shared_modules_stay_shared():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.Conv2d(4, 4, 3), norm)
    new = convert(net, ToBatchChannelNorm(groups=2), data=images()).model
    assert new[1] is new[3]
    assert type(new[1]).__name__ == "BatchChannelNorm2d"
    with pytest.raises(ConversionError, match="runs several times"):
        convert(net, "fold", data=images())


def test_parametrisations_and_tied_weights_are_kept():
    net = conv_net()
    nn.utils.parametrizations.spectral_norm(net[8])
    tied = nn.Linear(12, 12, bias=False)
    net.append(nn.Linear(5, 12)).append(tied).append(nn.Linear(12, 12, bias=False))
    net[11].weight = tied.weight
    new = convert(net, "batch-channel-norm", data=images()).model
    assert nn.utils.parametrize.is_parametrized(new[8])
    assert surgery.ties(new) == surgery.ties(net) == [("10.weight", "11.weight")]


@pytest.mark.parametrize("wrapper", ["DistributedDataParallel", "DataParallel", "FullyShardedDataParallel", "FSDPNet"])
def test_wrapped_models_are_refused_with_advice(wrapper: str):
    # the real wrappers want a process group; what is looked at is the name of the class, as torch gives it
    wrapped = type(wrapper, (nn.Sequential,), {})(conv_net())
    with pytest.raises(ConversionError, match=rf"wrapped in {wrapper}: convert .*model"):
        convert(wrapped, "fold", data=images())


def test_a_real_data_parallel_and_a_compiled_model_are_refused():
    with pytest.raises(ConversionError, match=r"convert model.module first"):
        convert(nn.DataParallel(conv_net()), "fold", data=images())
    with pytest.raises(ConversionError, match=r"before torch.compile"):
        convert(torch.compile(conv_net()), "fold", data=images())


def test_a_distributed_model_is_refused(tmp_path):
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.FileStore(str(tmp_path / "s"), 1), rank=0, world_size=1
    )
    try:
        wrapped = nn.parallel.DistributedDataParallel(conv_net())
        with pytest.raises(ConversionError, match=r"wrapped in DistributedDataParallel: convert model\.module first"):
            convert(wrapped, "fold", data=images())
    finally:
        torch.distributed.destroy_process_group()


def test_a_lazy_model_is_refused():
    with pytest.raises(ConversionError, match="parameters without a shape yet"):
        convert(nn.Sequential(nn.LazyConv2d(3, 3), nn.BatchNorm2d(3)), "fold", data=images())


def test_every_reason_is_in_the_error_and_in_skipped():
    net = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(1), nn.ReLU(), nn.BatchNorm2d(1))
    with pytest.raises(ConversionError, match=r"fold: nothing could be converted: 1: .* ReLU") as error:
        convert(net, "fold", data=images())
    assert [entry["path"] for entry in error.value.skipped] == ["1", "3"]


def test_the_result_replaces_a_model_that_is_the_site_itself():
    conversion = convert(nn.BatchNorm2d(4), ToGroupNorm(groups=2), data=[torch.randn(3, 4, 5, 5)])
    assert isinstance(conversion.model, nn.GroupNorm)
    with pytest.raises(ConversionError, match="inplace=True"):
        convert(nn.BatchNorm2d(4), ToGroupNorm(groups=2), data=[torch.randn(3, 4, 5, 5)], inplace=True)


def test_verification_covers_other_batches_lengths_masks_and_scales():
    conversion = convert(encoder(), PreRMSNorm(), example=vectors()[0])
    wanted = {"as given", "another batch", "another length", "inputs x 100", "with mask", "with src_key_padding_mask"}
    assert set(conversion.trials) == wanted
    assert conversion.own_dtype["max_rel_diff"] < 1e-5


def test_mode_is_each_modules_own_afterwards():
    net = residual_net().train()
    net.blocks[0].bn1.eval()
    new = convert(net, "batch-channel-norm", data=images()).model
    assert [module.training for module in (new, new.blocks[0].bn1, new.blocks[0].bn2)] == [True, False, True]


def test_a_rule_that_writes_elsewhere_in_the_network_is_caught():
    """A reader that the rule does not know: the encoder's inner layer is read by a second head."""

    class Spying(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder()
            self.encoder.layers[0].register_forward_hook(self._keep)
            self.head = nn.Linear(16, 2)

        def _keep(self, module, args, output):
            self.kept = output

        def forward(self, x):
            out = self.encoder(x)
            return self.head(out) + self.kept.mean(-1, keepdim=True)

    with pytest.raises(ConversionError, match="differs from the original"):
        convert(Spying(), "pre-rmsnorm", example=vectors()[0])
