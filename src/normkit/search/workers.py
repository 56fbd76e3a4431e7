"""Where candidates are tried out: in this process, in several, or on the machines of a Ray cluster; all by joblib."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from normkit.extras import require

__all__ = ["cluster", "results"]

T = TypeVar("T")
R = TypeVar("R")


def results(
    function: Callable[[T], R], arguments: Sequence[T], n_jobs: int, address: str | None = None
) -> Generator[tuple[T, R], None, None]:
    """Pairs (argument, `function(argument)`) in the order in which they are done.

    Args:
        function: picklable where it leaves this process.
        arguments: one call each.
        n_jobs: processes, −1 for one each core; 1 stays in this process unless `address` is given.
        address: of a Ray cluster, as `ray.init` takes it ("auto" for the one that this machine belongs to).
    """
    if address is None and (n_jobs == 1 or len(arguments) < 2):
        for argument in arguments:
            yield argument, function(argument)
        return
    from joblib import Parallel, delayed

    with cluster(address):
        # Ray's backend hands results over together; processes of this machine one by one, each kept as it comes
        order = "list" if address is not None else "generator_unordered"
        yield from Parallel(n_jobs=n_jobs, return_as=order)(
            delayed(_called)(function, argument) for argument in arguments
        )


def _called(function: Callable[[T], R], argument: T) -> tuple[T, R]:
    return argument, function(argument)


def cluster(address: str | None) -> AbstractContextManager[Any]:
    """joblib on the Ray cluster at `address` inside; nothing special where it is None.

    Raises:
        MissingExtraError: Ray is not installed (`pip install "normkit[scale]"`).
    """
    if address is None:
        return nullcontext()
    ray = require("ray", extra="scale")
    from joblib import parallel_config

    require("ray.util.joblib", extra="scale").register_ray()
    if not ray.is_initialized():
        ray.init(address=address)
    return parallel_config(backend="ray")
