"""The endless stream of batches that a run of a given number of steps draws from data that it passes over again."""

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any

from normkit.training import randomness
from normkit.training.checkpoint import Progress

__all__ = ["length_of", "stream"]

_EMPTY = "the data yields no batch: give at least one (is drop_last on and the set smaller than a batch?)"


def length_of(batches: Iterable[Any]) -> int | None:
    """How many batches a pass over the data has, or None where that is not known beforehand.

    Raises:
        ValueError: it has none.
    """
    try:
        length = len(batches) if isinstance(batches, Sized) else None
    except TypeError:  # a DataLoader over an iterable data set has __len__ and raises in it
        return None
    if length == 0:
        raise ValueError(_EMPTY)
    return length


def stream(batches: Iterable[Any], progress: Progress) -> Iterator[Any]:
    """Batch after batch, epoch after epoch, starting where `progress` stands and keeping its place there up to date.

    On resuming, the generators get their states of the start of the epoch, so that the epoch comes in the same order,
    the batches done are passed over, and the generators get the states that they had at the checkpoint.

    Raises:
        ValueError: the data yields nothing, or ends and cannot be passed over again.
    """
    resumed = progress.step > 0
    if resumed:
        _wind(batches, progress)
    while True:
        if resumed:
            randomness.restore(progress.epoch_rng, batches)
        else:
            progress.epoch_rng, progress.batch = randomness.snapshot(batches), 0
        epoch = iter(batches)
        if resumed:
            _pass_over(epoch, progress)
            resumed = False
        for batch in epoch:
            progress.batch += 1
            yield batch
        if progress.batch == 0:
            raise ValueError(_nothing(batches, progress))
        progress.epoch += 1


def _pass_over(epoch: Iterator[Any], progress: Progress) -> None:
    """Drop the batches that were done, then draw as the run would have drawn on.

    The loader's own generator is where it should be: it was set at the start of the epoch and has come this far.
    """
    passed = sum(1 for _ in islice(epoch, progress.batch))
    if passed < progress.batch:
        raise ValueError(
            f"the checkpoint stands at batch {progress.batch} of a pass, and the data yield {passed}: "
            "give the same data, or resume=False to start anew"
        )
    randomness.restore({name: state for name, state in progress.rng.items() if name != "loader"})


def _wind(batches: Iterable[Any], progress: Progress) -> None:
    """Distributed samplers count epochs by the passes begun: begin those that are done."""
    if hasattr(getattr(batches, "sampler", None), "set_epoch"):
        for _ in range(progress.epoch):
            next(iter(batches), None)


def _nothing(batches: Iterable[Any], progress: Progress) -> str:
    if progress.epoch == 0:
        return _EMPTY
    if isinstance(batches, Iterator):
        return (
            f"the data ended after {progress.step} steps: it is a generator and can be passed over once; "
            "give a list or a DataLoader, or fewer steps"
        )
    return f"the data yields no batch on pass {progress.epoch + 1}"
