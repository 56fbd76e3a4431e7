import os
import signal
import threading

import pytest

from normkit.training.interrupt import deferred


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_is_held_back_and_the_second_is_not() -> None:
    with deferred() as interrupt:
        interrupt.check()
        press()
        assert interrupt.pressed
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
        with pytest.raises(KeyboardInterrupt):
            press()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread_and_another_handler_are_left_alone() -> None:
    handler = lambda number, frame: None  # noqa: E731
    before = signal.signal(signal.SIGINT, handler)
    try:
        with deferred():
            assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
    seen: list[object] = []

    def elsewhere() -> None:
        with deferred() as interrupt:
            seen.append(interrupt.pressed)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [False]
