"""Windows of backtests as pieces: workers read the panel from the project's table and compute some windows each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import everloop
from everloop.core.digest import canonical_json, digest_file, digest_json, digest_tree
from everloop.core.engine.pieces import Outcome, Piece
from everloop.core.engine.running import run_pieces
from everloop.core.errors import IntegrityError
from everloop.core.project import Project
from everloop.data.loading import load_panel
from everloop.data.panel import Panel
from everloop.experiment.lineage import installed_packages
from everloop.experiment.tracking import DatasetVersion
from everloop.experiment.training import fit_context, make_candidate
from everloop.validate.backtest import Backtest, BacktestPlan, Fold, Progress, cutoffs, folds_at

__all__ = ["Recipe", "Stored", "backtest_in_pieces", "compute_ahead", "compute_windows", "panel_digest"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A candidate's name and its constructor's options; ``None`` are those of the settings."""

    candidate: str
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a worker finds a panel.

    Attributes:
        project: the project, whose folder the worker sees under the same path.
        version: the version of its table.
        cutoff: the last instant of the panel, without a zone (UTC).
        digest: :func:`panel_digest` of what must be found there.
    """

    project: Project
    version: int
    cutoff: datetime
    digest: str

    @classmethod
    def of(cls, project: Project, panel: Panel, dataset: DatasetVersion) -> Stored:
        """Where a panel that was loaded with the settings' history and horizon is found again."""
        last = panel.frequency.times(np.array([panel.cutoff]))[0].astype(datetime)
        return cls(project, dataset.version, last, panel_digest(panel))

    def load(self) -> Panel:
        """The panel; the one that was read last is kept.

        Raises:
            IntegrityError: what is found is another panel.
        """
        if self.digest not in _last:
            _last.clear()  # first, so that there is room for the next
            settings = self.project.settings
            history, horizon = settings.train.history, settings.forecast.horizon
            panel, _ = load_panel(
                self.project, version=self.version, cutoff=self.cutoff, history=history, horizon=horizon
            )
            if panel_digest(panel) != self.digest:
                raise IntegrityError(
                    "engine_panel",
                    f"version {self.version} of the data gives a worker another panel than the run began with",
                    hint="were known-ahead values or a calendar changed meanwhile, or does the worker see another "
                    "folder? run the command again",
                    path=str(self.project.table),
                )
            _last[self.digest] = panel
        return _last[self.digest]


_last: dict[str, Panel] = {}


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
    pieces = _pieces(Stored.of(project, panel, dataset), cutoffs(panel, plan), plan, recipe)
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
    stored, chosen = Stored.of(project, panel, dataset), cutoffs(panel, plan)
    each = [_pieces(stored, chosen, plan, recipe) for recipe in recipes]
    every = [piece for pieces in each for piece in pieces]
    outcomes = iter(run_pieces(every, project.settings.engine, home=project.home))
    return [[next(outcomes) for _ in pieces] for pieces in each]


def compute_windows(
    stored: Stored, plan: BacktestPlan, recipe: Recipe, chosen: tuple[int, ...], *, threads: int
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


def _pieces(stored: Stored, chosen: tuple[int, ...], plan: BacktestPlan, recipe: Recipe) -> list[Piece]:
    project = stored.project
    context = fit_context(project)
    identity = [
        stored.digest,
        plan.to_dict(),
        [recipe.candidate, make_candidate(project, recipe.candidate, options=recipe.options).parameters()],
        [context.horizon, list(context.levels), context.seed],
        [_code(), list(installed_packages()), _own_code(project.root)],
    ]
    parts = [(each,) for each in chosen] if plan.mode == "refit" else [chosen]
    return [Piece(compute_windows, (stored, plan, recipe, part), [*identity, list(part)]) for part in parts]


def panel_digest(panel: Panel) -> str:
    """The digest of all that a panel holds."""
    seen = hashlib.sha256()
    marks = panel.marks
    plain = (panel.frequency, panel.series_columns, panel.cutoff, sorted(panel.closed_weekdays), panel.future.steps)
    seen.update(repr(plain).encode())
    seen.update(canonical_json([panel.keys, panel.categories]).encode())
    groups: dict[str, Mapping[str, Any]] = {
        "": {"offsets": panel.offsets, "y": panel.y},
        "known": panel.known,
        "observed": panel.observed,
        "static": panel.static,
        "future": panel.future.columns,
    }
    if marks is not None:
        seen.update(repr((sorted(marks.treatments.items()), marks.price, marks.looked_at)).encode())
        groups["marks"] = {"row": marks.row, "kind": marks.kind, "known_at": marks.known_at, "raw": marks.raw}
    for group, columns in groups.items():
        for name, values in columns.items():
            seen.update(repr((group, name, values.dtype.str, values.shape)).encode())
            seen.update(np.ascontiguousarray(values).data)
    return seen.hexdigest()


@cache
def _code() -> str:
    """The digest of this package's files: a version that is being worked on has many contents."""
    return digest_json(digest_tree(Path(everloop.__file__).parent))


def _own_code(root: Path) -> dict[str, str]:
    """The digest of every Python file of a project, but for hidden folders and environments."""
    found = {}
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            name for name in folders if name[0] != "." and not (Path(folder) / name / "pyvenv.cfg").exists()
        )
        for name in files:
            path = Path(folder) / name
            if path.suffix == ".py":
                found[path.relative_to(root).as_posix()] = digest_file(path)
    return found
