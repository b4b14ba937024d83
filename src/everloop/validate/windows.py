"""Windows of backtests as pieces: workers read the panel from the project's table and compute some windows each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from everloop.core.engine.pieces import Outcome, Piece
from everloop.core.engine.running import run_pieces
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.data.stored_panel import StoredPanel
from everloop.experiment.identity import code_identity
from everloop.experiment.tracking import DatasetVersion
from everloop.experiment.training import fit_context, make_candidate
from everloop.validate.backtest import Backtest, BacktestPlan, Fold, Progress, cutoffs, folds_at

__all__ = ["Recipe", "backtest_in_pieces", "compute_ahead", "compute_windows"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A candidate's name and its constructor's options; ``None`` are those of the settings."""

    candidate: str
    options: Mapping[str, Any] | None = None


def backtest_in_pieces(
    project: Project,
    panel: Panel,
    dataset: DatasetVersion,
    recipe: Recipe,
    *,
    progress: Progress | None = None,
) -> Backtest:
    """What :func:`everloop.validate.backtest.run_backtest` gives, by the settings' engine; equal but for timings.

    Args:
        project: the project; ``engine`` says where windows are computed.
        panel: the data, as loaded with the settings' history and horizon.
        dataset: the version that they were loaded from.
        recipe: the candidate.
        progress: told after each piece: a window, or all of them where each updates the one before.

    Raises:
        ModelError: the history is too short, or the forecaster fails.
        IntegrityError: the table gives a worker another panel.
        UnavailableError: Ray is missing or away, or workers die again and again.
    """
    plan = BacktestPlan.of(project.settings)
    pieces = _pieces(StoredPanel.of(project, panel, dataset.version), cutoffs(panel, plan), plan, recipe)
    outcomes = run_pieces(
        pieces, project.settings.engine, home=project.home, progress=progress or (lambda done, all_: None)
    )
    folds: tuple[Fold, ...] = sum((outcome.take() for outcome in outcomes), ())
    return Backtest(plan, tuple(project.settings.forecast.levels), folds)


def compute_ahead(
    project: Project, panel: Panel, dataset: DatasetVersion, recipes: Sequence[Recipe]
) -> list[list[Outcome]]:
    """Compute the windows of several candidates side by side, for backtests that come after to find them finished.

    Returns:
        What became of the pieces of each recipe; an error there is met again by the backtest that comes after.

    Raises:
        ModelError: the history is too short.
        UsageError: there is no such candidate.
        UnavailableError: Ray is missing or away, or workers die again and again.
    """
    plan = BacktestPlan.of(project.settings)
    stored, chosen = StoredPanel.of(project, panel, dataset.version), cutoffs(panel, plan)
    each = [_pieces(stored, chosen, plan, recipe) for recipe in recipes]
    every = [piece for pieces in each for piece in pieces]
    outcomes = iter(run_pieces(every, project.settings.engine, home=project.home))
    return [[next(outcomes) for _ in pieces] for pieces in each]


def compute_windows(
    stored: StoredPanel, plan: BacktestPlan, recipe: Recipe, chosen: tuple[int, ...], *, threads: int
) -> tuple[Fold, ...]:
    """The windows at some cutoffs; a worker calls it.

    Args:
        stored: where the panel is.
        plan: the backtest's.
        recipe: the candidate.
        chosen: the cutoffs.
        threads: how many cores a fit may use, where ``train.threads`` does not say fewer.

    Raises:
        IntegrityError: the table gives another panel.
        ModelError: the forecaster fails.
    """
    project = stored.project
    context = fit_context(project)
    return folds_at(
        chosen,
        lambda: make_candidate(project, recipe.candidate, options=recipe.options),
        stored.load(),
        plan,
        replace(context, threads=min(threads, project.settings.train.threads or threads)),
        name=recipe.candidate,
    )


def _pieces(stored: StoredPanel, chosen: tuple[int, ...], plan: BacktestPlan, recipe: Recipe) -> list[Piece]:
    project = stored.project
    context = fit_context(project)
    identity = [
        stored.digest,
        plan.to_dict(),
        [recipe.candidate, make_candidate(project, recipe.candidate, options=recipe.options).parameters()],
        [context.horizon, list(context.levels), context.seed],
        code_identity(project.root),
    ]
    parts = [(each,) for each in chosen] if plan.mode == "refit" else [chosen]
    return [Piece(compute_windows, (stored, plan, recipe, part), [*identity, list(part)]) for part in parts]
