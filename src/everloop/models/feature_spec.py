"""Which features a panel gives: settled once from the training panel, kept with the model, the same for every use."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from everloop.core.frequency import Frequency
from everloop.data.panel import Panel
from everloop.models.neighbours import event_columns, flag_columns

__all__ = ["SEASONAL_LAGS", "SEASONAL_MEANS", "FeatureSpec"]

# Windows that a season's multiples do not give well, by unit: about a week, a month, a quarter and a half year.
_WINDOWS = {"h": (24, 72, 168, 336), "d": (7, 14, 28, 56, 182), "w": (4, 8, 13, 26, 52), "mo": (3, 6, 12, 24)}
SEASONAL_LAGS = 3
SEASONAL_MEANS = (4, 8)
_FEW_CODES = 50
_SERIES_PER_CODE = 20
"""A text that fewer series share, of many, names the series rather than describes them: trees learn it by heart."""


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """Which features there are; made once from a training panel, and kept with the model.

    Attributes:
        season: the length of the season in steps.
        windows: lengths of the trailing windows in steps, rising.
        known: known-ahead columns that are numbers.
        known_codes: known-ahead columns that are codes of texts.
        observed: observed columns.
        static: static columns that are numbers.
        static_codes: static columns that are codes.
        calendar: parts of the target's date.
        keys: series columns that many series share, such as the store, with their values in sorted order.
        events: those of ``known_codes`` whose neighbourhood counts.
        flags: those of ``known`` that are switched on and off.
        horizon: the longest step of a row, and how far ahead of its origin it may know what is known ahead.
    """

    season: int
    windows: tuple[int, ...]
    known: tuple[str, ...] = ()
    known_codes: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    static_codes: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    keys: tuple[tuple[str, tuple[str, ...]], ...] = ()
    events: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    horizon: int = 1

    @classmethod
    def of(cls, panel: Panel, horizon: int = 1, *, neighbours: bool = False) -> FeatureSpec:
        """The features that a panel's frequency and columns give.

        Args:
            panel: the series.
            horizon: the longest step of a row.
            neighbours: whether events and switches near a target are features too.
        """
        frequency = panel.frequency
        season = frequency.season
        windows = _WINDOWS.get(frequency.unit) if frequency.count == 1 else None
        coded = set(panel.categories)
        return cls(
            season=season,
            windows=windows or tuple(max(2, season) * each for each in (1, 2, 4, 8)),
            known=tuple(sorted(set(panel.known) - coded)),
            known_codes=tuple(sorted(set(panel.known) & coded)),
            observed=tuple(sorted(panel.observed)),
            static=tuple(sorted(set(panel.static) - coded)),
            static_codes=tuple(name for name in sorted(set(panel.static) & coded) if _describes(panel, name)),
            calendar=_calendar_parts(frequency),
            keys=_shared_keys(panel),
            events=event_columns(panel) if neighbours else (),
            flags=flag_columns(panel) if neighbours else (),
            horizon=horizon,
        )

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> FeatureSpec:
        """What :meth:`to_json` gave."""
        fields: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in tree.items()}
        keys = tuple((name, tuple(values)) for name, values in fields.pop("keys", ()))
        return cls(**fields, keys=keys)

    def to_json(self) -> dict[str, Any]:
        """The specification as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def memory(self) -> int:
        """How many trailing periods of a series its features depend on."""
        return max(self.windows[-1], self.season * max(*SEASONAL_MEANS, SEASONAL_LAGS))

    @property
    def middle(self) -> int:
        """The window of the deviation, the share of zeros and the usual level of a covariate."""
        return self.windows[min(2, len(self.windows) - 1)]

    @property
    def names(self) -> list[str]:
        """The features' names, in the order of the columns."""
        return [
            "step",
            "scale",
            *(f"mean_{window}" for window in self.windows),
            *(f"seasonal_lag_{which}" for which in range(1, SEASONAL_LAGS + 1)),
            *(f"seasonal_mean_{terms}" for terms in SEASONAL_MEANS),
            *("last", "deviation", "zero_share", "zero_share_long", "since_sale", "observations"),
            *(f"calendar_{part}" for part in self.calendar),
            *(f"known_{name}{suffix}" for name in self.known for suffix in ("", "_to_usual", "_to_last")),
            *(f"known_{name}" for name in self.known_codes),
            *(f"known_{name}{part}" for name in self.events for part in ("_next_in", "_next", "_last_ago", "_last")),
            *(f"known_{name}{part}" for name in self.flags for part in ("_changes_in", "_changed_ago")),
            *(f"observed_{name}{suffix}" for name in self.observed for suffix in ("", "_usual")),
            *(f"static_{name}" for name in (*self.static, *self.static_codes)),
            *(f"key_{name}" for name, _ in self.keys),
        ]

    @property
    def code_positions(self) -> list[int]:
        """The columns that hold codes of texts."""
        codes = {f"known_{name}" for name in self.known_codes} | {f"static_{name}" for name in self.static_codes}
        codes |= {f"known_{name}{part}" for name in self.events for part in ("_next", "_last")}
        codes |= {f"key_{name}" for name, _ in self.keys}
        return [position for position, name in enumerate(self.names) if name in codes]


def _describes(panel: Panel, name: str) -> bool:
    """Whether a static text says what kind of series one is, and not which."""
    codes = panel.static[name]
    values = len(np.unique(codes[~np.isnan(codes)]))
    return values <= _FEW_CODES or panel.n_series >= _SERIES_PER_CODE * values


def _shared_keys(panel: Panel) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The series columns whose values many series share, with these values."""
    columns = zip(panel.series_columns, zip(*panel.keys, strict=True), strict=True) if panel.keys else ()
    found = ((name, tuple(sorted(Counter(values)))) for name, values in columns if name not in panel.static)
    return tuple((name, values) for name, values in found if 1 < len(values) <= panel.n_series // _SERIES_PER_CODE)


def _calendar_parts(frequency: Frequency) -> tuple[str, ...]:
    unit = frequency.unit
    if unit in ("s", "min", "h"):
        return ("hour", "weekday", "monthday", "month")
    if unit == "d":
        return ("weekday", "monthday", "week", "month")
    return {"w": ("week", "month"), "mo": ("month",), "q": ("quarter",)}.get(unit, ())
