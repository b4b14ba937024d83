"""The examination of a candidate: an MLflow run that holds its backtest, its metrics and its gates' verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from everloop.core.digest import digest_json
from everloop.core.project import Project
from everloop.data.panel import Panel, join_key
from everloop.experiment.lineage import Lineage
from everloop.experiment.tracking import DatasetVersion
from everloop.experiment.training import fit_context, make_candidate
from everloop.validate.backtest import Backtest, BacktestPlan, Progress, run_backtest
from everloop.validate.gates.behaviour import keeps_laws, no_leaking_columns
from everloop.validate.gates.judging import Cases, judge
from everloop.validate.gates.pairing import Clusters
from everloop.validate.gates.result import GateResult, blocking, waived
from everloop.validate.ranking import TOTALS
from everloop.validate.recording import record_examination
from everloop.validate.scores import Evaluation, Scores, evaluate, score_as_set
from everloop.validate.windows import Recipe, backtest_in_pieces

if TYPE_CHECKING:
    # MLflow takes three seconds to import; whoever only reads the records need not pay them
    from everloop.experiment.mlflow_tracker import Tracker

__all__ = [
    "BASELINE",
    "Examination",
    "Reference",
    "Shared",
    "backtest_candidate",
    "examine",
    "forecast_table",
    "plan_digest",
]

BASELINE = "seasonal_naive"


@dataclass(frozen=True, slots=True)
class Reference:
    """A backtest that candidates are compared with: the baseline's or the champion's, made once for all of them."""

    name: str
    options: dict[str, Any]
    backtest: Backtest
    scores: Scores


@dataclass(frozen=True, slots=True)
class Shared:
    """What all candidates of one training are examined on, and against whom.

    Attributes:
        project: the project.
        panel: the data.
        dataset: their version.
        tracker: where the runs are recorded.
        lineage: the running code and environment.
        baseline: the seasonal naive's backtest of the panel, by :func:`backtest_candidate`.
        champion: the champion's, ``None`` where nobody is in charge.
    """

    project: Project
    panel: Panel
    dataset: DatasetVersion
    tracker: Tracker
    lineage: Lineage
    baseline: Reference
    champion: Reference | None = None


@dataclass(frozen=True, slots=True)
class Examination:
    """What is known of a candidate before it is fitted to all data.

    Attributes:
        run_id: the MLflow run.
        candidate: its name in the settings.
        options: its constructor's parameters.
        plan: which windows the backtest had.
        backtest: the forecasts beside what happened.
        evaluation: its scores, the baseline's, and the skill.
        gates: the verdicts.
        metric: the metric that ranks.
        n_series: how many series the panel has.
        marks: how many periods are marked as no true picture of demand, by kind, and what became of them; empty
            where ``data.cleaning`` treats none of them otherwise.
    """

    run_id: str
    candidate: str
    options: dict[str, Any]
    plan: BacktestPlan
    backtest: Backtest
    evaluation: Evaluation
    gates: tuple[GateResult, ...]
    metric: str
    n_series: int
    marks: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether no gate stops a release."""
        return not blocking(self.gates)

    @property
    def value(self) -> float:
        """The ranking metric; infinite where it cannot be told, so that such a candidate is never the best."""
        return self._least(self.metric)

    @property
    def value_of_totals(self) -> float:
        """The WAPE of totals; infinite where it cannot be told."""
        return self._least(TOTALS)

    def _least(self, metric: str) -> float:
        measure = self.evaluation.scores.overall.get(metric)
        return float("inf") if measure is None or measure.value is None else measure.value

    def summary(self) -> dict[str, Any]:
        """The metrics that a release carries, as JSON values; it holds no timings, so it can be repeated."""
        return {
            "metric": self.metric,
            "plan": self.plan.to_dict(),
            "n": self.backtest.n_forecasts,
            "n_series": self.n_series,
            "candidate": {name: each.value for name, each in self.evaluation.scores.overall.items()},
            "baseline": {name: each.value for name, each in self.evaluation.baseline.overall.items()},
            "skill": self.evaluation.skill,
            # what live accuracy is held against, like with like
            "by_step": [
                {"step": step, "wape": measures["wape"].value}
                for step, measures in enumerate(self.evaluation.scores.by_step, start=1)
            ],
        } | ({"marks": self.marks} if self.marks else {})


def plan_digest(dataset: DatasetVersion, plan: BacktestPlan, marks: Mapping[str, Any] | None = None) -> str:
    """What two runs must share to be comparable: the data, the windows, and what is left out of them."""
    return digest_json([dataset.digest, plan.to_dict(), *([marks] if marks else [])])


def backtest_candidate(
    project: Project,
    panel: Panel,
    candidate: str,
    *,
    options: Mapping[str, Any] | None = None,
    dataset: DatasetVersion | None = None,
    progress: Progress | None = None,
) -> Reference:
    """Backtest a candidate by the project's plan, without a run.

    Args:
        project: the project.
        panel: the data.
        candidate: its name in the settings.
        options: constructor parameters instead of the settings' own.
        dataset: the version that the whole panel was loaded from; given, windows are computed by the settings'
            engine, else in this process.
        progress: told after each window.

    Raises:
        UsageError: there is no such candidate.
        ModelError: the history is too short, or the candidate fails.
    """
    unfitted = make_candidate(project, candidate, options=options)
    settings = project.settings
    if dataset is not None and settings.engine.is_shared:
        backtest = backtest_in_pieces(project, panel, dataset, Recipe(candidate, options), progress=progress)
    else:
        backtest = run_backtest(
            lambda: make_candidate(project, candidate, options=options),
            panel,
            BacktestPlan.of(settings),
            fit_context(project),
            name=candidate,
            progress=progress,
        )
    return Reference(candidate, unfitted.parameters(), backtest, score_as_set(backtest, panel, settings))


def examine(
    candidate: str, shared: Shared, *, own: Reference | None = None, progress: Progress | None = None
) -> Examination:
    """Backtest a candidate, judge it, and record all of it in a new MLflow run.

    Args:
        candidate: its name in the settings.
        shared: what all candidates are examined on, and against whom.
        own: the candidate's own backtest, where it was made already.
        progress: told after each window.

    Raises:
        UsageError: there is no such candidate.
        ModelError: the history is too short, or the candidate fails; the run is then marked FAILED.
        UnavailableError: MLflow is away.
    """
    project, tracker = shared.project, shared.tracker
    plan = BacktestPlan.of(project.settings)
    marks = {} if shared.panel.marks is None else shared.panel.marks.to_dict()
    run_id = tracker.start(
        candidate,
        dataset=shared.dataset,
        lineage=shared.lineage,
        params={"candidate": candidate},
        tags={"everloop.candidate": candidate, "everloop.comparable": plan_digest(shared.dataset, plan, marks)},
    )
    with tracker.failing(run_id):
        is_baseline = candidate == shared.baseline.name and not project.settings.train.options.get(candidate)
        made = own or (shared.baseline if is_baseline else None)
        mine = made or backtest_candidate(project, shared.panel, candidate, dataset=shared.dataset, progress=progress)
        examination = Examination(
            run_id=run_id,
            candidate=candidate,
            options=mine.options,
            plan=plan,
            backtest=mine.backtest,
            evaluation=evaluate(mine.scores, shared.baseline.scores),
            gates=_judged(candidate, mine, shared),
            metric=project.settings.validation.metric,
            n_series=shared.panel.n_series,
            marks=marks,
        )
        record_examination(tracker, project, shared.panel, examination)
        tracker.finish(run_id)
    return examination


def _judged(candidate: str, mine: Reference, shared: Shared) -> tuple[GateResult, ...]:
    """All gates' verdicts: on the backtest's cases, then on how the candidate behaves."""
    project, panel, champion = shared.project, shared.panel, shared.champion
    validation = project.settings.validation
    gates = judge(
        mine.scores,
        shared.baseline.scores,
        validation.gates,
        metric=validation.metric,
        levels=project.settings.forecast.levels,
        champion=None if champion is None else champion.scores,
        cases=Cases(
            panel,
            Clusters.of(panel, project.settings.release.cluster),
            mine.backtest,
            shared.baseline.backtest,
            None if champion is None else champion.backtest,
            validation.slices,
        ),
    )
    behaviour = (no_leaking_columns(panel), *keeps_laws(lambda: make_candidate(project, candidate), panel))
    return (*gates, *waived(behaviour, validation.gates.waive))


def forecast_table(examination: Examination, panel: Panel) -> dict[str, Any]:
    """Every forecast of the backtest as flat columns: fold, cutoff, series, time, step, actual, forecast, intervals."""
    folds = examination.backtest.folds
    horizon = examination.plan.horizon
    keys = np.array([join_key(key) for key in panel.keys], dtype=object)
    labels: list[Any] = []
    columns: dict[str, Any] = {
        "fold": np.concatenate([np.full(fold.mean.size, number, np.int32) for number, fold in enumerate(folds)]),
        "series": np.concatenate([np.repeat(keys[fold.positions], horizon) for fold in folds]),
    }
    for fold in folds:
        times = panel.frequency.times(fold.cutoff + 1 + np.arange(horizon))
        labels.append(np.tile(times, len(fold.positions)))
    columns["time"] = np.concatenate(labels)
    columns["step"] = np.concatenate([np.tile(np.arange(1, horizon + 1, dtype=np.int32), len(f.mean)) for f in folds])
    columns["actual"] = np.concatenate([fold.actual.ravel() for fold in folds]).astype(np.float32)
    columns["forecast"] = np.concatenate([fold.mean.ravel() for fold in folds]).astype(np.float32)
    for level in examination.backtest.levels:
        columns[f"lo-{level:g}"] = np.concatenate([fold.lower[level].ravel() for fold in folds]).astype(np.float32)
        columns[f"hi-{level:g}"] = np.concatenate([fold.upper[level].ravel() for fold in folds]).astype(np.float32)
    return columns
