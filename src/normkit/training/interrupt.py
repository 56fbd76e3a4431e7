"""Ctrl-C at a moment of our choosing: the step in progress ends first, so that what is saved is a whole state."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupt", "deferred"]


class Interrupt:
    """Whether Ctrl-C was pressed since `deferred` began."""

    def __init__(self) -> None:
        self.pressed = False

    def check(self) -> None:
        """Raise the KeyboardInterrupt that was held back, if there was one."""
        if self.pressed:
            raise KeyboardInterrupt


@contextmanager
def deferred() -> Iterator[Interrupt]:
    """Hold the first Ctrl-C back until `Interrupt.check` is called; a second one interrupts at once.

    Outside the main thread, or where the program has put its own handler, Ctrl-C stays as it is.
    """
    interrupt = Interrupt()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield interrupt
        return

    def hold(number: int, frame: FrameType | None) -> None:
        if interrupt.pressed:
            raise KeyboardInterrupt
        interrupt.pressed = True

    signal.signal(signal.SIGINT, hold)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
