"""Does a forecaster keep the laws that backtest, releases and server rely on?

    from everloop.models.checks import check_forecaster
    for result in check_forecaster(MyForecaster):
        print(result)

or, in a test: ``@pytest.mark.parametrize("check", FORECASTER_CHECKS)`` and ``check(MyForecaster, panel)``. A class
that cannot keep a law says so, by the check's name, in ``skipped_checks = {"check_same_bytes": "why"}``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from everloop.core.digest import digest_tree
from everloop.data.panel import Future, Panel
from everloop.models.asking import ask
from everloop.models.examples import example_panels, odd_panel
from everloop.models.forecaster import FitContext, Forecast, Forecaster, ForecastRequest

__all__ = ["FORECASTER_CHECKS", "CheckResult", "check_forecaster"]

Factory = Callable[[], Forecaster]
Check = Callable[[Factory, Panel], None]

_HORIZON = 14
_CONTEXT = FitContext(_HORIZON, levels=(80.0, 95.0), seed=11)
_ALL = ForecastRequest(_HORIZON, _CONTEXT.levels)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found on one panel: its law, and why it failed or was skipped."""

    check: str
    law: str
    panel: str
    status: Literal["passed", "failed", "skipped"]
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.status}: {self.law} [{self.check}, {self.panel}]" + (f": {self.reason}" if self.reason else "")


def check_forecaster(factory: Factory, panels: Mapping[str, Panel] | None = None) -> list[CheckResult]:
    """Run every check on every panel.

    Args:
        factory: makes a new forecaster, not yet fitted; mostly the class itself.
        panels: panels by name, each with more than 40 periods; two small ones are made where there are none.
    """
    skipped: Mapping[str, str] = getattr(factory, "skipped_checks", {})
    results = []
    for name, panel in (example_panels() if panels is None else panels).items():
        for check in FORECASTER_CHECKS:
            law = (check.__doc__ or "").strip()
            if check.__name__ in skipped:
                results.append(CheckResult(check.__name__, law, name, "skipped", skipped[check.__name__]))
                continue
            try:
                check(factory, deepcopy(panel))  # a forecaster that spoils its panel spoils one check only
            except Exception as error:
                reason = str(error) or type(error).__name__
                results.append(CheckResult(check.__name__, law, name, "failed", reason))
            else:
                results.append(CheckResult(check.__name__, law, name, "passed"))
    return results


def check_constructor(factory: Factory, panel: Panel) -> None:
    """A constructor only stores its parameters."""
    del panel
    model = factory()
    learned = [name for name in vars(model) if name.endswith("_")]
    _hold(not learned, f"before fit there is {', '.join(learned)}")
    again = type(model)(**model.parameters())
    _hold(again.parameters() == model.parameters(), "a copy made of parameters() has other parameters")


def check_same_bytes(factory: Factory, panel: Panel) -> None:
    """The same panel and seed give the same bytes."""
    first, second = _fit(factory, panel), _fit(factory, panel)
    with _folder() as one, _folder() as two:
        first.save(one)
        second.save(two)
        differing = sorted(set(digest_tree(one).items()) ^ set(digest_tree(two).items()))
    _hold(not differing, f"these files differ: {', '.join(dict(differing))}")


def check_panel_untouched(factory: Factory, panel: Panel) -> None:
    """Fit, update and forecast do not change the panel."""
    before = {name: values.copy() for name, values in _arrays(panel).items()}
    model = _fit(factory, panel).update(panel)
    ask(model, _ALL)
    changed = [name for name, values in _arrays(panel).items() if not _same(values, before[name])]
    _hold(not changed, f"changed: {', '.join(changed)}")


def check_finite(factory: Factory, panel: Panel) -> None:
    """There is one finite number for each series and step."""
    answer = ask(_fit(factory, panel), _ALL)
    _hold(answer.mean.shape == (panel.n_series, _HORIZON), f"the forecast has shape {answer.mean.shape}")
    _hold(answer.cutoff == panel.cutoff, f"the forecast starts after {answer.cutoff}, not {panel.cutoff}")


def check_no_leak(factory: Factory, panel: Panel) -> None:
    """Rows after the cutoff do not enter, even where they lie right behind it in memory."""
    answers = []
    for later in (0.0, 1e6):
        full = np.full(panel.lengths[0] + _HORIZON, later, dtype=np.float32)
        full[:-_HORIZON] = panel.y[: panel.lengths[0]]
        first = _series(panel, np.array([0]))
        answers.append(ask(_fit(factory, replace(first, y=full[:-_HORIZON])), _ALL))
    _equal(answers[0], answers[1], "later rows changed the forecast")


def check_single(factory: Factory, panel: Panel) -> None:
    """A series asked alone gets the same bits as among all."""
    model = _fit(factory, panel)
    everything = ask(model, _ALL)
    for row in range(panel.n_series):
        alone = ask(model, replace(_ALL, series=np.array([row])))
        _equal(alone, _rows(everything, np.array([row])), f"series {row} alone is another forecast")


def check_order(factory: Factory, panel: Panel) -> None:
    """The order in which series are asked does not matter."""
    model = _fit(factory, panel)
    order = np.arange(panel.n_series)[::-1].copy()
    _equal(ask(model, replace(_ALL, series=order)), _rows(ask(model, _ALL), order), "in reverse the forecast differs")


def check_shorter(factory: Factory, panel: Panel) -> None:
    """A shorter horizon is the beginning of a longer one."""
    model = _fit(factory, panel)
    short, long = ask(model, replace(_ALL, horizon=3)), ask(model, _ALL)
    _hold(_same(short.mean, long.mean[:, :3]), "the first three steps differ")


def check_levels(factory: Factory, panel: Panel) -> None:
    """A wider level's interval holds a narrower one's, and all hold the forecast."""
    levels = (50.0, 80.0, 90.0)
    answer = ask(_fit(factory, panel), replace(_ALL, levels=levels))
    missing = [level for level in levels if level not in answer.lower]
    _hold(not missing, f"there is no interval of level {missing}")
    inner = (answer.mean, answer.mean)
    for level in levels:
        low, high = answer.lower[level], answer.upper[level]
        _hold(not (low > inner[0] + 1e-9).any(), f"a lower bound of level {level} lies above a narrower one's")
        _hold(not (high < inner[1] - 1e-9).any(), f"an upper bound of level {level} lies below a narrower one's")
        inner = (np.fmin(low, inner[0]), np.fmax(high, inner[1]))


def check_update_same(factory: Factory, panel: Panel) -> None:
    """An update with the panel of the fit changes no forecast."""
    model = _fit(factory, panel)
    _equal(ask(model.update(panel), _ALL), ask(model, _ALL), "the forecast changed")


def check_update_new(factory: Factory, panel: Panel) -> None:
    """An update stands at the new cutoff, and leaves the model that it came from alone."""
    earlier = panel.until(panel.cutoff - 7, horizon=_HORIZON)
    model = _fit(factory, earlier)
    before = ask(model, _ALL)
    after = ask(model.update(panel), _ALL)
    _hold(after.cutoff == panel.cutoff, f"the update stands at {after.cutoff}, not {panel.cutoff}")
    _equal(ask(model, _ALL), before, "the update changed the model it came from")


def check_memory(factory: Factory, panel: Panel) -> None:
    """The last ``memory`` periods are all that an update needs."""
    model = _fit(factory, panel.until(panel.cutoff - 7, horizon=_HORIZON))
    whole, tail = model.update(panel), model.update(panel.tail(model.memory))
    _equal(ask(tail, _ALL), ask(whole, _ALL), f"the last {model.memory} periods give another forecast")


def check_round_trip(factory: Factory, panel: Panel) -> None:
    """What was saved and loaded forecasts, updates and saves the same bits."""
    model = _fit(factory, panel.until(panel.cutoff - 7, horizon=_HORIZON))
    with _folder() as one, _folder() as two:
        model.save(one)
        loaded = type(model).load(one)
        loaded.save(two)
        differing = sorted(set(digest_tree(one).items()) ^ set(digest_tree(two).items()))
    _hold(not differing, f"saved again, these files differ: {', '.join(dict(differing))}")
    _hold(loaded.parameters() == model.parameters(), "the parameters differ")
    _equal(ask(loaded, _ALL), ask(model, _ALL), "the loaded model's forecast differs")
    _equal(ask(loaded.update(panel), _ALL), ask(model.update(panel), _ALL), "the loaded model updates otherwise")


def check_what_if(factory: Factory, panel: Panel) -> None:
    """Known-ahead values in a request change the asked series only, and nothing that is kept."""
    names = [name for name in panel.known if name not in panel.categories]
    if not names or panel.n_series < 2:
        return
    model = _fit(factory, panel)
    before = ask(model, _ALL)
    future = {name: np.full((panel.n_series, _HORIZON), np.nan, dtype=np.float32) for name in names}
    for values in future.values():
        values[1] = 1000.0
    after = ask(model, replace(_ALL, future=future))
    others = np.delete(np.arange(panel.n_series), 1)
    _equal(_rows(after, others), _rows(before, others), "another series' forecast changed")
    _equal(ask(model, _ALL), before, "the next request still sees the values")


def check_new_series(factory: Factory, panel: Panel) -> None:
    """A series that appears first in an update gets a forecast, and the others keep theirs."""
    last = panel.n_series - 1
    old = _series(panel, np.arange(last))
    model = _fit(factory, old)
    answer = ask(model.update(panel), _ALL)
    kept = _rows(answer, np.arange(last))
    _equal(kept, ask(model.update(old), _ALL), "a new series changed the forecast of another")


def check_odd_series(factory: Factory, panel: Panel) -> None:
    """Short, constant and zero series get a forecast, alone or together; so does one without values among others."""
    odd = odd_panel(panel.frequency)
    ask(_fit(factory, odd), _ALL)
    for row, key in enumerate(odd.keys):
        if key != ("empty",):
            ask(_fit(factory, _series(odd, np.array([row]))), _ALL)


FORECASTER_CHECKS: tuple[Check, ...] = (
    check_constructor,
    check_same_bytes,
    check_panel_untouched,
    check_finite,
    check_no_leak,
    check_single,
    check_order,
    check_shorter,
    check_levels,
    check_update_same,
    check_update_new,
    check_memory,
    check_round_trip,
    check_what_if,
    check_new_series,
    check_odd_series,
)


def _fit(factory: Factory, panel: Panel) -> Forecaster:
    return factory().fit(panel, _CONTEXT)


def _hold(condition: bool, reason: str) -> None:
    if not condition:
        raise AssertionError(reason)


def _same(one: NDArray[np.generic], other: NDArray[np.generic]) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _equal(one: Forecast, other: Forecast, reason: str) -> None:
    """Both hold the same bits."""
    _hold(_same(one.mean, other.mean), reason)
    for level in _ALL.levels:
        _hold(_same(one.lower[level], other.lower[level]), f"{reason} (lower bound of level {level})")
        _hold(_same(one.upper[level], other.upper[level]), f"{reason} (upper bound of level {level})")


def _rows(answer: Forecast, rows: NDArray[np.int64]) -> Forecast:
    return replace(
        answer,
        series=answer.series[rows],
        mean=answer.mean[rows],
        lower={level: values[rows] for level, values in answer.lower.items()},
        upper={level: values[rows] for level, values in answer.upper.items()},
    )


def _series(panel: Panel, numbers: NDArray[np.int64]) -> Panel:
    """The panel with only some of its series, in rising order."""
    rows = np.isin(panel.series_of_rows(), numbers)
    return replace(
        panel,
        keys=tuple(panel.keys[number] for number in numbers.tolist()),
        offsets=np.concatenate([[0], np.cumsum(panel.lengths[numbers])]).astype(np.int64),
        y=panel.y[rows],
        known={name: values[rows] for name, values in panel.known.items()},
        observed={name: values[rows] for name, values in panel.observed.items()},
        static={name: values[numbers] for name, values in panel.static.items()},
        future=Future(panel.future.steps, {name: block[numbers] for name, block in panel.future.columns.items()}),
    )


def _arrays(panel: Panel) -> dict[str, NDArray[np.generic]]:
    groups = {
        "known": panel.known,
        "observed": panel.observed,
        "static": panel.static,
        "future": panel.future.columns,
    }
    named: dict[str, NDArray[np.generic]] = {"y": panel.y, "offsets": panel.offsets}
    return named | {f"{kind} {name}": values for kind, group in groups.items() for name, values in group.items()}


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="everloop-check-") as name:
        yield Path(name)
