"""The circuit breaker of a loaded release: a model that keeps failing is left alone for a while.

    closed     it is asked; failures are counted
    open       it is not asked; others answer
    half-open  one request at a time tries it: success closes the breaker, failure opens it for twice as long

It is used on one thread, the event loop's, and so has no lock; other threads may read its state.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

__all__ = ["Breaker"]

State = Literal["closed", "open", "half-open"]

_WINDOW = 64
_MASK = (1 << _WINDOW) - 1
_MOST_DOUBLINGS = 4


class Breaker:
    """Decides whether a release is asked.

    It opens after ``failures`` failures in a row, or when half of the last 64 answers failed, or at once when it is
    tripped.

    Args:
        failures: how many failures in a row open it.
        seconds: how long it stays open the first time; up to 16 times as long while trials go on failing.
        clock: seconds that never go back.

    >>> breaker = Breaker(failures=2, seconds=30, clock=lambda: 0.0)
    >>> breaker.failed(), breaker.failed(), breaker.allows()
    (None, None, False)
    """

    __slots__ = ("_clock", "_doublings", "_failures", "_in_row", "_recent", "_seconds", "_until", "is_closed")

    def __init__(self, *, failures: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_closed = True
        self._failures = failures
        self._seconds = seconds
        self._clock = clock
        self._in_row = 0
        self._recent = 0  # the last answers as bits, 1 for a failure
        self._until = 0.0
        self._doublings = 0

    @property
    def state(self) -> State:
        """Its state now."""
        if self.is_closed:
            return "closed"
        return "open" if self._clock() < self._until else "half-open"

    def allows(self) -> bool:
        """Whether the release may be asked; half-open, the request that asks is the one that tries it."""
        if self.is_closed:
            return True
        now = self._clock()
        if now < self._until:
            return False
        # the next trial is not before this one had its time, even if it is never told how this one ended
        self._until = now + self._seconds
        return True

    def succeeded(self) -> None:
        """The release answered."""
        if self.is_closed:
            if self._recent:
                self._in_row = 0
                self._recent = self._recent << 1 & _MASK
            return
        self.is_closed = True
        self._in_row = self._recent = self._doublings = 0

    def failed(self) -> None:
        """The release failed to answer."""
        if not self.is_closed:
            self._open()
            return
        self._in_row += 1
        self._recent = (self._recent << 1 | 1) & _MASK
        if self._in_row >= self._failures or self._recent.bit_count() * 2 >= _WINDOW:
            self._open()

    def trip(self) -> None:
        """Open at once."""
        if self.is_closed:
            self._open()

    def _open(self) -> None:
        if not self.is_closed:
            self._doublings = min(self._doublings + 1, _MOST_DOUBLINGS)
        self.is_closed = False
        self._until = self._clock() + self._seconds * 2**self._doublings
