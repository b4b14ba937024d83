"""How often healthy releases are said to have left their range in a year, and how soon bad ones are found."""

from __future__ import annotations

from statistics import median
from typing import Any

from scipy.stats import binom

from decisions.rates import at_most, rate_row
from decisions.shops import Fault, World, first_alarm, judged
from measuring.claims import claim_of

__all__ = ["DEVELOPED_ON", "MEASURED_ON", "measure"]

BUDGET = 0.05
DEVELOPED_ON = (
    World("smooth"),
    World("autocorrelated", memory=0.7),
    World("short", years=0.6),
    World("two windows", windows=2, heavy=0.2),
    World("December", december=0.8, heavy=0.3),
    World("December once", years=1.0, december=0.8, heavy=0.3),
    World("heavy tails", heavy=0.5, zeros=0.15),
    World("smooth", memory=0.3, common=0.12, yearly=0.4),
    World("heavy tails and zeros", heavy=0.4, zeros=0.25, memory=0.6, common=0.15),
    World("December", december=0.6, heavy=0.2, memory=0.4, yearly=0.1),
    World("December, seen once", years=1.1, december=0.6, heavy=0.2, memory=0.4),
    World("two windows, three quarters of a year", years=0.75, windows=2, heavy=0.4),
    World("six windows, strong dependence", windows=6, heavy=0.2, memory=0.8, common=0.15),
    World("smooth", memory=0.4, common=0.08, yearly=0.3),
    World("strong yearly season", yearly=0.5, memory=0.2),
    World("heavy tails and zeros", heavy=0.6, zeros=0.1),
    World("December", december=1.0, heavy=0.25, memory=0.3),
    World("December, seen once", years=1.2, december=0.5, heavy=0.3),
    World("two windows, half a year of history", years=0.5, windows=2, heavy=0.3, memory=0.4),
    World("six windows, strong dependence", windows=6, heavy=0.3, memory=0.85, common=0.12),
)
"""Where the method's choices were made, with other seeds; nothing is reported on them."""
MEASURED_ON = (
    World("smooth", memory=0.2, common=0.1, yearly=0.25),
    World("strong yearly season", yearly=0.6, memory=0.4, common=0.08),
    World("heavy tails and zeros", heavy=0.45, zeros=0.25, memory=0.2),
    World("December", december=0.75, heavy=0.25, memory=0.45),
    World("December, seen once", years=1.3, december=0.7, heavy=0.25, memory=0.2),
    World("two windows, half a year of history", years=0.55, windows=2, heavy=0.25, memory=0.6),
    World("six windows, strong dependence", windows=6, heavy=0.25, memory=0.9, common=0.1),
)
_FAULTS = (
    ("forecasts 1.5 times", Fault(60, factor=1.5)),
    ("forecasts 1.2 times", Fault(60, factor=1.2)),
    ("forecasts shaken by 0.8", Fault(60, noise=0.8)),
)
_ALERTS = ("error", "bias", "coverage", "estimate")
_ROLLBACKS = ("error", "bias")
_SEED = 110_000_000
_NEVER = 999


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The table and the claims: alarms a year over all streams, and the days until a fault is found."""
    runs = 40 if quick else 1000
    rows: list[dict[str, Any]] = []
    claims = []
    for world in MEASURED_ON:
        alerts, rollbacks = _false(world, runs)
        rows.append(rate_row("healthy years with an alert", world.name, alerts, runs))
        rows.append(rate_row("healthy years in which a rollback is weighed", world.name, rollbacks, runs))
        claims.append(at_most(f"live_{_slug(world)}", f"false alerts a year: {world.name}", alerts, runs, BUDGET))
    typical: list[int] = []
    for name, fault in _FAULTS:
        for world in (MEASURED_ON[0], MEASURED_ON[2]):
            delays = _delays(world, fault, max(20, runs // 4))
            found = sum(each < _NEVER for each in delays)
            row = rate_row("faults found within 300 days", f"{name}, {world.name}", found, len(delays))
            rows.append(row | {"median_days": median(delays)})
            typical = typical or delays
    # the order statistics between which the median lies with a probability of at least 95 %
    low, high = (int(binom.ppf(each, len(typical), 0.5)) for each in (0.025, 0.975))
    interval = (float(typical[low]), float(typical[high]))
    what = f"median days to find {_FAULTS[0][0]}, {MEASURED_ON[0].name}"
    claims.append(claim_of("live_delay", what, "days", 28, median(typical), interval, is_most=True))
    return rows, claims


def _false(world: World, runs: int) -> tuple[int, int]:
    alerts = rollbacks = 0
    for run in range(runs):
        streams = judged(world, _SEED + run, BUDGET)[0]
        alerts += first_alarm(streams, _ALERTS) is not None
        rollbacks += first_alarm(streams, _ROLLBACKS) is not None
    return alerts, rollbacks


def _delays(world: World, fault: Fault, runs: int) -> list[int]:
    """Days from the fault to the first alert, ascending; ``_NEVER`` for none. Years with one before it are left out."""
    delays = []
    for run in range(runs):
        streams, first = judged(world, _SEED + 500_000 + run, BUDGET, fault)
        at = first_alarm(streams, _ALERTS)
        if at is None or at >= first + fault.day:
            delays.append(_NEVER if at is None else at - first - fault.day)
    return sorted(delays)


def _slug(world: World) -> str:
    return "".join(each if each.isalnum() else "_" for each in world.name.lower())
