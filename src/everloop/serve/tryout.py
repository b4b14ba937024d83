"""The tryout: a new release answers recorded requests beside the old one before it takes over.

It looks for what warming up cannot show: a release that fails, gives other shapes or no numbers, or is far slower on
the requests that really come. How much the numbers differ is reported and decides nothing; whether they are better is
for outcomes to say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import EverloopError, IntegrityError, ModelError, RequestError
from everloop.core.project import Project
from everloop.serve.answers import compute_values
from everloop.serve.loading import Loaded
from everloop.serve.query import ForecastQuery, level_labels
from everloop.serve.rows import RowQuery, score_values
from everloop.serve.tabular.repeating import outputs_again
from everloop.serve.tabular.served import ServedRows
from everloop.store.records import Recorded
from everloop.store.values import ForecastValues

__all__ = ["Outputs", "Tryout", "recomputed", "try_out"]

Outputs = Mapping[str, NDArray[Any]]

_SLOW_SECONDS = 0.02
"""A release that answers within this is never too slow."""

_MOST_UNFIT = 0.5


@dataclass(frozen=True, slots=True)
class Tryout:
    """What a tryout showed.

    Attributes:
        asked: how many recorded requests both were asked.
        answered: how many both answered.
        unfit: how many the new one refuses, such as those for a series that is gone.
        difference: the median, over requests, of the median relative change of the numbers; ``None`` without any.
        old_seconds: the old one's median time.
        new_seconds: the new one's.
        refusal: why the new one may not take over, empty where it may.
    """

    asked: int = 0
    answered: int = 0
    unfit: int = 0
    difference: float | None = None
    old_seconds: float | None = None
    new_seconds: float | None = None
    refusal: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        return asdict(self)

    def sentence(self) -> str:
        """The record for a person."""
        if not self.asked:
            return "no recorded request to compare by"
        change = "" if self.difference is None else f", median change {self.difference:.2%}"
        times = ""
        if self.old_seconds and self.new_seconds:
            times = f", {self.new_seconds * 1e3:.2f} ms a request against {self.old_seconds * 1e3:.2f} ms"
        return f"{self.answered} of {self.asked} recorded requests answered by both{change}{times}"


def try_out(
    new: Loaded,
    old: Loaded,
    requests: Sequence[Recorded],
    *,
    compute: Callable[[Loaded, Recorded], Outputs],
    max_slowdown: float,
    seconds: float,
) -> Tryout:
    """Have both answer the same requests in turn.

    Args:
        new: who wants to take over.
        old: who answers now.
        requests: what they are asked.
        compute: asks one of them; see :func:`recomputed`.
        max_slowdown: how many times as long the new one may take.
        seconds: when to stop with what was seen; a call that hangs is not ended by it.
    """
    deadline = time.monotonic() + seconds
    asked = unfit = 0
    changes: list[float] = []
    times: list[tuple[float, float]] = []
    for recorded in requests:
        if asked and time.monotonic() > deadline:
            break
        try:
            started = time.perf_counter()
            before = compute(old, recorded)
            between = time.perf_counter()
        except Exception:
            continue  # what the old one cannot answer either, for whatever reason, says nothing about the new one
        asked += 1
        try:
            after = compute(new, recorded)
        except RequestError:
            unfit += 1
            continue
        except Exception as error:
            # A model of a user's own may fail in any way; that is what is looked for here.
            return Tryout(asked, len(times), unfit, refusal=f"it fails on request {recorded.id}: {_sentence(error)}")
        times.append((between - started, time.perf_counter() - between))
        if other := _other_shape(before, after):
            return Tryout(asked, len(times), unfit, refusal=f"its answer to request {recorded.id} {other}")
        changes.append(_change(before, after))
    return _verdict(asked, unfit, changes, times, max_slowdown)


def recomputed(project: Project, served: Loaded, recorded: Recorded) -> dict[str, NDArray[Any]]:
    """A release's outputs for a recorded request, by name.

    Raises:
        RequestError: the request does not fit this release.
        ModelError: the model fails.
        IntegrityError: the recorded request cannot be read.
    """
    if isinstance(served, ServedRows):
        return outputs_again(served, recorded.request, recorded.kind)
    try:
        record = msgspec.json.decode(recorded.request)
        rows = RowQuery.from_record(record) if recorded.kind == "invocations" else None
        query = ForecastQuery.from_record(record) if rows is None else None
    except (KeyError, TypeError, msgspec.DecodeError) as error:
        raise IntegrityError(
            "prediction_request", f"the request of prediction {recorded.id} cannot be read: {error}"
        ) from error
    if rows is not None:
        return _named(score_values(project, served, rows, is_limited=False)[1])
    if query is None:
        raise ModelError("prediction_request", f"prediction {recorded.id} holds no request")
    return _named(compute_values(project, served, query, is_limited=False)[0])


def _named(values: ForecastValues) -> dict[str, NDArray[Any]]:
    outputs: dict[str, NDArray[Any]] = {"forecast": values.mean}
    for level in values.lower:
        low, high = level_labels(level)
        outputs[low], outputs[high] = values.lower[level], values.upper[level]
    return outputs


def _verdict(
    asked: int, unfit: int, changes: list[float], times: list[tuple[float, float]], max_slowdown: float
) -> Tryout:
    if not times:
        refusal = f"it takes none of {asked} recorded requests" if unfit and unfit > _MOST_UNFIT * asked else ""
        return Tryout(asked, 0, unfit, refusal=refusal)
    old_seconds, new_seconds = (float(each) for each in np.median(np.array(times), axis=0))
    refusal = ""
    if unfit > _MOST_UNFIT * asked:
        refusal = f"it refuses {unfit} of {asked} recorded requests"
    elif new_seconds > max(max_slowdown * old_seconds, _SLOW_SECONDS):
        refusal = (
            f"it takes {new_seconds * 1e3:.3g} ms for a recorded request, the old one {old_seconds * 1e3:.3g} ms; "
            f"more than {max_slowdown:g} times as long is too slow"
        )
    return Tryout(asked, len(times), unfit, float(np.median(changes)), old_seconds, new_seconds, refusal)


def _other_shape(before: Outputs, after: Outputs) -> str:
    """What of an answer is not as it was, empty where its form is the same."""
    if missing := sorted(set(before) - set(after)):
        return f"lacks {', '.join(missing)}"
    for name, values in before.items():
        if after[name].shape != values.shape:
            return f"has {name!r} of shape {after[name].shape}, not {values.shape}"
        # an interval may be missing, and rows that ask for single steps leave holes; a new hole is a fault
        is_interval = name.startswith(("lo-", "hi-"))
        if after[name].dtype.kind == "f" and not is_interval and (~np.isfinite(after[name]) & _is_number(values)).any():
            return f"is not finite in {name!r}"
    return ""


def _is_number(values: NDArray[Any]) -> NDArray[np.bool_]:
    return np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, dtype=np.bool_)


def _change(before: Outputs, after: Outputs) -> float:
    """The median relative change of the first output; of texts, the share that differs."""
    name = next(iter(before))
    old, new = before[name], after[name]
    if old.dtype.kind not in "fiub" or new.dtype.kind not in "fiub":
        return float(np.mean(np.asarray(old != new)))
    first, second = old.astype(np.float64), new.astype(np.float64)
    is_there = np.isfinite(first) & np.isfinite(second)
    scale = np.abs(first[is_there]) + np.abs(second[is_there])
    gap = 2 * np.abs(second[is_there] - first[is_there])
    if not scale.size:
        return 0.0
    return float(np.median(np.divide(gap, scale, out=np.zeros_like(gap), where=scale > 0)))


def _sentence(error: Exception) -> str:
    return error.message if isinstance(error, EverloopError) else f"{type(error).__name__}: {error}"
