"""What the store wants to be served, read at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from everloop.serve.served import Wanted
from everloop.store.deployments import in_role, latest_state
from everloop.store.engine import Store
from everloop.store.splits import TrafficSplit, split_in_force

__all__ = ["Desired", "read_desired"]


@dataclass(frozen=True, slots=True)
class Desired:
    """What should be served.

    Attributes:
        champion: who is in charge, ``None`` for nobody.
        challenger: who is on trial.
        arms: the other releases that the split gives a share to.
        split: the split in force.
    """

    champion: Wanted | None
    challenger: Wanted | None
    arms: tuple[Wanted, ...] = ()
    split: TrafficSplit | None = None


def read_desired(store: Store) -> Desired:
    """What should be served now, all of it as of one transaction.

    Raises:
        UnavailableError: the store does not answer.
    """
    with store.read() as tx:
        champion, challenger = in_role(tx, "champion"), in_role(tx, "challenger")
        split = split_in_force(tx)
        shares = {} if split is None else split.weights
        others = [digest for digest, share in shares.items() if share > 0 and digest not in (champion, challenger)]
        return Desired(
            champion=_wanted(tx, champion),
            challenger=_wanted(tx, challenger),
            arms=tuple(Wanted(digest, _state(tx, digest)) for digest in others),
            split=split,
        )


def _wanted(tx: Connection, digest: str | None) -> Wanted | None:
    return None if digest is None else Wanted(digest, _state(tx, digest))


def _state(tx: Connection, digest: str) -> str:
    state = latest_state(tx, digest)
    return state.id if state else ""
