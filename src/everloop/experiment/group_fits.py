"""Models of groups fitted as pieces: workers read the panel from the project's table and fit some groups each."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from everloop.core.engine.pieces import Piece
from everloop.core.engine.running import run_pieces
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.data.stored_panel import StoredPanel
from everloop.experiment.identity import code_identity
from everloop.models.catalog import forecaster_class
from everloop.models.forecaster import FitContext, Forecaster
from everloop.models.partitioned import PartitionedForecaster

__all__ = ["fit_group", "fit_groups"]


def fit_groups(
    project: Project, panel: Panel, version: int, model: PartitionedForecaster, context: FitContext
) -> PartitionedForecaster:
    """What ``model.fit`` gives, by the settings' engine; the same files are saved, bit for bit.

    Args:
        project: the project; ``engine`` says where groups are fitted.
        panel: the data, as loaded with the settings' history and horizon.
        version: the version that they were loaded from.
        model: the forecaster by group, not yet fitted.
        context: what a fit may rely on.

    Raises:
        ModelError: a model cannot be fitted, or the forecaster's options do not fit the panel.
        IntegrityError: the table gives a worker another panel.
        UnavailableError: Ray is missing or away, or workers die again and again.
    """
    groups, stored, parameters = model.groups(panel), StoredPanel.of(project, panel, version), model.parameters()
    shared = [stored.digest, parameters, [context.horizon, list(context.levels), context.seed]]
    code = code_identity(project.root)
    pieces = [
        Piece(fit_group, (stored, parameters, context, group.values), [*shared, list(group.values), group.name, code])
        for group in groups
    ]
    outcomes = run_pieces(pieces, project.settings.engine, home=project.home)
    fitted = [_loaded(group.name, outcome.take()) for group, outcome in zip(groups, outcomes, strict=True)]
    return model.with_models(panel, groups, fitted)


def fit_group(
    stored: StoredPanel, parameters: Mapping[str, Any], context: FitContext, values: Sequence[str], *, threads: int
) -> dict[str, bytes]:
    """The files of a group's fitted model by their paths; a worker calls it.

    Raises:
        IntegrityError: the table gives another panel.
        ModelError: the model cannot be fitted.
    """
    model, panel = PartitionedForecaster(**parameters), stored.load()
    group = next(each for each in model.groups(panel) if each.values == tuple(values))
    fitted = model.fit_group(panel, group, replace(context, threads=min(threads, context.threads)))
    with tempfile.TemporaryDirectory(prefix="everloop-") as name:
        folder = Path(name)
        fitted.save(folder)
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _loaded(name: str, files: Mapping[str, bytes]) -> Forecaster:
    with tempfile.TemporaryDirectory(prefix="everloop-") as folder:
        for place, content in files.items():
            path = Path(folder) / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return forecaster_class(name).load(Path(folder))
