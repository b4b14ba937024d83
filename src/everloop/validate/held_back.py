"""The check of a tuning's winner on windows that the search has not seen.

Of many trials the best looks better than it is. So the windows of the project's own backtest, the newest, are held
back: the search goes over windows before them, and then the options found are compared with the present ones on the
windows held back, pairwise, case by case. Options are kept where they do better there, and surely not worse by more
than ``tune.margin``: options that are worse by more are kept in at most ``tune.alpha`` of cases. Each further winner
of one study that is checked on these windows gets a smaller share of ``tune.alpha``, so the bound holds over all.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from everloop.core.digest import digest_json
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.experiment.study import Study
from everloop.experiment.tracking import DatasetVersion
from everloop.experiment.training import make_candidate
from everloop.validate.backtest import BacktestPlan
from everloop.validate.examination import Reference, backtest_candidate
from everloop.validate.gates.pairing import Clusters, saving
from everloop.validate.windows import Recipe, compute_ahead

__all__ = ["HeldBack", "check_winner"]

_CHECKS = "checks"


@dataclass(frozen=True, slots=True)
class HeldBack:
    """The options found beside the present ones, on the windows held back.

    Attributes:
        options: those found.
        present: the metric of the present options over all these windows.
        found: likewise of those found.
        by_window: both, for each window, oldest first.
        effect: by which share the loss is smaller; ``None`` where there are no losses by case.
        lower: below this with probability at most ``alpha``; ``None`` where too little is known.
        upper: likewise above.
        unit: what was taken for independent.
        alpha: the share of ``tune.alpha`` that this check has.
        margin: ``tune.margin``.
        kept: whether the options found are kept.
        reason: why, in a sentence.
    """

    options: dict[str, Any]
    present: float | None
    found: float | None
    by_window: tuple[tuple[float | None, float | None], ...]
    effect: float | None
    lower: float | None
    upper: float | None
    unit: str
    alpha: float
    margin: float
    kept: bool
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "by_window": [list(each) for each in self.by_window]}


def check_winner(
    project: Project,
    panel: Panel,
    study: Study,
    *,
    dataset: DatasetVersion | None = None,
    seconds: float = math.inf,
    progress: Callable[[int, str], None] = lambda done, word: None,
) -> HeldBack | None:
    """The best trial beside the present options on the windows held back.

    The answer is noted with the study: the same winner is not checked twice.

    Args:
        project: the project.
        panel: the data.
        study: the study, held by this process.
        dataset: the version that the whole panel was loaded from; given, windows are computed by the settings'
            engine, else in this process.
        seconds: how much time is left; where half of what it will probably take is not, nothing is begun.
        progress: told a word on the present step.

    Returns:
        ``None`` where the present options are the best, or there is too little time.

    Raises:
        ModelError: either fails there.
    """
    best = study.best()
    if best is None or best.options == dict(study.plan.present):
        return None
    checks: dict[str, Any] = study.note(_CHECKS) or {}
    # the windows do not change within a study, only, where the user says so, how they are gone through
    key = digest_json([best.options, BacktestPlan.of(project.settings).to_dict(), project.settings.tune.margin])
    if key in checks:
        known = checks[key]
        return HeldBack(**{**known, "by_window": tuple(tuple(each) for each in known["by_window"])})
    usual, windows = study.window_seconds(), 2 * project.settings.validation.windows
    if usual and 0.5 * windows * statistics.median(usual) > seconds:
        return None
    candidate = study.plan.candidate
    fixed = make_candidate(project, candidate).parameters()
    drawn = {**fixed, **best.options}
    progress(0, "present options on the windows held back")
    if dataset is not None and project.settings.engine.is_shared:
        compute_ahead(project, panel, dataset, [Recipe(candidate, fixed), Recipe(candidate, drawn)])
    present = backtest_candidate(project, panel, candidate, options=fixed, dataset=dataset)
    progress(0, "options found on the windows held back")
    found = backtest_candidate(project, panel, candidate, options=drawn, dataset=dataset)
    # the k-th check has 1/(k (k + 1)) of the whole, which sums to one
    turn = len(checks) + 1
    alpha = project.settings.tune.alpha / (turn * (turn + 1))
    checked = _held_back(project, panel, present, found, best.options, alpha)
    study.set_note(_CHECKS, {**checks, key: checked.to_dict()})
    return checked


def _held_back(
    project: Project, panel: Panel, present: Reference, found: Reference, options: dict[str, Any], alpha: float
) -> HeldBack:
    metric, margin = project.settings.validation.metric, project.settings.tune.margin
    clusters = Clusters.of(panel, project.settings.release.cluster)
    estimate = saving(found.backtest, present.backtest, clusters, metric=metric, alpha=alpha)

    def value(reference: Reference, window: int | None = None) -> float | None:
        scores = reference.scores.overall if window is None else reference.scores.by_fold[window]
        return scores[metric].value if metric in scores else None

    windows = range(len(present.backtest.folds))
    by_window = tuple((value(present, window), value(found, window)) for window in windows)
    verdict = HeldBack(
        options,
        value(present),
        value(found),
        by_window,
        None if estimate is None else estimate.value,
        None if estimate is None else estimate.lower,
        None if estimate is None else estimate.upper,
        "" if estimate is None else estimate.unit,
        alpha,
        margin,
        kept=False,
        reason="",
    )
    kept, reason = _verdict(verdict)
    return replace(verdict, kept=kept, reason=reason)


def _verdict(seen: HeldBack) -> tuple[bool, str]:
    """Whether the options found are kept, and why."""
    if seen.found is None or seen.present is None:
        return False, "the metric cannot be told on the windows held back"
    if seen.found > seen.present or (seen.effect is not None and seen.effect <= 0):
        return False, "they do no better than the present ones on the windows held back"
    if seen.lower is None:
        worse = [
            which + 1 for which, (old, new) in enumerate(seen.by_window) if old is None or new is None or new > old
        ]
        if worse:
            return False, f"too little is known for an interval, and they are worse in window {worse[0]} held back"
        return True, "better in each of the windows held back; too little is known for an interval"
    if seen.lower <= -seen.margin:
        return False, (
            f"better on the windows held back, but by so little evidence that they may be {-seen.lower:.1%} worse"
        )
    if seen.lower > 0:
        return True, "surely better on the windows held back"
    return True, f"better on the windows held back, and surely not worse by more than {seen.margin:.1%}"
