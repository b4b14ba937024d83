"""The columns of a table: the project's own, and the three that Everloop adds."""

from __future__ import annotations

from dataclasses import dataclass

from everloop.core.settings.project import DataSettings

__all__ = ["INGESTED_AT", "KNOWN_AT", "PERIOD", "Columns"]

PERIOD = "_period"
"""The month of a row's time, ``"2011-12"``: the partition."""

INGESTED_AT = "_ingested_at"
"""When the row was last changed."""

KNOWN_AT = "_known_at"
"""When the row's target was first known; empty as long as it is not."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table by their part; ``target`` is ``None`` in a table of known-ahead values."""

    series: tuple[str, ...]
    time: str
    target: str | None
    others: tuple[str, ...] = ()

    @classmethod
    def of_observations(cls, settings: DataSettings) -> Columns:
        """The columns of the table of observations."""
        stock = settings.cleaning.stock_column
        others = (*settings.known_ahead, *settings.observed, *([stock] if stock else []), *settings.static)
        own = {*settings.series, settings.time, settings.target}
        return cls(
            tuple(settings.series),
            settings.time,
            settings.target,
            tuple(name for name in dict.fromkeys(others) if name not in own),
        )

    @classmethod
    def of_future(cls, settings: DataSettings) -> Columns:
        """The columns of the table of values known ahead."""
        return cls(tuple(settings.series), settings.time, None, tuple(settings.known_ahead))

    @property
    def key(self) -> list[str]:
        """What names a row."""
        return [*self.series, self.time]

    @property
    def values(self) -> list[str]:
        """What a row says."""
        return [*([self.target] if self.target else []), *self.others]

    @property
    def all(self) -> list[str]:
        """Every column of the project, in the table's order."""
        return [*self.key, *self.values]
