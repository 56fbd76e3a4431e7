import sys
from types import ModuleType

import joblib
import pytest

from normkit.extras import MissingExtraError
from normkit.search.workers import results


def double(number: int) -> int:
    return 2 * number


def test_in_this_process_and_in_others() -> None:
    assert list(results(double, [3, 1], n_jobs=1)) == [(3, 6), (1, 2)]
    assert sorted(results(double, [3, 1], n_jobs=2)) == [(1, 2), (3, 6)]
    assert list(results(double, [], n_jobs=2)) == []


def test_without_ray_a_cluster_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'pip install "normkit\[scale\]"'):
        list(results(double, [1], n_jobs=2, address="auto"))


def test_a_cluster_is_reached_through_joblibs_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for Ray: it is initialised with the address, and its backend gets the calls."""
    seen: list[str] = []

    class Backend(joblib._parallel_backends.ThreadingBackend):
        def submit(self, func, callback=None):  # type: ignore[no-untyped-def]
            seen.append("call")
            return super().submit(func, callback)

    ray, util, bridge = ModuleType("ray"), ModuleType("ray.util"), ModuleType("ray.util.joblib")
    ray.is_initialized = lambda: False  # type: ignore[attr-defined]
    ray.init = lambda address: seen.append(address)  # type: ignore[attr-defined]
    bridge.register_ray = lambda: joblib.register_parallel_backend("ray", Backend)  # type: ignore[attr-defined]
    for name, module in (("ray", ray), ("ray.util", util), ("ray.util.joblib", bridge)):
        monkeypatch.setitem(sys.modules, name, module)
    assert sorted(results(double, [1, 2, 3], n_jobs=2, address="ray://head:10001")) == [(1, 2), (2, 4), (3, 6)]
    assert seen == ["ray://head:10001", "call", "call", "call"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, of what it finds on the machine
def test_on_a_cluster_of_one_machine() -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    try:
        assert sorted(results(abs, [-1, -2, -3], n_jobs=2, address="local")) == [(-3, 3), (-2, 2), (-1, 1)]
    finally:
        ray.shutdown()
