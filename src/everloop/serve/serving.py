"""What is served at one moment, and who of it answers a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from everloop.core.errors import NotFoundError, UnavailableError
from everloop.serve.fallback import Chain
from everloop.serve.loading import Loaded
from everloop.serve.traffic import RELEASE_HEADER, UNIT_HEADER, Split, kept_unit

__all__ = ["Choice", "Serving"]

_FEWEST_LETTERS = 4


class Choice(msgspec.Struct, frozen=True, eq=False):
    """Who answers a request.

    Attributes:
        served: the release that is asked first.
        chain: it and those who answer where it fails.
        role: ``"champion"``, ``"challenger"``, ``"named"``, or ``"fallback"`` where the one that was drawn is not
            loaded; stored with the answer.
        unit: what was drawn, stored with the answer; ``None`` without a split, and for a request without a unit.
        experiment: the split's label, stored with the answer.
        reason: ``"not_loaded"`` where another answers than the one that was drawn.
        note: what the caller must know, empty for nothing.
    """

    served: Loaded
    chain: Chain
    role: str = "champion"
    unit: str | None = None
    experiment: str | None = None
    reason: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Serving:
    """What is served at one moment: one record, replaced as a whole, so that no request sees half of a change.

    Attributes:
        champion: who is in charge.
        challenger: who is on trial.
        previous: the champion before this one, where it is still loaded.
        split: who answers which units, ``None`` where the champion answers all.
        arms: every release that is loaded, by digest, champion and challenger among them.
        chains: who answers in place of whom, by digest.
    """

    champion: Loaded | None = None
    challenger: Loaded | None = None
    previous: Loaded | None = None
    split: Split | None = None
    arms: Mapping[str, Loaded] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)
    _plain: Choice | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Prepare the usual choice, so that it costs a request nothing."""
        if self.champion is not None:
            object.__setattr__(self, "_plain", Choice(self.champion, self._chain(self.champion)))

    def choose(self, *, unit: str | None = None, request_id: str = "", named: str | None = None) -> Choice:
        """Who answers a request.

        Args:
            unit: what is drawn; see :class:`Split` for where it comes from. Without one the request itself is drawn.
            request_id: any text of the request's own.
            named: a release that the caller insists on: a digest, its beginning, or a role.

        Raises:
            UnavailableError: nobody is in charge.
            NotFoundError: the named release is not served.
        """
        if named is not None:
            return self._named(named)
        plain = self._plain
        if plain is None:
            raise UnavailableError("no_champion", "no release is in charge yet", hint="make one: everloop run")
        if self.split is None:
            return plain
        return self._drawn(self.split, plain.served, unit, request_id)

    def _drawn(self, split: Split, champion: Loaded, unit: str | None, request_id: str) -> Choice:
        digest = split.assign(request_id if unit is None else unit)
        served = self.arms.get(digest)
        kept = None if unit is None else kept_unit(unit)
        note = "" if unit is not None else _loose(split)
        if served is None:
            chain = self._chain(champion)
            return Choice(champion, chain, "fallback", kept, split.label, "not_loaded", note)
        role = "champion" if served is champion else "challenger"
        return Choice(served, self._chain(served), role, kept, split.label, note=note)

    def _named(self, name: str) -> Choice:
        if name in ("champion", "challenger"):
            found = [self.champion if name == "champion" else self.challenger]
        else:
            is_long_enough = len(name) >= _FEWEST_LETTERS
            found = [served for digest, served in self.arms.items() if is_long_enough and digest.startswith(name)]
        served = found[0] if len(found) == 1 else None
        if served is None:
            loaded = ", ".join(sorted(digest[:12] for digest in self.arms)) or "none"
            raise NotFoundError(
                "release_not_served",
                f"no release {name[:64]!r} is served here",
                hint=f"served are: {loaded}; or name a role: champion, challenger",
                path=RELEASE_HEADER,
            )
        return Choice(served, self._chain(served), "named")

    def _chain(self, served: Loaded) -> Chain:
        return self.chains.get(served.release.digest, ())


def _loose(split: Split) -> str:
    """What is said of an answer that was drawn by the request."""
    wanted = "" if split.unit == "header" else f" {split.unit!r} or"
    return f"the request named no{wanted} {UNIT_HEADER}: a release was drawn for this request alone"
