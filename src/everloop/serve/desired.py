"""What the store wants to be served, read at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from everloop.serve.served import Wanted
from everloop.store.engine import Store
from everloop.store.reader import Look
from everloop.store.records import TrafficSplit
from everloop.store.wanted import in_role, split_in_force, state_of

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
    with store.look() as look:
        champion, challenger = in_role(look, "champion"), in_role(look, "challenger")
        split = split_in_force(look)
        shares = {} if split is None else split.weights
        others = [digest for digest, share in shares.items() if share > 0 and digest not in (champion, challenger)]
        return Desired(
            champion=_wanted(look, champion),
            challenger=_wanted(look, challenger),
            arms=tuple(Wanted(digest, state_of(look, digest)) for digest in others),
            split=split,
        )


def _wanted(look: Look, digest: str | None) -> Wanted | None:
    return None if digest is None else Wanted(digest, state_of(look, digest))
