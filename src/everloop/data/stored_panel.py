"""A panel named by where it is stored, so that another process reads it for itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from everloop.core.digest import canonical_json
from everloop.core.errors import IntegrityError
from everloop.core.project import Project
from everloop.data.loading import load_panel
from everloop.data.panel import Panel

__all__ = ["StoredPanel", "panel_digest"]


@dataclass(frozen=True, slots=True)
class StoredPanel:
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
    def of(cls, project: Project, panel: Panel, version: int) -> StoredPanel:
        """Where a panel that was loaded with the settings' history and horizon is found again."""
        last = panel.frequency.times(np.array([panel.cutoff]))[0].astype(datetime)
        return cls(project, version, last, panel_digest(panel))

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
