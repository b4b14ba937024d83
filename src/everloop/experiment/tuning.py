"""The search for better options: trials window by window, within a bound of time and number.

Every trial is an MLflow run below one of the whole search. A trial is judged on past windows in turn; after each it
may be given up, where it does worse than half of the others did, and the search may end, where another window would
not be done in time. A trial that is cut off so is taken up first by the next search, from the window it stood at.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from everloop.core.errors import ModelError
from everloop.experiment.study import Ended, Live, Study

if TYPE_CHECKING:
    # MLflow takes three seconds to import; whoever opens a tracker pays them
    from everloop.experiment.mlflow_tracker import Tracker

__all__ = ["Budget", "Searched", "TrialRuns", "search"]

Judge = Callable[[Mapping[str, Any], int], float]
"""The metric of some options on a window, by its number."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a search may take.

    Attributes:
        trials: how many trials the study may have in all.
        ends_at: when it must be done, by the clock given to :func:`search`, in seconds.
        kept_windows: so many windows must still fit in after the search, for the check of what it found.
    """

    trials: int
    ends_at: float
    kept_windows: int = 0


@dataclass(frozen=True, slots=True)
class Searched:
    """How a search ended.

    Attributes:
        trials: all trials of the study that came to an end.
        new: how many of them in this search.
        why: ``"trials"`` where there are as many as were wanted, ``"time"`` where it was over.
    """

    trials: tuple[Ended, ...]
    new: int
    why: str


class TrialRuns:
    """The MLflow runs of a search: one for the whole, and one below it for each trial."""

    def __init__(
        self, tracker: Tracker, parent: str, start: Callable[[str, Mapping[str, Any], Mapping[str, str]], str]
    ):
        """Runs of a tracker.

        Args:
            tracker: where they are recorded.
            parent: the run of the whole.
            start: opens a run, given its name, parameters and tags.
        """
        self._tracker = tracker
        self._parent = parent
        self._start = start

    def begin(self, trial: Live) -> str:
        """Open a trial's run."""
        tags = {"mlflow.parentRunId": self._parent, "everloop.trial": str(trial.number)}
        return self._start(f"trial {trial.number}", trial.options, tags)

    def end(self, run_id: str, trial: Live, metric: str, state: str) -> None:
        """Close it with its windows' scores."""
        from everloop.experiment.mlflow_tracker import Measurement

        scores = [Measurement(f"window/{metric}", value, number) for number, value in enumerate(trial.values)]
        if state == "complete":
            scores.append(Measurement(metric, sum(trial.values) / len(trial.values)))
        self._tracker.log(run_id, scores)
        self._tracker.set_tags(run_id, {"everloop.trial_state": state})
        self._tracker.finish(run_id, status={"failed": "FAILED", "cut off": "KILLED"}.get(state, "FINISHED"))


def search(
    study: Study,
    judge: Judge,
    budget: Budget,
    *,
    runs: TrialRuns,
    metric: str,
    progress: Callable[[int, str], None] = lambda done, word: None,
    clock: Callable[[], float] = time.monotonic,
) -> Searched:
    """Try options until the budget is spent.

    Args:
        study: the study, held by this process.
        judge: tells the metric of some options on a window; lower is better.
        budget: what the search may take.
        runs: where trials are recorded.
        metric: the metric's name.
        progress: told the trials that ended, and a word on the present one.
        clock: seconds that never go back.

    Raises:
        ModelError: the candidate fails with its present options.
    """
    before = len(study.ended())
    why = "trials"
    while len(study.ended()) < budget.trials:
        if not _fits(study, budget, clock(), ()):
            why = "time"
            break
        progress(len(study.ended()), "trying")
        if not _try(study, judge, budget, runs, metric, clock):
            why = "time"
            break
    trials = tuple(study.ended())
    progress(len(trials), "")
    return Searched(trials, len(trials) - before, why)


def _try(study: Study, judge: Judge, budget: Budget, runs: TrialRuns, metric: str, clock: Callable[[], float]) -> bool:
    """One trial; false where the time was over before its end."""
    trial = study.begin()
    run_id = runs.begin(trial)
    taken: list[float] = []
    is_present = trial.options == dict(study.plan.present)
    for window in range(study.plan.windows):
        value, seconds = study.known(trial.options, window), None
        if value is None:
            if not _fits(study, budget, clock(), taken):
                runs.end(run_id, trial, metric, "cut off")
                return False
            started = clock()
            try:
                value = judge(trial.options, window)
            except ModelError as error:
                trial.fail(f"{error.code}: {error.message}")
                runs.end(run_id, trial, metric, "failed")
                if is_present:
                    raise  # nothing to compare with
                return True
            seconds = clock() - started
            taken.append(seconds)
        relative = 1.0 if is_present else _relative(study, [*trial.values, value])
        is_hopeless = trial.saw(window, value, relative=relative, seconds=seconds)
        # the present options are what all is compared with: they are never given up
        if is_hopeless and window + 1 < study.plan.windows and not is_present:
            trial.prune()
            runs.end(run_id, trial, metric, "pruned")
            return True
    trial.complete()
    runs.end(run_id, trial, metric, "complete")
    return True


def _fits(study: Study, budget: Budget, now: float, taken: list[float] | tuple[()]) -> bool:
    """Whether one more window, and the check after the search, will probably be done in time."""
    usual = [*study.window_seconds(), *taken]
    typical = statistics.median(usual) if usual else 0.0
    # a trial's later windows are longer, so the longest of its own tells most
    ahead = max(taken, default=typical) + budget.kept_windows * typical
    return now + ahead < budget.ends_at


def _relative(study: Study, values: list[float]) -> float:
    """The mean so far over that of the present options on the same windows."""
    present = [study.known(study.plan.present, window) for window in range(len(values))]
    known = [each for each in present if each is not None]
    mean = sum(values) / len(values)
    if len(known) < len(values) or not sum(known) > 0:
        return mean
    return mean / (sum(known) / len(known))
