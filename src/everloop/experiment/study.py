"""A study: the trials of one candidate's options, kept by Optuna so that a search goes on after it was killed.

It lies in an SQLite file of its own below ``.everloop``, or, where the project's store is PostgreSQL, there, in a
schema of its own. What a trial drew follows from the seed and the trials that ended before it, not from when the
search was broken off, so a search in three calls draws what one call would have drawn. One process searches at a
time, which the file or the database sees to; whatever it finds running has therefore died, and is tried again.

Optuna: Akiba et al. (2019). Its sampler is the tree-structured Parzen estimator: Bergstra et al. (2011).
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from everloop.core.digest import canonical_json
from everloop.core.project import Project
from everloop.core.seeds import derive_seed
from everloop.experiment.study_storage import alone, opened_study
from everloop.models.search import Choice, Range, Whole

if TYPE_CHECKING:
    import optuna

__all__ = ["Ended", "Live", "Study", "StudyPlan", "held_study"]

_STARTING_TRIALS = 8
_WINDOW = "window_"
_SECONDS = "seconds_"
_ERROR = "error"

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """What a study is of; another plan is another study.

    Attributes:
        candidate: its name in the settings.
        space: what is drawn, by option.
        present: the present values of the same options, the first trial.
        windows: how many windows judge a trial.
        content: a digest of all else that a trial's values depend on: data, windows, metric, further options.
        seed: what the draws follow from.
        pruner: which trials are given up early.
    """

    candidate: str
    space: Mapping[str, Range]
    present: Mapping[str, Any]
    windows: int
    content: str
    seed: int
    pruner: Literal["median", "hyperband", "none"] = "median"

    @property
    def name(self) -> str:
        """The study's name: the candidate's, and a digest of what it is of."""
        space = {option: each.to_dict() for option, each in self.space.items()}
        of = [self.content, space, dict(self.present), self.windows, self.seed, self.pruner]
        return f"{self.candidate}-{hashlib.sha256(canonical_json(of).encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Ended:
    """A trial that came to an end.

    Attributes:
        number: the trial's number in the study.
        options: what it drew.
        state: ``"complete"``, ``"pruned"`` (given up early) or ``"failed"`` (the candidate raised).
        values: the metric of each window that it saw.
        value: their mean, ``None`` unless it saw all.
        seconds: what its windows took.
        error: why it failed.
    """

    number: int
    options: dict[str, Any]
    state: State
    values: tuple[float, ...]
    value: float | None
    seconds: float
    error: str = ""


class Study:
    """The trials so far, and the next one."""

    def __init__(self, plan: StudyPlan, study: optuna.Study) -> None:
        self.plan = plan
        self._study = study
        self._read: list[optuna.trial.FrozenTrial] | None = None
        self._distributions = {option: _distribution(each) for option, each in plan.space.items()}

    def ended(self) -> list[Ended]:
        """The trials that came to an end, in the order of their numbers."""
        return [each for each in map(_ended, self._trials()) if each is not None]

    def best(self) -> Ended | None:
        """The complete trial with the least mean, the first of equals."""
        found = [each for each in self.ended() if each.state == "complete"]
        return min(found, key=lambda each: (each.value, each.number), default=None)

    def begin(self, beside: int = 0) -> Live:
        """The next trial: one that died, one that was asked for, or one that is drawn.

        Args:
            beside: how many trials are under way, begun together with this one; it draws away from them.
        """
        import optuna

        seed = derive_seed(self.plan.seed, "trial", str(len(self.ended()) + beside))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.sampler = optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=_STARTING_TRIALS, constant_liar=beside > 0
            )
        return Live(self._study.ask(self._distributions), self._study, self._forget)

    def known(self, options: Mapping[str, Any], window: int) -> float | None:
        """The metric of a window where some earlier trial with the very same options saw it."""
        wanted, name = dict(options), f"{_WINDOW}{window}"
        for trial in self._trials():
            if name in trial.user_attrs and _options(trial) == wanted:
                return float(trial.user_attrs[name])
        return None

    def window_seconds(self) -> list[float]:
        """What the windows of all earlier trials took."""
        attributes = (trial.user_attrs for trial in self._trials())
        return [float(value) for each in attributes for name, value in each.items() if name.startswith(_SECONDS)]

    def note(self, name: str) -> Any:
        """What was noted under a name, ``None`` where nothing was."""
        return self._study.user_attrs.get(name)

    def set_note(self, name: str, value: Any) -> None:
        """Keep a JSON value with the study."""
        self._study.set_user_attr(name, value)

    def recover(self) -> int:
        """End the trials that a killed process left running, and ask for them anew; returns how many."""
        import optuna

        states = optuna.trial.TrialState
        left = [trial for trial in self._trials() if trial.state == states.RUNNING]
        for trial in left:
            # asked for anew before it is ended: killed in between, it is only asked for twice
            self._ask_for(_options(trial))
            self._study.tell(trial.number, state=states.FAIL)
        self._forget()
        return len(left)

    def ask_for_present(self) -> None:
        """Ask for the present options, unless the study has them."""
        self._ask_for(dict(self.plan.present))

    def _ask_for(self, options: dict[str, Any]) -> None:
        import optuna

        states = optuna.trial.TrialState
        if set(options) != set(self.plan.space):
            return  # it died before it had drawn all
        alive = (states.WAITING, states.COMPLETE, states.PRUNED)
        for trial in self._trials():
            is_there = trial.state in alive or (trial.state == states.FAIL and _ERROR in trial.user_attrs)
            if is_there and _options(trial) == options:
                return
        self._study.enqueue_trial(options)
        self._forget()

    def _trials(self) -> list[optuna.trial.FrozenTrial]:
        """All trials, read anew after one ended: nobody else changes them, and reading many takes time."""
        if self._read is None:
            self._read = self._study.get_trials(deepcopy=False)
        return self._read

    def _forget(self) -> None:
        self._read = None


class Live:
    """A trial under way; each window is on the disk before the next begins."""

    def __init__(self, trial: optuna.trial.Trial, study: optuna.Study, on_end: Callable[[], None]) -> None:
        self._trial = trial
        self._study = study
        self._on_end = on_end
        self.number = trial.number
        self.options = dict(trial.params)
        self.values: list[float] = []

    def saw(self, window: int, value: float, *, relative: float, seconds: float | None) -> bool:
        """Keep what a window showed; tells whether the trial should be given up.

        Args:
            window: its number from 0, in order.
            value: the metric.
            relative: the mean so far over that of the present options on the same windows.
            seconds: what it took; ``None`` where it was known already.
        """
        self.values.append(value)
        self._trial.set_user_attr(f"{_WINDOW}{window}", value)
        if seconds is not None:
            self._trial.set_user_attr(f"{_SECONDS}{window}", seconds)
        self._trial.report(relative, window)
        return bool(self._trial.should_prune())

    def complete(self) -> None:
        """End it with the mean of its windows."""
        self._study.tell(self._trial, sum(self.values) / len(self.values))
        self._on_end()

    def prune(self) -> None:
        """Give it up."""
        import optuna

        self._study.tell(self._trial, state=optuna.trial.TrialState.PRUNED)
        self._on_end()

    def fail(self, reason: str) -> None:
        """End it without a value, since the candidate raised."""
        import optuna

        self._trial.set_user_attr(_ERROR, reason)
        self._study.tell(self._trial, state=optuna.trial.TrialState.FAIL)
        self._on_end()


@contextmanager
def held_study(project: Project, plan: StudyPlan) -> Iterator[Study]:
    """The study of a plan, for this process alone: made where it is missing, gone on with where it is there.

    Raises:
        ConflictError: another process searches in this project.
        UnavailableError: the database does not answer, or is of another version of Optuna.
    """
    with alone(project), opened_study(project, plan.name, _pruner(plan)) as found:
        study = Study(plan, found)
        study.recover()
        study.ask_for_present()
        yield study


def _pruner(plan: StudyPlan) -> optuna.pruners.BasePruner:
    from optuna import pruners

    if plan.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=0)
    if plan.pruner == "hyperband":
        return pruners.HyperbandPruner(min_resource=1, max_resource=plan.windows, reduction_factor=2)
    return pruners.NopPruner()


def _distribution(each: Range) -> optuna.distributions.BaseDistribution:
    import optuna

    if isinstance(each, Choice):
        return optuna.distributions.CategoricalDistribution(each.values)
    if isinstance(each, Whole):
        return optuna.distributions.IntDistribution(each.low, each.high, log=each.log)
    return optuna.distributions.FloatDistribution(each.low, each.high, log=each.log)


def _options(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """What was asked of a trial, and what it drew; some may be missing where it died while drawing."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


def _ended(trial: optuna.trial.FrozenTrial) -> Ended | None:
    state: State
    match trial.state.name:
        case "COMPLETE":
            state = "complete"
        case "PRUNED":
            state = "pruned"
        case "FAIL" if _ERROR in trial.user_attrs:
            state = "failed"
        case _:
            return None
    values, seconds = [], 0.0
    for window in range(len(trial.user_attrs)):
        if f"{_WINDOW}{window}" in trial.user_attrs:
            values.append(float(trial.user_attrs[f"{_WINDOW}{window}"]))
        seconds += float(trial.user_attrs.get(f"{_SECONDS}{window}", 0.0))
    value = float(trial.value) if state == "complete" and trial.value is not None else None
    error = str(trial.user_attrs.get(_ERROR, ""))
    return Ended(trial.number, _options(trial), state, tuple(values), value, seconds, error)
