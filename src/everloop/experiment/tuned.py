"""Options that tuning found and kept: where they lie, and how a training comes to use them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from everloop.core.project import Project
from everloop.store.engine import Store
from everloop.store.marks import get_mark, set_mark

__all__ = ["keep_tuned", "tuned_options", "with_tuned"]

_MARK = "tuned:"


def keep_tuned(
    connection: Connection, project: Project, candidate: str, options: dict[str, Any], *, study: str, at: datetime
) -> None:
    """Keep the options that were found for a candidate, in place of those that the settings give now."""
    written = project.settings.train.options.get(candidate, {})
    value = {"options": options, "instead_of": written, "study": study}
    set_mark(connection, _MARK + candidate, value, at=at)


def tuned_options(connection: Connection, project: Project, candidate: str) -> dict[str, Any] | None:
    """The options kept for a candidate; ``None`` where there are none, or ``train.options`` was changed since."""
    kept = get_mark(connection, _MARK + candidate)
    if kept is None or kept["instead_of"] != project.settings.train.options.get(candidate, {}):
        return None
    return dict(kept["options"])


def with_tuned(project: Project, store: Store) -> Project:
    """The project as trainings see it: with the options that tuning kept, where ``tune.use`` says so.

    What is written in ``train.options`` after the tuning goes before what it found.
    """
    if not project.settings.tune.use:
        return project
    train = project.settings.train
    with store.read() as tx:
        found = {name: tuned_options(tx, project, name) for name in train.candidates}
    options = {**train.options, **{name: each for name, each in found.items() if each is not None}}
    settings = project.settings.model_copy(update={"train": train.model_copy(update={"options": options})})
    return replace(project, settings=settings)
