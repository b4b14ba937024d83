"""All candidates of a project examined on the same windows, beside the same baseline and champion."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from everloop.core.errors import EverloopError, ModelError
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.experiment.lineage import Lineage
from everloop.experiment.tracking import DatasetVersion
from everloop.experiment.training import make_candidate
from everloop.models.ensemble import EnsembleForecaster
from everloop.validate.blending import blended
from everloop.validate.examination import BASELINE, Examination, Reference, Shared, backtest_candidate, examine
from everloop.validate.ranking import rank
from everloop.validate.windows import Recipe, compute_ahead

if TYPE_CHECKING:
    # MLflow takes three seconds to import; whoever only reads the records need not pay them
    from everloop.experiment.mlflow_tracker import Tracker

__all__ = ["examine_candidates"]


def examine_candidates(
    project: Project,
    panel: Panel,
    dataset: DatasetVersion,
    *,
    tracker: Tracker,
    lineage: Lineage,
    champion: Reference | None = None,
    on_failure: Callable[[str, ModelError], None],
    progress: Callable[[int, str], None] = lambda done, word: None,
) -> list[Examination]:
    """Examine every candidate of the settings; best first.

    Args:
        project: the project.
        panel: the data.
        dataset: their version.
        tracker: where the runs are recorded.
        lineage: the running code and environment.
        champion: the champion's recipe on the same windows, ``None`` where nobody is in charge.
        on_failure: told of each candidate that cannot be fitted; the others go on.
        progress: told the candidates done and a word on the present one.

    Raises:
        ModelError: every candidate failed, or the history is too short.
        UnavailableError: MLflow is away.
    """
    if project.settings.engine.is_shared:
        _compute_ahead(project, panel, dataset)
    baseline = backtest_candidate(project, panel, BASELINE, options={}, dataset=dataset)
    shared = Shared(project, panel, dataset, tracker, lineage, baseline, champion)
    done: list[Examination] = []
    failures: list[ModelError] = []
    for number, candidate in enumerate(project.settings.train.candidates):
        progress(number, f"examining {candidate}")
        try:
            own = champion if _is_recipe(project, candidate, champion) else blended(project, panel, candidate, done)
            done.append(examine(candidate, shared, own=own))
        except ModelError as error:
            failures.append(error)
            on_failure(candidate, error)
    if not done:
        raise failures[0]
    validation = project.settings.validation
    return list(rank(done, metric=validation.metric, tie=validation.tie).best_first)


def _compute_ahead(project: Project, panel: Panel, dataset: DatasetVersion) -> None:
    """Let the engine compute the windows of all candidates side by side; those unknown are told of in their turn."""
    recipes, candidates = [Recipe(BASELINE, {})], project.settings.train.candidates
    for candidate in candidates:
        try:
            model = make_candidate(project, candidate)
        except EverloopError:
            continue
        # an ensemble of candidates is put together from their windows
        if not (isinstance(model, EnsembleForecaster) and set(model.members) <= set(candidates)):
            recipes.append(Recipe(candidate))
    compute_ahead(project, panel, dataset, recipes)


def _is_recipe(project: Project, candidate: str, champion: Reference | None) -> bool:
    """Whether the champion was made by the same recipe, so that its backtest need not be made twice."""
    if champion is None or champion.name != candidate:
        return False
    return make_candidate(project, candidate).parameters() == champion.options
