"""The door to experiment tracking, kept apart from MLflow itself.

Importing MLflow takes some three seconds, which a tick of the loop without a training need not pay: this module
is light, and opening a tracker is what imports ``everloop.experiment.mlflow_tracker``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from everloop.core.clock import Clock, SystemClock
from everloop.core.project import Project

if TYPE_CHECKING:
    from everloop.experiment.mlflow_tracker import Tracker

__all__ = ["DatasetVersion", "open_tracker"]


class DatasetVersion(Protocol):
    """What a run says of its data: the table's version number, content digest, and rows."""

    @property
    def version(self) -> int:
        """The version number of the table."""
        ...

    @property
    def digest(self) -> str:
        """The digest of the content."""
        ...

    @property
    def rows(self) -> int:
        """The number of rows."""
        ...


def open_tracker(project: Project, *, clock: Clock | None = None) -> Tracker:
    """The tracker of a project's runs: MLflow with SQLite and a folder below ``.everloop``, or a server by its URL.

    Args:
        project: the project; ``tracking.uri`` says where its runs go.
        clock: what dates the runs, the system's by default; a replay gives its own.

    Raises:
        UnavailableError: the server or database does not answer.
    """
    from everloop.experiment.mlflow_tracker import Tracker  # see the module's docstring

    return Tracker.open(project, clock or SystemClock())
