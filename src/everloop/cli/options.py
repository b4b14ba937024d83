"""What the commands share: their common options, and how they open a project."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from everloop.core.errors import UsageError
from everloop.core.project import Project, load_project
from everloop.store.engine import Store, open_store

__all__ = ["JsonOption", "ProjectOption", "SetOption", "actor", "opened", "project_of", "refuse_rows"]

ProjectOption = Annotated[
    Path | None,
    typer.Option("--project", "-p", help="The project's folder; by default the working folder or one above it."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Override a setting, such as --set serve.port=9000."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def project_of(folder: Path | None, overrides: Sequence[str] | None) -> Project:
    """The project that the options name."""
    return load_project(folder, overrides=overrides or ())


@contextmanager
def opened(folder: Path | None, overrides: Sequence[str] | None) -> Iterator[tuple[Project, Store]]:
    """The project that the options name, and its store, closed in the end."""
    project = project_of(folder, overrides)
    store = open_store(project.store_url, fsync=project.settings.log.fsync)
    try:
        yield project, store
    finally:
        store.close()


def refuse_rows(project: Project, verb: str) -> None:
    """Refuse what needs candidates that are trained here, in a project whose models are adopted.

    Raises:
        UsageError: the project is one of models of rows.
    """
    if project.settings.project.task != "forecasting":
        raise UsageError(
            "task_of_rows",
            f"there is nothing to {verb}: models of rows are trained elsewhere",
            hint="bring one in: everloop adopt",
            path="project.task",
        )


def actor() -> str:
    """Who acts, for the audit log."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"
