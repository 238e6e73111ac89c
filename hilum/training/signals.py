"""Stop requests: a signal sets a flag, and the run stops where its state is whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from hilum.core.errors import Stopped

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
]


class StopRequest:
    """Listens for Ctrl-C, SIGTERM and SIGUSR1 while the block runs; the old handlers come back.

    The handler only takes a note. A second Ctrl-C stops at once.

    Attributes:
        reason: Name of the signal that asked for the stop, or empty.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._interrupts = 0
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return bool(self.reason)

    def __enter__(self) -> StopRequest:
        # Python lets only the main thread set handlers; elsewhere the owner of the thread decides.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self.listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            # None stands for a handler that was not set from Python and cannot be set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def listen(self) -> None:
        """Take the signals (again: Lightning sets its own handlers just before it trains)."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._note)

    def ask(self, reason: str) -> None:
        """Ask for a stop from inside the program."""
        self.reason = self.reason or reason

    def stopped(self) -> Stopped:
        """Return the error that ends the run."""
        return Stopped(self.reason, 130 if self.reason == "Ctrl-C" else 75)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts > 1:
                raise KeyboardInterrupt
        self.ask("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)
