"""How far back the rules of cleaning look, by the panel's frequency."""

from __future__ import annotations

from dataclasses import dataclass

from everloop.core.frequency import Frequency

__all__ = ["Reach"]

_PASSES = 2


@dataclass(frozen=True, slots=True)
class Reach:
    """Lengths of windows in periods.

    Attributes:
        season: the pattern that rates follow: the days of a week, the hours of a day; 1 where there is none.
        recent: the window of a series' present.
        long: the window of its usual behaviour, whole seasons.
        outlier: the window that an extreme value is held against.
    """

    season: int
    recent: int
    long: int
    outlier: int

    @classmethod
    def of(cls, frequency: Frequency) -> Reach:
        """The windows for a frequency."""
        if frequency.count == 1 and frequency.unit == "d":
            return cls(7, 28, 182, 56)
        if frequency.count == 1 and frequency.unit == "h":
            return cls(24, 168, 1008, 336)
        return cls(1, 13, 52, 26) if frequency.unit in ("d", "w") else cls(1, 12, 36, 24)

    def memory(self, longest_run: int) -> int:
        """How many periods before a period its mark may depend on."""
        return _PASSES * (self.long + self.season + longest_run + 1)
