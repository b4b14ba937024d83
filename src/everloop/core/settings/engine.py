"""Where long computations are carried out."""

from __future__ import annotations

from typing import Literal

from everloop.core.settings.section import Section, key

__all__ = ["EngineSettings"]


def _some(workers: int | None) -> int | None:
    if workers is not None and workers < 0:
        raise ValueError("expected 0 or more")
    return workers


class EngineSettings(Section):
    """Where backtests, tuning, models of groups and batches of forecasts are computed.

    Results are the same, bit for bit, wherever that is.
    """

    kind: Literal["local", "ray"] = key(
        "local", help="`local` uses processes of this machine, `ray` a Ray cluster (the extra `everloop[ray]`)."
    )
    workers: int | None = key(
        None,
        unit="pieces",
        help="How many pieces are computed at once; 0 means one for each core. Left out, it is 1 with `local`, which "
        "computes all in the running process and keeps no pieces, and 0 with `ray`. Each worker holds a panel of its "
        "own in memory.",
        check=_some,
    )
    address: str = key(
        "", help="A Ray cluster's address, such as `ray-head:6379`; empty starts Ray on this machine for the time."
    )
    keep_gb: float = key(
        4.0, unit="GB", help="How much room finished pieces may take below `.everloop/pieces`; the oldest go.", ge=0
    )

    @property
    def most_workers(self) -> int:
        """How many pieces are computed at once; 0 means one for each core."""
        if self.workers is not None:
            return self.workers
        return 0 if self.kind == "ray" else 1

    @property
    def is_shared(self) -> bool:
        """Whether others than the running process compute."""
        return self.kind == "ray" or self.most_workers != 1
