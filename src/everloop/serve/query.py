"""What a forecast request asks, made to fit the model that answers it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from everloop.core.errors import RequestError, nearest
from everloop.data.panel import join_key, split_key
from everloop.models.forecaster import ForecastRequest
from everloop.serve.future_values import future_column, with_own
from everloop.serve.newcomers import Newcomer, Newcomers, described
from everloop.serve.served import Served

__all__ = ["ForecastQuery", "Resolved", "fitting_horizon", "fitting_levels", "level_labels", "resolve"]

_MOST_LEVELS = 20


@dataclass(frozen=True, slots=True)
class ForecastQuery:
    """One question.

    Attributes:
        series: each a text (``"CA_1/FOODS_1_001"``) or a mapping of the series columns (or of that text as
            ``"series"``), which may also hold a ``"future"`` of its own, and the ``"static"`` columns of a series that
            is new; ``None`` asks for all series.
        horizon: steps, the settings' own where it is ``None``.
        levels: interval levels in percent, the settings' own where it is ``None``.
        future: known-ahead values of a what-if by column: one value for all, a list with one for each step, or a
            list of such lists with one for each series; ``None`` keeps what is stored.
    """

    series: tuple[str | Mapping[str, Any], ...] | None = None
    horizon: int | None = None
    levels: tuple[float, ...] | None = None
    future: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ForecastQuery:
        """The query that :attr:`Resolved.record` tells of."""
        series = record["series"]
        return cls(
            series=None if series is None else tuple(series),
            horizon=record["horizon"],
            levels=tuple(record["levels"]),
            future=record["future"],
        )


@dataclass(frozen=True, slots=True)
class Resolved:
    """A query that fits.

    Attributes:
        request: what the model is asked.
        keys: the series' texts, in the order asked.
        record: the query with everything spelled out, as JSON values; :meth:`ForecastQuery.from_record` reads it.
        newcomers: the series that the model has never seen, ``None`` where there are none.
    """

    request: ForecastRequest
    keys: tuple[str, ...]
    record: dict[str, Any]
    newcomers: Newcomers | None = None


def resolve(
    query: ForecastQuery, served: Served, *, horizon: int, levels: Sequence[float], max_series: int | None = None
) -> Resolved:
    """Make a query fit a release.

    Args:
        query: what was asked.
        served: the release that answers.
        horizon: the horizon of a query without one.
        levels: the levels of a query without some.
        max_series: the most series of one query.

    Raises:
        RequestError: series, horizon, levels or future values do not fit; ``path`` says which.
    """
    steps = fitting_horizon(query.horizon, default=horizon, most=served.release.manifest.horizon)
    chosen = fitting_levels(levels if query.levels is None else query.levels)
    n = len(served.keys if query.series is None else query.series)
    if max_series is not None and n > max_series:
        raise RequestError(
            "series_many",
            f"{n} series are more than the {max_series} of one request",
            hint="ask in parts, raise serve.max_series, or use: everloop forecast --out FILE",
            path="series",
        )
    future = dict(query.future)
    keys, positions, newcomers = served.keys, None, None
    series: list[Any] | None = None
    if query.series is not None:
        asked = _find_series(query.series, served)
        positions = np.array([each.position for each in asked], dtype=np.int64)
        keys = tuple([each.text for each in asked])
        series = list(keys)
        if any(each.future for each in asked):
            future = with_own(future, [each.future for each in asked], steps)
        if new := {place: each.newcomer for place, each in enumerate(asked) if each.newcomer is not None}:
            newcomers = Newcomers(np.array(list(new), dtype=np.int64), tuple(new.values()))
            for place, each in new.items():
                series[place] = each.record
    arrays = {name: future_column(name, values, served.panel, (n, steps)) for name, values in future.items()}
    request = ForecastRequest(horizon=steps, levels=chosen, series=positions, future=arrays)
    record = {
        "series": series,
        "horizon": steps,
        "levels": list(chosen),
        "future": future,
    }
    return Resolved(request, keys, record, newcomers)


def level_labels(level: float) -> tuple[str, str]:
    """The names of an interval's bounds in answers and files.

    >>> level_labels(80.0)
    ('lo-80', 'hi-80')
    """
    return f"lo-{level:g}", f"hi-{level:g}"


def fitting_horizon(asked: int | None, *, default: int, most: int) -> int:
    """A horizon that a release can forecast.

    Raises:
        RequestError: it is less than one step, or more than ``most``.
    """
    if asked is None:
        return min(default, most)
    if not 1 <= asked <= most:
        raise RequestError(
            "horizon",
            f"the horizon must be from 1 to {most} steps; got {asked}",
            hint="for a longer one set forecast.horizon and train again",
            path="horizon",
        )
    return asked


def fitting_levels(asked: Sequence[float]) -> tuple[float, ...]:
    """Levels in percent that can be told apart by their names.

    Raises:
        RequestError: one lies outside of 0 to 100, or they are too many.
    """
    if len(asked) > _MOST_LEVELS:
        raise RequestError(
            "level", f"at most {_MOST_LEVELS} levels can be asked, not {len(asked)}", hint="ask fewer", path="levels"
        )
    for place, level in enumerate(asked):
        if not 0 < level < 100:
            raise RequestError(
                "level",
                f"a level lies between 0 and 100 percent; got {level:g}",
                hint="80 asks for the interval that holds 80 % of outcomes",
                path=f"levels[{place}]",
            )
    # as answers name them, so that two levels never share a name
    rounded = (float(f"{level:g}") for level in asked)
    return tuple(dict.fromkeys(level for level in rounded if 0 < level < 100))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A series that is asked: its number (0 for a new one), and its own future values."""

    text: str
    position: int
    future: Mapping[str, Any]
    newcomer: Newcomer | None = None


def _find_series(series: Sequence[str | Mapping[str, Any]], served: Served) -> list[_Asked]:
    """The number of each series, and what else is said of it."""
    if not series:
        raise RequestError(
            "series_empty", "no series is asked", hint="name some, or leave 'series' out to ask for all", path="series"
        )
    found: list[_Asked] = []
    new: set[str] = set()
    for place, each in enumerate(series):
        text, future, static = _key_of(each, served.panel.series_columns, place)
        position = served.positions.get(text)
        if position is not None:
            if static is not None:
                raise RequestError(
                    "series_known",
                    f"{text[:200]!r} is no new series; its static columns are those of the data",
                    hint="leave 'static' out",
                    path=f"series[{place}].static",
                )
            found.append(_Asked(text, position, future))
        elif static is None:
            raise _unknown_series(text, served, place)
        else:
            newcomer = described(split_key(text), static, served.panel, f"series[{place}]")
            if text in new:
                raise RequestError(
                    "series_twice", f"{text[:200]!r} is described twice", hint="once is enough", path=f"series[{place}]"
                )
            new.add(text)
            found.append(_Asked(text, 0, future, newcomer))
    return found


def _key_of(each: str | Mapping[str, Any], columns: tuple[str, ...], place: int) -> tuple[str, Mapping[str, Any], Any]:
    """The text of a series, its own future values, and how it is described where it is new."""
    if isinstance(each, str):
        return each, {}, None
    path = f"series[{place}]"
    future: Any = {}
    static: Any = None
    key: Any = None
    for name in each:
        if name in columns:
            continue
        if name == "static":
            static = each[name]
        elif name == "future":
            future = each[name]
        elif name == "series":
            key = each[name]
        else:
            known = [*columns, "series", "future", "static"]
            raise RequestError("series_column", f"{name!r} is no series column", hint=nearest(name, known), path=path)
    parts = list(split_key(key)) if isinstance(key, str) else []
    if key is not None and len(parts) != len(columns):
        raise RequestError(
            "series_column",
            f"{key!r:.200} names no series",
            hint=f"a series is named by {', '.join(columns)}, with '/' between their values",
            path=f"{path}.series",
        )
    for name in () if parts else columns:
        value = each.get(name)
        if not isinstance(value, str | int) or isinstance(value, bool):
            problem = "is missing" if value is None else f"must be a text, not {value!r:.60}"
            raise RequestError(
                "series_column",
                f"the series column {name!r} {problem}",
                hint=f"a series is named by {', '.join(columns)}",
                path=f"{path}.{name}",
            )
        parts.append(str(value))
    if not isinstance(future, Mapping):
        raise RequestError(
            "future_shape", "'future' maps columns to values", hint='{"price": [2.5, 2.5]}', path=f"{path}.future"
        )
    return join_key(tuple(parts)), future, static


def _unknown_series(text: str, served: Served, place: int) -> RequestError:
    # Neighbours in sorted order are near enough for a hint; comparing with all series would hold the server up.
    at = bisect_left(served.sorted_keys, text)
    near = served.sorted_keys[max(0, at - 20) : at + 20]
    return RequestError(
        "series_unknown",
        f"there is no series {text[:200]!r}",
        hint=f"{nearest(text[:200], near)}; a new one is described: the series columns, and 'static' with the others",
        path=f"series[{place}]",
    )
