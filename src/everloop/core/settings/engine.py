"""Where long computations are carried out."""

from __future__ import annotations

from typing import Literal

from everloop.core.settings.section import Section, key

__all__ = ["EngineSettings"]


class EngineSettings(Section):
    """Where the windows of backtests are computed; results are the same, bit for bit, wherever that is."""

    kind: Literal["local", "ray"] = key(
        "local", help="`local` uses processes of this machine, `ray` a Ray cluster (the extra `everloop[ray]`)."
    )
    workers: int = key(
        1,
        unit="pieces",
        help="How many pieces are computed at once; 0 means one for each core. `local` with 1 computes all in the "
        "running process and keeps no pieces. Each worker holds a panel of its own in memory.",
        ge=0,
    )
    address: str = key(
        "", help="A Ray cluster's address, such as `ray-head:6379`; empty starts Ray on this machine for the time."
    )
    keep_gb: float = key(
        4.0, unit="GB", help="How much room finished pieces may take below `.everloop/pieces`; the oldest go.", ge=0
    )

    @property
    def is_shared(self) -> bool:
        """Whether others than the running process compute."""
        return self.kind == "ray" or self.workers != 1
