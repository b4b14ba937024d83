"""Gates on behaviour: nothing from after the cutoff gets in, odd input is borne, the same again gives the same.

Columns that are said to be known ahead are held against the target. A forecaster of one's own is run through the laws
that backtest, releases and server rely on (:mod:`everloop.models.checks`), on some series of the project's own data;
the built-in ones are held to them by Everloop's tests.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.data.panel import Panel
from everloop.models import checks
from everloop.models.forecaster import Forecaster
from everloop.validate.gates.result import GateResult

__all__ = ["keeps_laws", "no_leaking_columns"]

_LEAK_CORRELATION = 0.98
_LEAST_ROWS = 50
_MOST_ROWS = 200_000
_SERIES, _PERIODS = 8, 240
_LEAST_PERIODS = 60

_LAWS = (
    ("G_LEAK", "no_leak", (checks.check_no_leak,)),
    (
        "G_ROBUST",
        "robust",
        (checks.check_finite, checks.check_odd_series, checks.check_new_series, checks.check_what_if),
    ),
    ("G_REPRODUCIBLE", "reproducible", (checks.check_same_bytes, checks.check_round_trip, checks.check_single)),
)


def no_leaking_columns(panel: Panel) -> GateResult:
    """No known-ahead number follows the target so closely that it must come from it.

    Within the series, a column whose correlation with the target is at least 0.98 is taken for one that was computed
    from it: what explains 96 % of a product's sales a month ahead is not known a month ahead.
    """
    rows = np.arange(max(0, len(panel.y) - _MOST_ROWS), len(panel.y))
    series = panel.series_of_rows()[rows]
    found: dict[str, float] = {}
    for name, values in sorted(panel.known.items()):
        if name in panel.categories:
            continue
        size = _correlation(panel.y[rows].astype(np.float64), values[rows].astype(np.float64), series)
        if size is not None:
            found[name] = size
    leaking = sorted(name for name, size in found.items() if abs(size) >= _LEAK_CORRELATION)
    evidence: dict[str, Any] = {"correlation": found, "limit": _LEAK_CORRELATION}
    if leaking:
        message = (
            f"known ahead, but made from the target: {', '.join(leaking)} (correlation with it "
            f"{found[leaking[0]]:.3f} within the series); take the column out of data.known"
        )
    else:
        message = f"none of {len(found)} columns known ahead follows the target as if made from it"
    return GateResult("G_LEAK", "no_leaking_columns", not leaking, "error", message, evidence)


def _correlation(y: NDArray[np.float64], x: NDArray[np.float64], series: NDArray[np.int64]) -> float | None:
    """The correlation within series; ``None`` where there are too few rows or nothing varies."""
    is_known = np.isfinite(y) & np.isfinite(x)
    if int(is_known.sum()) < _LEAST_ROWS:
        return None
    y, x, series = y[is_known], x[is_known], series[is_known]
    counts = np.maximum(np.bincount(series), 1)
    y = y - (np.bincount(series, y) / counts)[series]
    x = x - (np.bincount(series, x) / counts)[series]
    power = float((y @ y) * (x @ x))
    return float(y @ x) / power**0.5 if power > 0 else None


def keeps_laws(factory: Callable[[], Forecaster], panel: Panel) -> tuple[GateResult, ...]:
    """A forecaster of one's own keeps the laws, tried on a few of the project's own series.

    Args:
        factory: makes a new forecaster, not yet fitted.
        panel: the data.
    """
    if type(factory()).__module__.startswith("everloop."):
        return ()
    sample = _sample(panel)
    skipped = getattr(factory(), "skipped_checks", {})
    results = []
    for code, name, laws in _LAWS:
        if sample is None:
            message = f"cannot be tried: no {_SERIES} series with {_LEAST_PERIODS} periods"
            results.append(GateResult(code, name, False, "warning", message, {}))
            continue
        broken = {}
        for law in laws:
            if law.__name__ in skipped:
                continue
            try:
                law(factory, deepcopy(sample))
            except Exception as error:
                # whatever a stranger's code raises is an answer to the question whether it keeps the law
                broken[law.__name__] = str(error) or type(error).__name__
        words = "; ".join(f"{(getattr(checks, law).__doc__ or law).strip()} {why}" for law, why in broken.items())
        names = [law.__name__ for law in laws]
        evidence = {
            "series": sample.n_series,
            "laws": names,
            "broken": broken,
            "skipped": {law: why for law, why in skipped.items() if law in names},
        }
        message = f"not kept: {words}" if broken else f"{len(laws)} laws kept on {sample.n_series} series"
        results.append(GateResult(code, name, not broken, "error", message, evidence))
    return tuple(results)


def _sample(panel: Panel) -> Panel | None:
    """The newest periods of some long series; ``None`` where there are none."""
    long = np.flatnonzero(panel.lengths >= _LEAST_PERIODS)
    if not len(long):
        return None
    chosen = long[np.unique(np.linspace(0, len(long) - 1, _SERIES).astype(int))]
    rows = np.concatenate([np.arange(panel.offsets[each], panel.offsets[each + 1]) for each in chosen])
    lengths = panel.lengths[chosen]
    future = {name: values[chosen] for name, values in panel.future.columns.items()}
    return replace(
        panel,
        keys=tuple(panel.keys[each] for each in chosen),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        y=panel.y[rows],
        known={name: values[rows] for name, values in panel.known.items()},
        observed={name: values[rows] for name, values in panel.observed.items()},
        static={name: values[chosen] for name, values in panel.static.items()},
        future=replace(panel.future, columns=future),
    ).tail(_PERIODS)
