"""How much a release's model makes of each column, where it can be read from its bundle."""

from __future__ import annotations

from collections.abc import Mapping

from everloop.core.errors import EverloopError
from everloop.core.project import Project
from everloop.models.explaining import gains_of
from everloop.models.feature_spec import FeatureSpec
from everloop.models.state import load_head
from everloop.release.bundle import MODEL_FOLDER
from everloop.store.deployments import ReleaseRow

__all__ = ["importances_of"]

_BOOSTERS = "booster*.txt"


def importances_of(project: Project, release: ReleaseRow) -> dict[str, float] | None:
    """The share of each column in what the model's splits gained; ``None`` where the model tells no such thing.

    Only boosted trees over the built-in features tell it. The target's share is that of all features made of its past.
    """
    folder = project.releases / release.digest / MODEL_FOLDER
    files = sorted(folder.glob(_BOOSTERS))
    if not files:
        return None
    try:
        spec = FeatureSpec.from_json(load_head(folder)["spec"])
        gains: dict[int, float] = {}
        for file in files:
            for position, gain in gains_of(file.read_text(encoding="utf-8")).items():
                gains[position] = gains.get(position, 0.0) + gain
    except (EverloopError, OSError, UnicodeDecodeError, KeyError, TypeError):
        return None  # a model of somebody's own that happens to have such a file, or a damaged one: loading it tells
    return gains_by_column(spec, gains, target=project.settings.data.target)


def gains_by_column(spec: FeatureSpec, gains: Mapping[int, float], *, target: str) -> dict[str, float] | None:
    """Gains by the column that a feature is made of, as shares of all gains; ``None`` where nothing was gained."""
    total = sum(gains.values())
    if total <= 0:
        return None
    owner = {f"known_{name}{suffix}": name for name in spec.known for suffix in ("", "_to_usual", "_to_last")}
    owner |= {f"known_{name}": name for name in spec.known_codes}
    owner |= {
        f"known_{name}{part}": name for name in spec.events for part in ("_next_in", "_next", "_last_ago", "_last")
    }
    owner |= {f"known_{name}{part}": name for name in spec.flags for part in ("_changes_in", "_changed_ago")}
    owner |= {f"key_{name}": name for name, _ in spec.keys}
    owner |= {f"observed_{name}{suffix}": name for name in spec.observed for suffix in ("", "_usual")}
    owner |= {f"static_{name}": name for name in (*spec.static, *spec.static_codes)}
    shares: dict[str, float] = {}
    for position, feature in enumerate(spec.names):
        is_of_date = feature == "step" or (feature.startswith("calendar_") and feature not in owner)
        if not is_of_date:
            column = owner.get(feature, target)
            shares[column] = shares.get(column, 0.0) + gains.get(position, 0.0) / total
    return shares
