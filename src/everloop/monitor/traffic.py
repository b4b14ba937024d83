"""Whether traffic really falls to the releases as the split says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from everloop.stats.ratio import RatioTest, ratio_test
from everloop.store.alerts import clear_alert, raise_alert
from everloop.store.engine import Store
from everloop.store.splits import ArmCount, TrafficSplit, count_arms, latest_split

__all__ = ["RATIO_ALERT", "ArmReport", "SplitReport", "check_split", "look_at_split"]

RATIO_ALERT = "sample_ratio"

_ALPHA = 0.01
"""The bound on an alarm over the whole life of a split whose shares are right."""


@dataclass(frozen=True, slots=True)
class ArmReport:
    """One release of a split.

    Attributes:
        release: its digest.
        weight: its share now.
        requests: its answers over all stages.
        units: the units that it answered first, and requests without a unit.
        expected: the share of these that it should have.
        observed: the share that it has; both are ``None`` without any.
    """

    release: str
    weight: float
    requests: int
    units: int
    expected: float | None
    observed: float | None


@dataclass(frozen=True, slots=True)
class SplitReport:
    """A split, what it drew, and whether that is in proportion.

    Attributes:
        split: the split in force, or the last one.
        arms: its releases in the order of their digests.
        loose: how many answers went to requests without a unit, which are drawn one by one.
        test: the sample ratio test over units, valid however often it is looked at.
    """

    split: TrafficSplit
    arms: tuple[ArmReport, ...]
    loose: int
    test: RatioTest

    @property
    def verdict(self) -> str:
        """The test's finding as a sentence."""
        if not self.test.n:
            return "nothing was answered by the split yet"
        if not self.test.is_mismatch:
            return f"{self.test.n} units are in proportion (p {self.test.p_value:.3g}, valid at every look)"
        shown = ", ".join(
            f"{arm.release[:12]} {arm.observed:.2%} instead of {arm.expected:.2%}"
            for arm in self.arms
            if arm.observed is not None and arm.expected is not None
        )
        return f"{self.test.n} units are not split as set: {shown} (p {self.test.p_value:.3g}, valid at every look)"

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values; the salt, which would tell who is drawn by whom, is left out."""
        split = self.split
        return {
            "experiment": split.experiment,
            "unit": split.unit,
            "since": split.stages[0].at,
            "ended_at": split.ended_at,
            "stages": [asdict(stage) for stage in split.stages],
            "arms": [asdict(arm) for arm in self.arms],
            "without_unit": self.loose,
            "units": self.test.n,
            "p_value": self.test.p_value,
            "alpha": self.test.alpha,
            "is_mismatch": self.test.is_mismatch,
            "verdict": self.verdict,
        }


def look_at_split(store: Store) -> SplitReport | None:
    """What the newest split has drawn, also when it has ended; ``None`` where traffic was never split."""
    with store.read() as tx:
        split = latest_split(tx)
        return None if split is None else _report(split, count_arms(tx, split))


def check_split(store: Store, *, at: datetime, actor: str) -> SplitReport | None:
    """Look at the split in force, with an alert from the look that finds a mismatch until the split ends.

    Args:
        store: the store.
        at: when.
        actor: who looks.
    """
    report = look_at_split(store)
    if report is None:
        return None
    if report.split.ended_at is not None:
        with store.write() as tx:
            clear_alert(tx, RATIO_ALERT, at=at, actor=actor)
        return None
    if report.test.is_mismatch:
        evidence = {name: value for name, value in report.to_dict().items() if name not in ("since", "stages")}
        hint = "do not judge by this split: look for answers that fail or are not stored in one release, then end it"
        with store.write() as tx:
            raise_alert(
                tx,
                RATIO_ALERT,
                report.verdict,
                at=at,
                actor=actor,
                hint=hint,
                subject=report.split.experiment,
                evidence=evidence,
            )
    return report


def _report(split: TrafficSplit, counts: list[ArmCount]) -> SplitReport:
    releases = sorted(split.weights)
    place = {release: number for number, release in enumerate(releases)}
    units = np.zeros((len(split.stages), len(releases)), dtype=np.int64)
    requests = np.zeros(len(releases), dtype=np.int64)
    for each in counts:
        units[each.stage, place[each.release]] += each.units + each.loose
        requests[place[each.release]] += each.requests
    weights = np.array([[stage.weights.get(release, 0.0) for release in releases] for stage in split.stages])
    test = ratio_test(units, weights, alpha=_ALPHA)
    arms = tuple(
        ArmReport(
            release,
            split.weights[release],
            int(requests[number]),
            int(units[:, number].sum()),
            float(test.expected[number]) if test.n else None,
            float(test.observed[number]) if test.n else None,
        )
        for number, release in enumerate(releases)
    )
    return SplitReport(split, arms, sum(each.loose for each in counts), test)
