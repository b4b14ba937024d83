"""The windows that a tuning's trials are judged on: those before the windows held back for the check of the winner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from everloop.core.engine.pieces import Outcome, Piece
from everloop.core.engine.running import Engine
from everloop.core.errors import ModelError
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.data.stored_panel import StoredPanel
from everloop.experiment.identity import code_identity
from everloop.experiment.training import fit_context, make_candidate
from everloop.experiment.tuning import Wanted
from everloop.validate.backtest import BacktestPlan, cutoffs, run_backtest
from everloop.validate.scores import score_as_set

__all__ = ["EngineJudge", "WindowJudge", "judge_window", "trial_cutoffs"]


@dataclass(frozen=True, slots=True)
class _Window:
    """A window of a trial: its number, for people, and its cutoff."""

    number: int
    cutoff: int


class WindowJudge:
    """Tells the metric of some options on windows before those held back, one at a time, in this process.

    Raises, when it is made, a ``ModelError`` where the history is too short for both.
    """

    width = 1

    def __init__(self, project: Project, panel: Panel, candidate: str) -> None:
        self._project = project
        self._panel = panel
        self._candidate = candidate
        self._fixed = make_candidate(project, candidate).parameters()
        self._cutoffs = trial_cutoffs(project, panel)

    def metric(self, options: Mapping[str, Any], window: int) -> float:
        """The metric on a window, the oldest first.

        Raises:
            ModelError: the candidate fails, or the metric cannot be told.
        """
        place = _Window(window, self._cutoffs[window])
        return _metric_of(self._project, self._panel, self._candidate, {**self._fixed, **options}, place, threads=0)

    def judge(self, wanted: Sequence[Wanted]) -> list[float | ModelError]:
        """The metric of each, or why the candidate fails there."""
        found: list[float | ModelError] = []
        for options, window in wanted:
            try:
                found.append(self.metric(options, window))
            except ModelError as error:
                found.append(error)
        return found


class EngineJudge:
    """What :class:`WindowJudge` tells, by an engine: windows are judged side by side, and those judged are kept.

    Args:
        project: the project.
        panel: the data, as loaded with the settings' history and horizon.
        version: the version that they were loaded from.
        candidate: whose options.
        engine: where windows are computed.

    Raises:
        ModelError: the history is too short.
    """

    def __init__(self, project: Project, panel: Panel, version: int, candidate: str, engine: Engine) -> None:
        self._project = project
        self._candidate = candidate
        self._engine = engine
        self._fixed = make_candidate(project, candidate).parameters()
        self._cutoffs = trial_cutoffs(project, panel)
        self._stored = StoredPanel.of(project, panel, version)

    @property
    def width(self) -> int:
        """How many windows are judged at once.

        Raises:
            UnavailableError: Ray is missing or away.
        """
        return self._engine.width

    def judge(self, wanted: Sequence[Wanted]) -> list[float | ModelError]:
        """The metric of each, or why the candidate fails there.

        Raises:
            EverloopError: a window fails for a reason that is not the candidate's.
        """
        return [_value(each) for each in self._engine.run([self._piece(*each) for each in wanted])]

    def _piece(self, options: Mapping[str, Any], window: int) -> Piece:
        project, settings = self._project, self._project.settings
        place = _Window(window, self._cutoffs[window])
        whole = {**self._fixed, **options}
        context = fit_context(project)
        # all that the scores of a window rest on
        tables = (settings.data, settings.forecast, settings.validation, settings.costs)
        identity = [
            self._stored.digest,
            place.cutoff,
            [self._candidate, make_candidate(project, self._candidate, options=whole).parameters(), context.seed],
            [each.model_dump() for each in tables],
            code_identity(project.root),
        ]
        return Piece(judge_window, (self._stored, self._candidate, whole, place), identity)


def trial_cutoffs(project: Project, panel: Panel) -> tuple[int, ...]:
    """The cutoffs of the windows that trials are judged on, oldest first.

    Raises:
        ModelError: the history is too short for these windows and those held back.
    """
    held, windows = BacktestPlan.of(project.settings), project.settings.tune.windows
    try:
        past = panel.until(cutoffs(panel, held)[0], horizon=held.horizon)
        return cutoffs(past, replace(held, windows=windows))
    except ModelError as error:
        raise ModelError(
            error.code,
            f"tuning needs {windows} windows before the {held.windows} held back: {error.message}",
            hint="lower tune.windows, validate.windows, validate.step or forecast.horizon, or bring older data",
            path="tune.windows",
        ) from error


def judge_window(
    stored: StoredPanel, candidate: str, options: Mapping[str, Any], window: _Window, *, threads: int
) -> float:
    """The metric on a window; a worker calls it.

    Raises:
        IntegrityError: the table gives another panel.
        ModelError: the candidate fails, or the metric cannot be told.
    """
    return _metric_of(stored.project, stored.load(), candidate, options, window, threads=threads)


def _metric_of(
    project: Project, panel: Panel, candidate: str, options: Mapping[str, Any], window: _Window, *, threads: int
) -> float:
    settings, context = project.settings, fit_context(project)
    if threads:
        context = replace(context, threads=min(threads, settings.train.threads or threads))
    plan = replace(BacktestPlan.of(settings), windows=1)
    past = panel.until(window.cutoff + plan.horizon, horizon=plan.horizon)
    backtest = run_backtest(
        lambda: make_candidate(project, candidate, options=options), past, plan, context, name=candidate
    )
    scores = score_as_set(backtest, past, settings, has_slices=False)
    metric = settings.validation.metric
    measure = scores.overall.get(metric)
    if measure is None or measure.value is None:
        reason = "no such metric" if measure is None else measure.reason
        raise ModelError(
            "tune_metric",
            f"{metric} of window {window.number + 1} cannot be told: {reason}",
            hint="tune by a metric that one window tells: --set validate.metric=pinball",
        )
    return measure.value


def _value(outcome: Outcome) -> float | ModelError:
    try:
        value: float = outcome.take()
    except ModelError as error:
        return error
    return value
