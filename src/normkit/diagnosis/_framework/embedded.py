"""The embedded default: a network with batch normalisation trained on single images, treated, and measured again.

The net is the plain one of this project's micro-batch experiment (Qiao et al. 2020, arXiv:1903.10520), less deep:
convolutions without shortcuts on scikit-learn's digits, each followed by normalisation and ReLU, trained by SGD with
momentum 0.9 and weight decay 1e-4 at rate 0.05·batch/32 with 5 % warm-up and a cosine. Batch 1 leaves batch
normalisation 64 values of one image, or 16, to estimate a channel's statistics from. The treatment puts batch-channel
normalisation and weight standardisation into the *same initial network*, which is then trained on the same images in
the same order for the same number of steps; so before and after differ by the remedy alone.

The estimates move at speed 0.01, about 200 images: where single images differ as much as they can (E z² = 1, and half
of that for the scale), their noise √(1.5·r/(2 − r)) stays below the probe's 10 % for r ≤ 0.013.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from normkit import data
from normkit.diagnosis._framework.discovery import chosen
from normkit.diagnosis._framework.examination import diagnose
from normkit.diagnosis._framework.finding import Finding, worst
from normkit.diagnosis._framework.result import Diagnosis
from normkit.diagnosis._framework.treatment import Quality, Treatment
from normkit.models import PlainConvNet
from normkit.training import accuracy, fit, warmup_cosine

__all__ = ["Trained", "diagnose_default", "train_default", "treat_default"]

BATCH = 1
STEPS = 1500
DEPTH = 6
GROUPS = 4
SPEED = 0.01
SEEDS = 3
EXAMINED = 128
"""Batches that the examination looks at: single images, so enough of them to judge elimination too."""


@dataclass
class Trained:
    """One trained network: its accuracy on the test images, its diagnosis, its weights, and the CPU seconds it took."""

    seed: int
    treated: bool
    accuracy: float
    diagnosis: Diagnosis
    weights: dict[str, Tensor]
    seconds: float


def train_default(
    seed: int = 0, *, treated: bool = False, steps: int = STEPS, remedy: Any = None, probes: Any = None
) -> Trained:
    """Train the default network on single digits, as it is or treated before training, and diagnose it.

    Args:
        seed: of the weights and of the order of the images; the same for both, so that seeds are paired.
        treated: convert the initial network first.
        steps: images seen.
        remedy: rules to convert by; batch-channel normalisation with weight standardisation by default.
        probes: as for `diagnose`.
    """
    chosen(probes)  # a misspelt probe is named before anything is trained
    started = time.process_time()
    x, y, x_test, y_test = data.digits()
    model = _converted(seed, remedy).model if treated else _initial(seed)
    fit(
        model,
        data.batches(x, y, BATCH, seed=seed),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.05 * BATCH / 32, momentum=0.9, weight_decay=1e-4),
        schedule=warmup_cosine(0.05),
        steps=steps,
        seed=seed,
    )
    right = accuracy(model, x_test, y_test)
    loader = data.batches(x, y, BATCH, seed=seed)
    diagnosis = diagnose(model, loader, probes=probes, max_batches=EXAMINED, seed=seed)
    return Trained(seed, treated, right, diagnosis, model.state_dict(), time.process_time() - started)


def diagnose_default(seed: int = 0, *, steps: int = STEPS // 2, probes: Any = None) -> Diagnosis:
    """Train the default network for a few seconds and diagnose it; arguments as for `train_default`."""
    return train_default(seed, steps=steps, probes=probes).diagnosis


def treat_default(
    *,
    seed: int = 0,
    seeds: int = SEEDS,
    steps: int = STEPS,
    remedy: Any = None,
    n_jobs: int | None = None,
    advance: Callable[..., None] | None = None,
) -> tuple[Diagnosis, Treatment]:
    """Train the default network as it is and treated, over paired seeds, in processes of one thread each.

    Args:
        seed: the first seed.
        seeds: how many pairs.
        steps: training steps of each run.
        remedy: rules instead of batch-channel normalisation with weight standardisation.
        n_jobs: processes; by default as many as there are cores, at most one a run.
        advance: called with 1 whenever a run is done, for a progress bar.

    Returns:
        The diagnosis of the first seed's network before treatment, and the treatment over all seeds.
    """
    from joblib import Parallel, delayed

    started = time.perf_counter()
    # the slower, treated runs first: both cores are then busy to the end
    plan = [(each, treated) for treated in (True, False) for each in range(seed, seed + seeds)]
    jobs = n_jobs or min(len(plan), os.cpu_count() or 1)
    parallel = Parallel(n_jobs=jobs, return_as="generator_unordered")
    runs = []
    for done in parallel(delayed(_one_thread)(each, treated, steps, remedy) for each, treated in plan):
        runs.append(done)
        if advance:
            advance(1)
    conversion = _converted(seed, remedy)
    conversion.model.load_state_dict(next(run.weights for run in runs if run.treated and run.seed == seed))
    return _summed_up(runs, conversion, steps, time.perf_counter() - started)


def _summed_up(runs: list[Trained], conversion: Any, steps: int, seconds: float) -> tuple[Diagnosis, Treatment]:
    before = sorted((run for run in runs if not run.treated), key=lambda run: run.seed)
    after = sorted((run for run in runs if run.treated), key=lambda run: run.seed)
    diagnosis = before[0].diagnosis
    treatment = Treatment(
        probe="batch-noise",
        to=tuple(conversion.to),
        before=_over_seeds(before),
        after=_over_seeds(after),
        quality_before=Quality("accuracy", tuple(run.accuracy for run in before)),
        quality_after=Quality("accuracy", tuple(run.accuracy for run in after)),
        conversion=conversion,
        cost={
            "seconds": seconds,
            "train_steps": steps,
            "cpu_seconds_a_run_before": sum(run.seconds for run in before) / len(before),
            "cpu_seconds_a_run_after": sum(run.seconds for run in after) / len(after),
        },
        remarks=(
            "both networks start from the same weights and are trained from scratch on the same single images in the "
            "same order; accuracy is on 500 test images",
        ),
    )
    return diagnosis, treatment


def _over_seeds(runs: list[Trained]) -> Finding:
    """The first seed's finding, as grave as the gravest of all seeds, with every seed's figure beside it."""
    findings = [run.diagnosis["batch-noise"] for run in runs]
    figures = ", ".join(f"{finding.figure:.3f}" for finding in findings)
    return replace(
        findings[0],
        severity=worst([finding.severity for finding in findings]),
        summary=f"{findings[0].summary}; worst place of each seed: {figures}",
        detail={**findings[0].detail, "seeds": [finding.figure for finding in findings]},
    )


def _one_thread(seed: int, treated: bool, steps: int, remedy: Any) -> Trained:
    torch.set_num_threads(1)
    return train_default(seed, treated=treated, steps=steps, remedy=remedy)


def _initial(seed: int) -> nn.Module:
    """The network before any training."""
    torch.manual_seed(seed)
    return PlainConvNet(nn.BatchNorm2d, depth=DEPTH, pool_after=DEPTH // 2)


def _converted(seed: int, remedy: Any) -> Any:
    """The same with the remedy in it; by default nothing is fitted, since training follows."""
    from normkit.conversion import ToBatchChannelNorm, ToWeightStandardization, convert

    if remedy is None:
        remedy = [ToWeightStandardization(fit=False), ToBatchChannelNorm(groups=GROUPS, speed=SPEED, fit=False)]
    x, _, _, _ = data.digits()
    return convert(_initial(seed), remedy, data=[x[:64]], seed=seed)
