"""Tuning of a candidate: a search over past windows, then a check of the winner on windows that it has not seen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from everloop import __version__
from everloop.core.digest import digest_json
from everloop.core.engine.running import Engine
from everloop.core.errors import EverloopError, UsageError
from everloop.core.project import Project
from everloop.core.seeds import derive_seed
from everloop.data.panel import Panel
from everloop.experiment.lineage import Lineage
from everloop.experiment.study import Ended, StudyPlan, held_study
from everloop.experiment.tracking import DatasetVersion
from everloop.experiment.training import make_candidate
from everloop.experiment.tuning import Budget, Judge, TrialRuns, search
from everloop.models.search import Choice, Range, Real, Whole, search_space_of
from everloop.validate.backtest import BacktestPlan
from everloop.validate.held_back import HeldBack, check_winner
from everloop.validate.trial_windows import EngineJudge, WindowJudge

if TYPE_CHECKING:
    # MLflow takes three seconds to import; whoever opens a tracker pays them
    from everloop.experiment.mlflow_tracker import Tracker

__all__ = ["Tuning", "is_tunable", "plan_study", "tunable", "tune_candidate"]


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a tuning came to.

    Attributes:
        candidate: whose options.
        study: the study's name.
        run_id: the MLflow run of the whole.
        metric: what was made small.
        present: the present values of the options that were searched.
        trials: all trials of the study that ended.
        new: how many of them in this call.
        why: ``"trials"`` where there are as many as were wanted, ``"time"`` where it was over.
        held_back: the check of the winner, ``None`` where the present options are the best so far.
    """

    candidate: str
    study: str
    run_id: str
    metric: str
    present: dict[str, Any]
    trials: tuple[Ended, ...]
    new: int
    why: str
    held_back: HeldBack | None

    @property
    def kept(self) -> dict[str, Any] | None:
        """The options found, where they are kept."""
        return self.held_back.options if self.held_back is not None and self.held_back.kept else None

    @property
    def reason(self) -> str:
        """What became of it, in a sentence."""
        if self.held_back is not None:
            return self.held_back.reason
        complete = [each for each in self.trials if each.value is not None]
        if not complete:
            return "the time was over before the present options were through; give more: --minutes"
        if min(complete, key=lambda each: (each.value, each.number)).options != self.present:
            return "the time was over before the best trial could be checked; the same command goes on"
        return "no trial was better than the present options"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "candidate": self.candidate,
            "study": self.study,
            "run_id": self.run_id,
            "metric": self.metric,
            "present": self.present,
            "kept": self.kept,
            "reason": self.reason,
            "new_trials": self.new,
            "ended_by": self.why,
            "held_back": None if self.held_back is None else self.held_back.to_dict(),
            "trials": [asdict(each) for each in self.trials],
        }


def tunable(project: Project) -> list[str]:
    """The candidates of the settings that have something to tune.

    Raises:
        UsageError: a candidate is unknown, or ``tune.space`` names what it does not take.
    """
    return [each for each in project.settings.train.candidates if _space_of(project, each)]


def is_tunable(project: Project, candidate: str) -> bool:
    """Whether there is something to tune about a candidate; false too where it cannot tell."""
    try:
        return bool(_space_of(project, candidate))
    except EverloopError:
        return False


def plan_study(project: Project, dataset: DatasetVersion, candidate: str) -> StudyPlan:
    """What is searched: the declared ranges, wide enough for the present options.

    Args:
        project: the project.
        dataset: the data.
        candidate: its name in the settings.

    Raises:
        UsageError: the candidate is unknown, or there is nothing to tune about it.
    """
    settings = project.settings
    options = make_candidate(project, candidate).parameters()
    space = {name: _wide_enough(each, options[name]) for name, each in _space_of(project, candidate).items()}
    if not space:
        raise UsageError(
            "tune_nothing",
            f"{candidate!r} declares nothing that may be tuned",
            hint="give ranges by tune.space, or write a classmethod search_space (docs/how-to/tune.md)",
            path=f"tune.space.{candidate}",
        )
    content = digest_json(
        [
            dataset.digest,
            settings.data.model_dump(),
            settings.forecast.model_dump(),
            [settings.train.history, settings.validation.metric, *_steps(project)],
            [settings.costs.model_dump(), settings.validation.sums, settings.validation.worth],
            {name: value for name, value in options.items() if name not in space},
            __version__,
        ]
    )
    return StudyPlan(
        candidate=candidate,
        space=space,
        present={name: options[name] for name in space},
        windows=settings.tune.windows,
        content=content,
        seed=derive_seed(settings.project.seed, "tune", candidate),
        pruner=settings.tune.pruner,
    )


def tune_candidate(
    project: Project,
    panel: Panel,
    dataset: DatasetVersion,
    candidate: str,
    *,
    tracker: Tracker,
    lineage: Lineage,
    seconds: float,
    progress: Callable[[int, str], None] = lambda done, word: None,
) -> Tuning:
    """Search for better options of a candidate, going on with what was begun, and check the winner.

    Args:
        project: the project; ``tune`` says how.
        panel: the data.
        dataset: their version.
        candidate: its name in the settings.
        tracker: where the runs are recorded.
        lineage: the running code and environment.
        seconds: how long it may take. A window that has begun is finished; none is begun that would not be.
        progress: told the trials that ended, and a word on the present step.

    Raises:
        UsageError: the candidate is unknown, or there is nothing to tune about it.
        ModelError: the history is too short, or the candidate fails with its present options.
        ConflictError: another process tunes in this project.
        UnavailableError: the studies or MLflow are away, or the engine is.
    """
    ends_at = time.monotonic() + seconds
    settings = project.settings
    plan = plan_study(project, dataset, candidate)
    with held_study(project, plan) as study, _judge(project, panel, dataset, candidate) as judge:

        def start(name: str, options: Mapping[str, Any], tags: Mapping[str, str]) -> str:
            tags = {"everloop.tuned": candidate, "everloop.study": plan.name, **tags}
            params = {"candidate": candidate, **{f"tune.{option}": value for option, value in options.items()}}
            return tracker.start(name, dataset=dataset, lineage=lineage, params=params, tags=tags)

        run_id = start(f"tune {candidate}", {}, {})
        with tracker.failing(run_id):
            searched = search(
                study,
                judge,
                Budget(settings.tune.trials, ends_at, 2 * settings.validation.windows, settings.tune.at_once),
                runs=TrialRuns(tracker, run_id, start),
                metric=settings.validation.metric,
                progress=progress,
            )
            held_back = check_winner(
                project,
                panel,
                study,
                dataset=dataset,
                seconds=ends_at - time.monotonic(),
                progress=lambda _, word: progress(len(searched.trials), word),
            )
            metric, present = settings.validation.metric, dict(plan.present)
            found = (searched.trials, searched.new, searched.why, held_back)
            tuning = Tuning(candidate, plan.name, run_id, metric, present, *found)
            _record(tracker, tuning)
            tracker.finish(run_id)
    return tuning


@contextmanager
def _judge(project: Project, panel: Panel, dataset: DatasetVersion, candidate: str) -> Iterator[Judge]:
    """Who judges trials: this process, or the settings' engine."""
    settings = project.settings.engine
    if not settings.is_shared:
        yield WindowJudge(project, panel, candidate)
        return
    with Engine(settings, home=project.home) as engine:
        yield EngineJudge(project, panel, dataset.version, candidate, engine)


def _record(tracker: Tracker, tuning: Tuning) -> None:
    from everloop.experiment.mlflow_tracker import Measurement

    best = min((each.value for each in tuning.trials if each.value is not None), default=None)
    held = tuning.held_back
    numbers = {
        f"tuning/{tuning.metric}": best,
        f"held_back/{tuning.metric}": None if held is None else held.found,
        f"held_back/present/{tuning.metric}": None if held is None else held.present,
        "held_back/effect": None if held is None else held.effect,
        "held_back/lower": None if held is None else held.lower,
        "held_back/upper": None if held is None else held.upper,
    }
    tracker.log(tuning.run_id, [Measurement(name, value) for name, value in numbers.items() if value is not None])
    record = json.dumps(tuning.to_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    tracker.log_files(tuning.run_id, {"evidence/tuning.json": record})
    tracker.set_tags(tuning.run_id, {"everloop.tuning": "kept" if tuning.kept is not None else tuning.reason})


def _space_of(project: Project, candidate: str) -> dict[str, Range]:
    """The ranges of the parameters whose present values are told."""
    space = search_space_of(candidate, root=project.root, changed=project.settings.tune.space.get(candidate))
    options = make_candidate(project, candidate).parameters()
    return {name: each for name, each in space.items() if name in options and _can_hold(each, options[name])}


def _can_hold(each: Range, present: Any) -> bool:
    """Whether a range can be widened to a present value."""
    if isinstance(each, Choice):
        return present is None or isinstance(present, str | int | float | bool)
    if isinstance(present, bool) or not isinstance(present, int | float):
        return False
    return isinstance(each, Real) or isinstance(present, int)


def _wide_enough(each: Range, present: Any) -> Range:
    """A range that the present value lies in."""
    if each.holds(present):
        return each
    if isinstance(each, Choice):
        return Choice((present, *each.values))
    low, high = min(each.low, present), max(each.high, present)
    if isinstance(each, Whole):
        return Whole(int(low), int(high), each.log and low > 0)
    return Real(float(low), float(high), each.log and low > 0)


def _steps(project: Project) -> list[Any]:
    held = BacktestPlan.of(project.settings)
    return [held.windows, held.step, project.settings.data.frequency]
