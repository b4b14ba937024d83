"""Who answers when the one that was chosen does not: the champion, the previous champion, then the baseline.

A failure is an exception of the model, an answer that is not finite, or one that takes too long. What the caller did
wrong, and what the store cannot do, are no failures of a model and go up at once.

A model that was quick when it was loaded, and is one of Everloop's own kinds, is asked on the event loop, where a
thread would cost more than the model. All others are asked in threads that can be abandoned. A model on the event loop
that turns slow is moved to the threads after a few slow answers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import EverloopError, ModelError, NotFoundError, UnavailableError, UsageError
from everloop.serve.baseline import baseline_of
from everloop.serve.breaker import Breaker
from everloop.serve.loading import Loaded
from everloop.serve.tabular.served import ServedRows
from everloop.serve.threads import AbandoningPool

__all__ = ["Answered", "Attempt", "Chain", "Guard", "GuardWatcher", "Health", "Rest", "chain_of", "check_finite"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

QUICK_SECONDS = 0.01
"""A model that takes longer for one series or row is never asked on the event loop."""

_SLOW_SECONDS = 5 * QUICK_SECONDS
_MOST_SLOW = 5
"""So many slow answers in a row: a machine that is busy with something else makes one or two of them."""

_BASELINE_SECONDS = 30.0
_MOST_HANGING = 2
_KNOWN_FLAVORS = ("lightgbm", "xgboost", "onnx", "sklearn")
_NOT_FINITE = ("forecast_value", "output_value")

# these say nothing about the model: the request does not fit, or the store, the queue or the pool is at its end
_NO_FAILURES = (UsageError, NotFoundError, UnavailableError)


class GuardWatcher(Protocol):
    """Who is told what becomes of failures; metrics are one."""

    def fell_back(self, reason: str) -> None:
        """Another than the one chosen answered."""

    def breaker(self, role: str, *, is_open: bool) -> None:
        """A circuit breaker opened or closed."""


@dataclass(slots=True, eq=False)
class Health:
    """How a loaded release does.

    Attributes:
        label: what metrics call it: ``"champion"``, ``"challenger"``, ``"arm"``, ``"previous"`` or ``"baseline"``.
        breaker: its circuit breaker.
        is_quick: whether it may be asked on the event loop.
        slow: how many answers in a row held the event loop up.
        hanging: how many of its calls were abandoned since its last answer.
        error: its last failure as a sentence.
    """

    label: str
    breaker: Breaker
    is_quick: bool = False
    slow: int = 0
    hanging: int = 0
    error: str = ""

    @classmethod
    def of(cls, served: Loaded, label: str, breaker: Breaker) -> Health:
        """The health of what was just loaded and warmed."""
        return cls(label, breaker, is_quick=_is_quick(served))


@dataclass(slots=True, eq=False)
class Attempt:
    """One in the line of those who may answer.

    Attributes:
        role: ``"chosen"``, ``"fallback"`` or ``"baseline"``.
        health: how it does.
    """

    role: Literal["chosen", "fallback", "baseline"]
    health: Health
    _served: Loaded | None = field(default=None, repr=False)
    _stands_for: Loaded | None = field(default=None, repr=False)

    @property
    def served(self) -> Loaded:
        """What answers; of a baseline it is made when it is first asked for.

        Raises:
            ModelError: there is no baseline for this release.
        """
        if self._served is None:
            if self._stands_for is None:
                raise ModelError("no_baseline", "nothing stands in for this release")
            self._served = baseline_of(self._stands_for)
            self.health.is_quick = _is_quick(self._served)
        return self._served

    @classmethod
    def baseline(cls, stands_for: Loaded, breaker: Breaker) -> Attempt:
        """The last in line for a release."""
        return cls("baseline", Health("baseline", breaker), None, stands_for)


Chain: TypeAlias = tuple[Attempt, ...]


class Answered(msgspec.Struct, Generic[T], frozen=True):
    """An answer and who gave it.

    Attributes:
        value: what ``compute`` returned.
        attempt: who answered.
        reason: why another than the chosen one did: ``"model_error"``, ``"model_timeout"``, ``"not_finite"``,
            ``"breaker_open"`` or ``"model_hangs"``; empty where the chosen one answered.
    """

    value: T
    attempt: Attempt
    reason: str = ""


class Rest(msgspec.Struct, frozen=True):
    """Where the line goes on after what could be done at once.

    Attributes:
        place: the next attempt's place in the chain.
        reason: why the chosen one did not answer, empty where it was not asked yet.
        error: what it raised.
    """

    place: int = 0
    reason: str = ""
    error: BaseException | None = None


def chain_of(
    chosen: Loaded,
    *,
    champion: Loaded | None,
    previous: Loaded | None,
    baseline: Attempt,
    health: Callable[[Loaded], Health],
) -> Chain:
    """The line of those who may answer for one that is chosen.

    The previous champion is in it only where it knows the same data: an answer about other days is worse than the
    baseline's.

    Args:
        chosen: who is asked first.
        champion: who is in charge.
        previous: who was before, where it is still loaded.
        baseline: the last in line.
        health: the health of what is loaded.
    """
    line = [Attempt("chosen", health(chosen), chosen)]
    for other in (champion, previous):
        if other is None or any(other is each._served for each in line):
            continue
        if other is previous and getattr(other, "cutoff", None) != getattr(chosen, "cutoff", None):
            continue
        line.append(Attempt("fallback", health(other), other))
    return (*line, baseline)


def check_finite(outputs: Mapping[str, NDArray[Any]]) -> None:
    """Refuse outputs that hold NaN or an infinity.

    Raises:
        ModelError: one does.

    >>> check_finite({"prediction": np.array([1.0, 2.0])})
    """
    for name, values in outputs.items():
        if values.dtype.kind == "f" and not (
            isfinite(values.item()) if values.size == 1 else np.isfinite(values).all()
        ):
            raise ModelError(
                "output_value", f"the output {name!r} is not finite", hint="the model is faulty, or the rows are"
            )


class Guard:
    """Asks one after the other until one answers.

    Args:
        seconds: the longest that one may take.
        pool: where those that are not quick are asked.
        watcher: told of fallbacks and breakers.
    """

    def __init__(self, *, seconds: float, pool: AbandoningPool, watcher: GuardWatcher) -> None:
        self._seconds = seconds
        self._pool = pool
        self._watcher = watcher

    def answer_now(self, chain: Chain, compute: Callable[[Attempt], T]) -> Answered[T] | Rest:
        """The answer of the chosen one on this very thread, or from where on :meth:`answer` must go.

        Raises:
            UsageError: the request does not fit.
        """
        first = chain[0]
        health = first.health
        if not (health.is_quick and health.breaker.is_closed):
            return Rest()
        started = time.perf_counter()
        try:
            value = compute(first)
        except _NO_FAILURES:
            raise
        except Exception as error:
            # A model may raise anything; whatever it is, others are asked. It is logged and counted.
            return Rest(1, self._failed(health, error), error)
        seconds = time.perf_counter() - started
        if seconds > _SLOW_SECONDS:
            self._was_slow(health, seconds)
        else:
            health.slow = 0
            health.breaker.succeeded()
        return Answered(value, first)

    async def answer(
        self, chain: Chain, compute: Callable[[Attempt], T], rest: Rest | None = None, *, is_short: bool = True
    ) -> Answered[T]:
        """The answer of the first in line who gives one.

        Args:
            chain: who is asked, in this order.
            compute: asks one of them, on this thread or another.
            rest: what :meth:`answer_now` gave, where it was tried.
            is_short: whether little enough is asked for the event loop.

        Raises:
            UsageError: the request does not fit.
            ModelError: nobody gave an answer; the chosen one's error where it was asked.
            UnavailableError: nobody gave an answer, and the chosen one was too slow or is not asked at present.
        """
        if rest is None and is_short:
            now = self.answer_now(chain, compute)
            if not isinstance(now, Rest):
                return now
            rest = now
        place, reason, error = (0, "", None) if rest is None else (rest.place, rest.reason, rest.error)
        unfit: EverloopError | None = None
        for attempt in chain[place:]:
            skipped = self._skipped(attempt)
            if skipped:
                reason = reason or skipped
                continue
            try:
                value = await self._ask(attempt, compute, is_short=is_short)
            except _NO_FAILURES as raised:
                if attempt.role == "chosen":
                    raise
                unfit = unfit or raised  # the chosen one might have taken it
            except Exception as raised:
                # as above: a model may raise anything
                failed = self._failed(attempt.health, raised)
                reason, error = reason or failed, error or raised
            else:
                if reason:
                    self._watcher.fell_back(reason)
                return Answered(value, attempt, reason)
        raise _nobody(reason, error, unfit, self._seconds)

    def _skipped(self, attempt: Attempt) -> str:
        """Why one is not asked, empty where it is."""
        if self._pool.is_exhausted and not attempt.health.is_quick and attempt.role != "baseline":
            return "model_hangs"
        return "" if attempt.health.breaker.allows() else "breaker_open"

    async def _ask(self, attempt: Attempt, compute: Callable[[Attempt], T], *, is_short: bool) -> T:
        health = attempt.health
        is_here = self._pool.is_exhausted or (is_short and health.is_quick)
        was_closed = health.breaker.is_closed
        # the first answer of a baseline pays for learning it, and after it there is nobody left
        seconds = self._seconds if attempt.role != "baseline" else max(self._seconds, _BASELINE_SECONDS)
        value = compute(attempt) if is_here else await self._pool.run(lambda: compute(attempt), seconds)
        health.hanging = 0
        health.breaker.succeeded()
        if not was_closed:
            _log.warning("the %s answers again", health.label)
            self._watcher.breaker(health.label, is_open=False)
        return value

    def _failed(self, health: Health, error: BaseException) -> str:
        """Note a failure; what it is called."""
        was_closed = health.breaker.is_closed
        if isinstance(error, TimeoutError):
            reason = "model_timeout"
            health.hanging += 1
            if health.hanging >= _MOST_HANGING:
                health.breaker.trip()
        else:
            is_number = isinstance(error, ModelError) and error.code in _NOT_FINITE
            reason = "not_finite" if is_number else "model_error"
        health.error = f"{type(error).__name__}: {error}"[:500]
        health.breaker.failed()
        _log.error("the %s failed: %s", health.label, health.error, exc_info=error if was_closed else None)
        if was_closed and not health.breaker.is_closed:
            _log.critical("the %s fails again and again and is not asked for a while", health.label)
            self._watcher.breaker(health.label, is_open=True)
        return reason

    def _was_slow(self, health: Health, seconds: float) -> None:
        """An answer came, but held the event loop up; after a few in a row it is asked in a thread."""
        health.slow += 1
        if health.slow >= _MOST_SLOW or seconds > self._seconds:
            _log.warning("the %s took %.3g s on the event loop; it is asked in threads now", health.label, seconds)
            health.is_quick = False
        if seconds > self._seconds:
            self._failed(health, TimeoutError(f"an answer took {seconds:.3g} seconds"))
        else:
            health.breaker.succeeded()


def _is_quick(served: Loaded) -> bool:
    """Whether a model may be asked on the event loop: of a kind whose code is known not to hang, and quick."""
    if isinstance(served, ServedRows):
        return served.release.manifest.flavor in _KNOWN_FLAVORS and served.pace.call_seconds <= QUICK_SECONDS
    return served.release.manifest.model_class.startswith("everloop.") and served.series_seconds <= QUICK_SECONDS


def _nobody(reason: str, error: BaseException | None, unfit: EverloopError | None, seconds: float) -> BaseException:
    """The error of a request that nobody answered."""
    if error is None and unfit is not None:
        return unfit
    if isinstance(error, TimeoutError):
        return UnavailableError(
            "model_timeout",
            f"the model gave no answer within {seconds:g} seconds, and nobody else one either",
            hint="ask for less, or raise serve.model_timeout_seconds",
        )
    if error is None:
        return UnavailableError(
            "model_failing",
            f"the model is not asked for a while ({reason})",
            hint="see the server's log for its errors",
        )
    return error
