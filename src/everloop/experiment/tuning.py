"""The search for better options: trials window by window, within a bound of time and number.

Every trial is an MLflow run below one of the whole search. A trial is judged on past windows in turn; after each it
may be given up, where it does worse than half of the others did, and the search may end, where another window would
not be done in time. A trial that is cut off so is taken up first by the next search, from the window it stood at.

Trials may be begun several at a time, and a judge that can judge several windows at once is asked for the next ones of
all of them. What a trial draws and when it is given up follows from the trials begun together, never from how many
windows the judge takes at once.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from everloop.core.errors import ModelError
from everloop.experiment.study import Ended, Live, Study

if TYPE_CHECKING:
    # MLflow takes three seconds to import; whoever opens a tracker pays them
    from everloop.experiment.mlflow_tracker import Tracker

__all__ = ["Budget", "Judge", "Searched", "TrialRuns", "Wanted", "search"]

Wanted = tuple[Mapping[str, Any], int]
"""Some options, and the number of a window."""


class Judge(Protocol):
    """Tells metrics of options on windows; lower is better."""

    @property
    def width(self) -> int:
        """How many it judges at once."""

    def judge(self, wanted: Sequence[Wanted]) -> Sequence[float | ModelError]:
        """The metric of each, or why the candidate fails there."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a search may take.

    Attributes:
        trials: how many trials the study may have in all.
        ends_at: when it must be done, by the clock given to :func:`search`, in seconds.
        kept_windows: so many windows must still fit in after the search, for the check of what it found.
        at_once: how many trials are begun together; the first, of the present options, is begun alone.
    """

    trials: int
    ends_at: float
    kept_windows: int = 0
    at_once: int = 1


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
        if not _fits(study, budget, clock(), (), 1):
            why = "time"
            break
        progress(len(study.ended()), "trying")
        if not _Round(study, judge, budget, runs, metric, clock).go():
            why = "time"
            break
    trials = tuple(study.ended())
    progress(len(trials), "")
    return Searched(trials, len(trials) - before, why)


@dataclass
class _Begun:
    """A trial under way, and what is known of its windows to come: the metric or why it fails, and the seconds."""

    trial: Live
    run_id: str
    ahead: dict[int, tuple[float | ModelError, float | None]] = field(default_factory=dict)


class _Round:
    """Trials begun together, gone through window by window."""

    def __init__(
        self,
        study: Study,
        judge: Judge,
        budget: Budget,
        runs: TrialRuns,
        metric: str,
        clock: Callable[[], float],
    ) -> None:
        self._study = study
        self._judge = judge
        self._budget = budget
        self._runs = runs
        self._metric = metric
        self._clock = clock
        done = len(study.ended())
        # the present options are what all are compared with, so the first trial comes alone; rounds of a search that
        # was broken off are filled up
        size = 1 if done == 0 else budget.at_once - (done - 1) % budget.at_once
        trials = [study.begin(place) for place in range(min(size, budget.trials - done))]
        self._live = [_Begun(each, runs.begin(each)) for each in trials]
        self._taken: list[float] = []

    def go(self) -> bool:
        """Bring the trials to their ends; false where the time was over before.

        Raises:
            ModelError: the candidate fails with its present options.
        """
        while self._live:
            if not self._look():
                for each in self._live:
                    self._end(each, "cut off")
                return False
            self._live = [each for each in self._live if not self._step(each)]
        return True

    def _look(self) -> bool:
        """Have the next window of each trial judged, and more where the judge takes more at once; false: no time."""
        reach = max(1, self._judge.width // len(self._live))
        wanted: list[tuple[_Begun, int]] = []
        for each in self._live:
            start = len(each.trial.values)
            for window in range(start, min(start + reach, self._study.plan.windows)):
                if window in each.ahead:
                    continue
                if (known := self._study.known(each.trial.options, window)) is not None:
                    each.ahead[window] = known, None
                else:
                    wanted.append((each, window))
        if all(len(each.trial.values) in each.ahead for each in self._live):
            return True
        started = self._clock()
        if not _fits(self._study, self._budget, started, self._taken, len(wanted)):
            return False
        found = self._judge.judge([(each.trial.options, window) for each, window in wanted])
        # of windows judged side by side each took its share
        seconds = (self._clock() - started) / len(wanted)
        self._taken.append(seconds)
        for (each, window), value in zip(wanted, found, strict=True):
            each.ahead[window] = value, seconds
        return True

    def _step(self, each: _Begun) -> bool:
        """Take a trial one window further; whether it came to its end."""
        study, trial = self._study, each.trial
        window = len(trial.values)
        value, seconds = each.ahead.pop(window)
        is_present = trial.options == dict(study.plan.present)
        if isinstance(value, ModelError):
            trial.fail(f"{value.code}: {value.message}")
            self._end(each, "failed")
            if is_present:
                raise value  # nothing to compare with
            return True
        relative = 1.0 if is_present else _relative(study, [*trial.values, value])
        is_hopeless = trial.saw(window, value, relative=relative, seconds=seconds)
        if window + 1 == study.plan.windows:
            trial.complete()
            self._end(each, "complete")
            return True
        # the present options are what all is compared with: they are never given up
        if is_hopeless and not is_present:
            trial.prune()
            self._end(each, "pruned")
            return True
        return False

    def _end(self, each: _Begun, state: str) -> None:
        self._runs.end(each.run_id, each.trial, self._metric, state)


def _fits(study: Study, budget: Budget, now: float, taken: Sequence[float], windows: int) -> bool:
    """Whether so many windows, and the check after the search, will probably be done in time."""
    usual = [*study.window_seconds(), *taken]
    typical = statistics.median(usual) if usual else 0.0
    # a trial's later windows are longer, so the longest of its own tells most
    ahead = windows * max(taken, default=typical) + budget.kept_windows * typical
    return now + ahead < budget.ends_at


def _relative(study: Study, values: list[float]) -> float:
    """The mean so far over that of the present options on the same windows."""
    present = [study.known(study.plan.present, window) for window in range(len(values))]
    known = [each for each in present if each is not None]
    mean = sum(values) / len(values)
    if len(known) < len(values) or not sum(known) > 0:
        return mean
    return mean / (sum(known) / len(known))
