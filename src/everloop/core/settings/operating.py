"""The controller, the store and the tracking of experiments."""

from __future__ import annotations

from everloop.core.settings.section import Section, key

__all__ = ["LoopSettings", "StoreSettings", "TrackingSettings"]


class LoopSettings(Section):
    """The controller."""

    poll_seconds: float = key(30.0, unit="seconds", help="How often `everloop loop` ticks.", gt=0)
    lease_seconds: float = key(
        120.0, unit="seconds", help="How long a controller may be silent before another acts.", gt=0
    )


class StoreSettings(Section):
    """The control plane's database."""

    url: str = key(
        "sqlite:///.everloop/everloop.db", help="SQLite, or postgresql+psycopg://user@host/name to share it."
    )


class TrackingSettings(Section):
    """Experiment tracking."""

    uri: str = key("", help="MLflow's tracking URI; empty means SQLite and a folder below .everloop.")
    plots: bool = key(True, help="Whether a run stores its plots.")
