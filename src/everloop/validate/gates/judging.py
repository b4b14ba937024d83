"""All gates on a backtest, in the order in which they are told.

=================  ==========================  ==============================================================
code               name                        passes when
=================  ==========================  ==============================================================
G_FINITE           finite                      every forecast of the backtest is a finite number
G_BASELINE         beats_baseline              1 - metric / seasonal naive's >= ``validate.gates.min_skill``
G_CHAMPION         not_worse_than_champion     metric <= champion's * (1 + ``champion_margin``), or chance
G_BIAS             bias                        |sum (f - a)| / sum |a| <= ``max_bias``, or chance
G_COVERAGE         coverage_LEVEL              the share inside is within ``coverage_tolerance``, or chance
G_SLICE            worst_slice                 no slice is worse by more than ``slice_margin`` beyond chance
=================  ==========================  ==============================================================

A failed gate of severity ``error`` stops a release unless it is waived with a reason; one of severity ``warning`` is
shown with it. What cannot be told does not pass. Chance is judged case by case on the same windows, clustered
(:mod:`everloop.validate.gates.pairing`): an equal candidate fails with probability at most
``validate.gates.alpha``. The bound on false promotions comes from the trial on live traffic, not from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from everloop.core.settings.training import GateSettings
from everloop.data.panel import Panel
from everloop.validate.backtest import Backtest
from everloop.validate.gates.accuracy import beats_baseline, finite, not_worse_than_champion
from everloop.validate.gates.calibration import bias, coverage
from everloop.validate.gates.pairing import Clusters, bias_of, coverage_of, saving
from everloop.validate.gates.result import GateResult, waived
from everloop.validate.gates.slices import SliceRule, worst_slice
from everloop.validate.scores import Scores

__all__ = ["Cases", "judge"]


@dataclass(frozen=True, slots=True)
class Cases:
    """The backtests behind the scores, for what must be judged case by case.

    Attributes:
        panel: the data.
        clusters: the groups of series that are taken for independent.
        mine: the candidate's backtest.
        baseline: the seasonal naive's.
        champion: the champion's recipe's, ``None`` where nobody is in charge.
        slices: columns whose values are looked at each for itself; empty for the usual ones.
    """

    panel: Panel
    clusters: Clusters
    mine: Backtest
    baseline: Backtest
    champion: Backtest | None = None
    slices: Sequence[str] = ()


def judge(
    scores: Scores,
    baseline: Scores,
    settings: GateSettings,
    *,
    metric: str,
    levels: Sequence[float],
    champion: Scores | None = None,
    cases: Cases | None = None,
) -> tuple[GateResult, ...]:
    """All gates' verdicts on a candidate.

    Args:
        scores: the candidate's.
        baseline: the seasonal naive's, of the same windows.
        settings: the limits.
        metric: the metric that is compared.
        levels: the interval levels that were asked, in percent.
        champion: the champion's scores of the same windows, ``None`` where nobody is in charge.
        cases: the backtests behind the scores; without them the values alone decide, and slices are not looked at.
    """
    if cases is None:
        found = (
            finite(scores),
            beats_baseline(scores, baseline, metric, settings.min_skill),
            not_worse_than_champion(scores, champion, metric, settings.champion_margin),
            bias(scores, settings.max_bias),
            *[coverage(scores, level, settings.coverage_tolerance) for level in levels],
        )
        return waived(found, settings.waive)
    clusters, alpha, mine = cases.clusters, settings.alpha, cases.mine
    over_baseline = saving(mine, cases.baseline, clusters, metric=metric, alpha=alpha)
    over_champion = None
    if cases.champion is not None:
        over_champion = saving(mine, cases.champion, clusters, metric=metric, alpha=alpha)
    found = (
        finite(scores),
        beats_baseline(scores, baseline, metric, settings.min_skill, saved=over_baseline),
        not_worse_than_champion(scores, champion, metric, settings.champion_margin, saved=over_champion),
        bias(scores, settings.max_bias, found=bias_of(mine, clusters, alpha=alpha / 2)),
        *[
            coverage(
                scores, level, settings.coverage_tolerance, found=coverage_of(mine, clusters, level, alpha=alpha / 2)
            )
            for level in levels
        ],
        worst_slice(
            mine,
            cases.champion or cases.baseline,
            cases.panel,
            SliceRule(metric, settings.slice_margin, alpha, cases.slices),
            rival="the champion" if cases.champion is not None else "the seasonal naive",
        ),
    )
    return waived(found, settings.waive)
