"""How often each gate blocks a candidate that is as good as the champion, and how often it stops a bad one.

A backtest is simulated case by case: stores whose errors hang together and last from day to day, series of very
different size, days with errors of very different size. Both models err alike to a degree, as two models of the same
sales do. What is bad in a bad candidate is planted: larger errors, forecasts too high, intervals too narrow, one store
gone wrong, or a column known ahead that was made from the target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decisions.rates import at_most, rate_row
from everloop.core.frequency import Frequency
from everloop.core.settings.training import GateSettings
from everloop.data.panel import Panel
from everloop.validate.backtest import Backtest, BacktestPlan, Fold
from everloop.validate.gates.accuracy import not_worse_than_champion
from everloop.validate.gates.behaviour import no_leaking_columns
from everloop.validate.gates.calibration import bias, coverage
from everloop.validate.gates.pairing import Clusters, Estimate, bias_of, coverage_of, saving
from everloop.validate.gates.result import GateResult
from everloop.validate.gates.slices import SliceRule, worst_slice
from everloop.validate.scores import Scores, score_backtest
from measuring.claims import claim_of

__all__ = ["Case", "Fault", "World", "measure"]

Floats = NDArray[np.float64]

ALPHA = 0.05
_HORIZON, _FOLDS, _DAYS = 28, 3, 200
_LEVEL = 80.0
_SEED = 410_000_000
_BOUNDARY = GateSettings(min_skill=-1.0, champion_margin=0.0, max_bias=0.0, coverage_tolerance=0.0, slice_margin=0.0)
"""Limits of zero: a candidate exactly as good as the champion then stands at the edge, where chance alone decides."""
_GATES = {
    "not_worse_than_champion": "champion",
    "bias": "bias",
    "coverage_80": "coverage",
    "worst_slice": "worst slice (a warning)",
}


@dataclass(frozen=True, slots=True)
class World:
    """A chain of shops.

    Attributes:
        name: what it is called.
        stores: how many.
        items: how many in each.
        memory: how much of a store's error lasts to the next day.
        common: the share of the errors' variance that all stores have in common on a day.
        alike: the share of the errors' variance that both models have in common.
        heavy: the spread of the days' sizes of errors, on the scale of logarithms.
    """

    name: str
    stores: int = 20
    items: int = 8
    memory: float = 0.0
    common: float = 0.0
    alike: float = 0.5
    heavy: float = 0.3


@dataclass(frozen=True, slots=True)
class Fault:
    """What is bad in a candidate; nothing by default.

    Attributes:
        larger: how many times as large its errors are.
        shift: how much too high its forecasts are, as a share of the sales.
        narrow: how many times as wide its intervals are.
        store: how many times as large its errors are in one store.
    """

    larger: float = 1.0
    shift: float = 0.0
    narrow: float = 1.0
    store: float = 1.0


WORLDS = (
    World("stores apart"),
    World("errors that last", memory=0.7, heavy=0.5),
    World("six stores", stores=6, items=20),
    World("stores that err together", common=0.3, memory=0.4),
    World("models much alike", alike=0.9, memory=0.3),
)
_TYPICAL = WORLDS[1]
_FAULTS = (
    ("not_worse_than_champion", "errors 5 % larger", Fault(larger=1.05)),
    ("not_worse_than_champion", "errors 10 % larger", Fault(larger=1.1)),
    ("not_worse_than_champion", "errors 20 % larger", Fault(larger=1.2)),
    ("bias", "forecasts 10 % too high", Fault(shift=0.1)),
    ("bias", "forecasts 20 % too high", Fault(shift=0.2)),
    ("bias", "forecasts 30 % too high", Fault(shift=0.3)),
    ("coverage_80", "intervals 0.8 times as wide", Fault(narrow=0.8)),
    ("coverage_80", "intervals 0.7 times as wide", Fault(narrow=0.7)),
    ("coverage_80", "intervals half as wide", Fault(narrow=0.5)),
    ("worst_slice", "errors of one store 25 % larger", Fault(store=1.25)),
    ("worst_slice", "errors of one store 50 % larger", Fault(store=1.5)),
    ("worst_slice", "errors of one store twice as large", Fault(store=2.0)),
)
_LEAKS = (("a copy of what was sold, 1 % off", 0.01), ("the same, 3 % off", 0.03), ("the same, 10 % off", 0.1))


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The table and the claims."""
    runs, few = (40, 20) if quick else (600, 100)
    rows: list[dict[str, Any]] = []
    claims = []
    at_edge = dict.fromkeys(_GATES, 0)
    for world in WORLDS:
        counts = _equal(world, runs)
        rows.append(rate_row("equal candidates blocked by any gate, default limits", world.name, counts[""], runs))
        claims.append(
            at_most(
                f"gates_{world.name.replace(' ', '_')}",
                f"equal candidates blocked, default limits: {world.name}",
                counts[""],
                runs,
                ALPHA,
            )
        )
        for name, shown in _GATES.items():
            rows.append(rate_row(f"equal candidates failed by {shown}, limit 0", world.name, counts[name], runs))
            at_edge[name] += counts[name]
    for name, shown in _GATES.items():
        claim = f"equal candidates failed by {shown}, limit 0, all chains together"
        claims.append(at_most(f"gate_{name}", claim, at_edge[name], runs * len(WORLDS), ALPHA))
    for name, what, fault in _FAULTS:
        stopped = _stopped(name, fault, few)
        rows.append(rate_row(f"bad candidates failed by {_GATES[name]}, default limits", what, stopped, few))
        if what == "errors 20 % larger":
            row = rows[-1]
            claims.append(
                claim_of(
                    "gates_20_percent_worse",
                    "candidates 20 % worse that are stopped",
                    "share",
                    0.9,
                    row["rate"],
                    (row["low"], row["high"]),
                    is_most=False,
                )
            )
    rows += _leaks(few // 2)
    return rows, claims


@dataclass(frozen=True, slots=True)
class Case:
    """A simulated candidate beside the champion, and what the gates compute of both once."""

    world: World
    candidate: Backtest
    champion: Backtest
    scores: tuple[Scores, Scores]
    saved: Estimate | None
    bias: Estimate
    coverage: Estimate | None

    @classmethod
    def simulated(cls, world: World, fault: Fault, seed: int) -> Case:
        """A case of its own for each seed."""
        rng = np.random.default_rng(seed)
        panel, clusters = _panel(world)
        actual = rng.poisson(_levels(world)[None, :, None], (_FOLDS, panel.n_series, _HORIZON)).astype(np.float64)
        shared = _errors(rng, world)
        mine, other = (world.alike**0.5 * shared + (1 - world.alike) ** 0.5 * _errors(rng, world) for _ in range(2))
        candidate, champion = _backtest(world, actual, mine, fault), _backtest(world, actual, other, Fault())
        return cls(
            world,
            candidate,
            champion,
            (_scored(candidate, panel), _scored(champion, panel)),
            saving(candidate, champion, clusters, metric="wape", alpha=ALPHA),
            bias_of(candidate, clusters, alpha=ALPHA / 2),
            coverage_of(candidate, clusters, _LEVEL, alpha=ALPHA / 2),
        )

    def judged(self, limits: GateSettings) -> list[GateResult]:
        """The verdicts of the gates that block, as `judge` gives them."""
        mine, other = self.scores
        return [
            not_worse_than_champion(mine, other, "wape", limits.champion_margin, saved=self.saved),
            bias(mine, limits.max_bias, found=self.bias),
            coverage(mine, _LEVEL, limits.coverage_tolerance, found=self.coverage),
        ]

    def sliced(self, limits: GateSettings) -> GateResult:
        """The verdict on the slices."""
        rule = SliceRule("wape", limits.slice_margin, ALPHA)
        return worst_slice(self.candidate, self.champion, _panel(self.world)[0], rule, rival="the champion")


def _scored(backtest: Backtest, panel: Panel) -> Scores:
    """The scores over all steps; those of each step, which no gate reads, would take most of the time."""
    return score_backtest(replace(backtest, plan=BacktestPlan(_FOLDS, 1, _HORIZON)), panel)


def _equal(world: World, runs: int) -> dict[str, int]:
    """Of candidates as good as the champion, how many each gate failed at limit 0; by "", how many were blocked."""
    counts = dict.fromkeys(("", *_GATES), 0)
    for number in range(runs):
        case = Case.simulated(world, Fault(), _SEED + number)
        counts[""] += any(gate.blocks for gate in case.judged(GateSettings()))
        for gate in (*case.judged(_BOUNDARY), case.sliced(_BOUNDARY)):
            counts[gate.name] += not gate.passed
    return counts


def _stopped(name: str, fault: Fault, runs: int) -> int:
    """How many bad candidates a gate failed, by the default limits."""
    failed = 0
    for number in range(runs):
        case = Case.simulated(_TYPICAL, fault, _SEED + number)
        gates = [case.sliced(GateSettings())] if name == "worst_slice" else case.judged(GateSettings())
        failed += any(gate.name == name and not gate.passed for gate in gates)
    return failed


@cache
def _panel(world: World) -> tuple[Panel, Clusters]:
    n = world.stores * world.items
    keys = tuple((f"s{store:02}", f"i{item:02}") for store in range(world.stores) for item in range(world.items))
    rng = np.random.default_rng(_SEED)
    y = rng.poisson(np.repeat(_levels(world), _DAYS)).astype(np.float32)
    panel = Panel(Frequency.parse("1d"), ("store", "item"), keys, 10_000, np.arange(n + 1) * _DAYS, y)
    return panel, Clusters.of(panel)


@cache
def _levels(world: World) -> Floats:
    """The mean sales of each series, of very different size."""
    sizes: Floats = 20 * np.exp(np.random.default_rng(_SEED + 1).normal(0, 0.8, world.stores * world.items))
    return sizes


def _errors(rng: np.random.Generator, world: World) -> Floats:
    """Errors of unit size, shape ``(folds, series, horizon)``; half of each is its store's."""
    shape = (_FOLDS, world.stores, _HORIZON)
    steps = rng.normal(size=shape)
    store = steps.copy()
    for day in range(1, _HORIZON):
        store[:, :, day] = world.memory * store[:, :, day - 1] + (1 - world.memory**2) ** 0.5 * steps[:, :, day]
    own = rng.normal(size=(_FOLDS, world.stores * world.items, _HORIZON))
    common = rng.normal(size=(_FOLDS, 1, _HORIZON))
    size = np.exp(rng.normal(0, world.heavy, (_FOLDS, 1, _HORIZON)))
    rest = (0.5 - world.common / 2) ** 0.5
    found: Floats = size * (world.common**0.5 * common + rest * np.repeat(store, world.items, axis=1) + rest * own)
    return found


@cache
def _reach(world: World) -> float:
    """How many sizes of error an honest interval reaches to each side."""
    rng = np.random.default_rng(_SEED + 2)
    sample = [
        world.alike**0.5 * _errors(rng, world) + (1 - world.alike) ** 0.5 * _errors(rng, world) for _ in range(150)
    ]
    return float(np.quantile(np.abs(np.concatenate(sample)), _LEVEL / 100))


def _backtest(world: World, actual: Floats, errors: Floats, fault: Fault) -> Backtest:
    levels = _levels(world)
    size = 0.4 * levels[:, None]
    folds = []
    for number in range(_FOLDS):
        error = size * errors[number] * fault.larger
        error[: world.items] *= fault.store
        mean = actual[number] + error + fault.shift * levels[:, None]
        half = _reach(world) * fault.narrow * size
        ones = np.ones(len(levels))
        folds.append(
            Fold(
                9_900 + _HORIZON * number,
                np.arange(len(levels)),
                actual[number],
                mean,
                {_LEVEL: mean - half},
                {_LEVEL: mean + half},
                ones,
                ones,
                0.0,
                0.0,
            )
        )
    return Backtest(BacktestPlan(_FOLDS, _HORIZON, _HORIZON), (_LEVEL,), tuple(folds))


def _leaks(runs: int) -> list[dict[str, Any]]:
    """How often the leak test finds a column made from the target, and honest prices."""
    rows = []
    for name, noise in _LEAKS:
        leaking = sum(_is_leak(_plan(noise), number) for number in range(runs))
        rows.append(rate_row("columns made from the target that are found", name, leaking, runs))
    honest = sum(_is_leak(_prices, number) for number in range(runs))
    rows.append(rate_row("honest columns taken for leaking", "prices that move sales threefold", honest, runs))
    return rows


def _is_leak(column: Callable[[np.random.Generator], tuple[Floats, Floats]], number: int) -> bool:
    panel, _ = _panel(_TYPICAL)
    y, values = column(np.random.default_rng(_SEED + number))
    known = {"column": values.astype(np.float32)}
    return not no_leaking_columns(replace(panel, y=y.astype(np.float32), known=known)).passed


def _plan(noise: float) -> Callable[[np.random.Generator], tuple[Floats, Floats]]:
    def made(rng: np.random.Generator) -> tuple[Floats, Floats]:
        y = rng.poisson(np.repeat(_levels(_TYPICAL), _DAYS)).astype(np.float64)
        return y, y * (1 + rng.normal(0, noise, len(y)))

    return made


def _prices(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A discount on every tenth day under which three times as much is sold."""
    is_cheap = rng.random(len(_levels(_TYPICAL)) * _DAYS) < 0.1
    y = rng.poisson(np.repeat(_levels(_TYPICAL), _DAYS) * np.where(is_cheap, 3, 1)).astype(np.float64)
    return y, np.where(is_cheap, 0.7, 1.0)
