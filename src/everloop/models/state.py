"""How the built-in forecasters keep their state: a JSON head and ``.npy`` arrays, no pickle.

The same state gives the same bytes. A panel is kept as the tail that forecasts depend on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.core.digest import canonical_json
from everloop.core.errors import ModelError
from everloop.core.frequency import Frequency
from everloop.data.panel import Future, Panel

__all__ = ["load_arrays", "load_head", "load_panel", "save_arrays", "save_head", "save_panel"]

_HEAD = "model.json"
_PANEL = "panel"
_COVARIATES = ("known", "observed", "static")


def save_head(folder: Path, head: Mapping[str, Any]) -> None:
    """Write the scalars of a model's state."""
    (folder / _HEAD).write_text(canonical_json(dict(head)), encoding="utf-8")


def load_head(folder: Path) -> dict[str, Any]:
    """Read what :func:`save_head` wrote.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    tree: dict[str, Any] = _read_json(folder / _HEAD)
    return tree


def save_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays, each to a file of its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(values), allow_pickle=False)


def load_arrays(folder: Path, names: tuple[str, ...] | list[str]) -> dict[str, NDArray[Any]]:
    """Read arrays by name.

    Raises:
        ModelError: one is missing or damaged.
    """
    try:
        return {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in names}
    except (OSError, ValueError) as error:
        raise _damaged(folder, error) from error


def save_panel(folder: Path, panel: Panel, *, periods: int | None = None) -> None:
    """Write a panel, or its last ``periods``, below ``folder``.

    Columns' names stand in the head; files are numbered, so a column may have any name.
    """
    tail = panel if periods is None else panel.tail(periods)
    arrays: dict[str, NDArray[Any]] = {"offsets": tail.offsets, "y": tail.y}
    columns: dict[str, list[str]] = {}
    groups = {kind: getattr(tail, kind) for kind in _COVARIATES} | {"future": tail.future.columns}
    for kind, group in groups.items():
        columns[kind] = sorted(group)
        arrays |= {f"{kind}-{number}": group[name] for number, name in enumerate(columns[kind])}
    save_arrays(folder / _PANEL, arrays)
    head = {
        "frequency": [tail.frequency.count, tail.frequency.unit, tail.frequency.anchor],
        "series_columns": list(tail.series_columns),
        "keys": [list(key) for key in tail.keys],
        "cutoff": int(tail.cutoff),
        "columns": columns,
        "categories": {name: list(texts) for name, texts in tail.categories.items()},
        "steps": tail.future.steps,
        "closed_weekdays": sorted(tail.closed_weekdays),
    }
    (folder / _PANEL / "head.json").write_text(canonical_json(head), encoding="utf-8")


def load_panel(folder: Path) -> Panel:
    """Read what :func:`save_panel` wrote.

    Raises:
        ModelError: a file is missing or damaged.
    """
    head = _read_json(folder / _PANEL / "head.json")
    groups = {
        kind: {
            name: load_arrays(folder / _PANEL, [f"{kind}-{number}"])[f"{kind}-{number}"]
            for number, name in enumerate(head["columns"][kind])
        }
        for kind in (*_COVARIATES, "future")
    }
    arrays = load_arrays(folder / _PANEL, ["offsets", "y"])
    return Panel(
        frequency=Frequency(*head["frequency"]),
        series_columns=tuple(head["series_columns"]),
        keys=tuple(tuple(key) for key in head["keys"]),
        cutoff=head["cutoff"],
        offsets=arrays["offsets"],
        y=arrays["y"],
        known=groups["known"],
        observed=groups["observed"],
        static=groups["static"],
        categories={name: tuple(texts) for name, texts in head["categories"].items()},
        future=Future(head["steps"], groups["future"]),
        closed_weekdays=frozenset(head["closed_weekdays"]),
    )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(
        "model_files",
        f"cannot read the model's files: {error}",
        hint="the folder is not a saved model of this class, or is damaged",
        path=str(path),
    )
