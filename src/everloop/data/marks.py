"""Marks: which periods of a panel are no true picture of demand, since when that is known, and what becomes of them.

A mark holds only from the period on at which it could be known. A panel that is cut back to an earlier cutoff gets
the values back that were not suspect then, so nothing from after a cutoff reaches a model through its marks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "PRICE", "Marks", "treated"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

KINDS = ("closed_day", "stock_out", "inferred_stock_out", "return", "outlier", "price_error")
"""What a mark can say; of several about one target the first counts."""

PRICE = KINDS.index("price_error")
_SEASONS = 16
_NEEDED = 4


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of a panel, each about one period of one series; arrays of shape ``(marks,)``.

    Attributes:
        row: the place in the panel's flat arrays, rising.
        kind: the place in :data:`KINDS`.
        known_at: the grid index from which on the mark could be known.
        raw: the value as it was observed (the price, for a wrong price).
        treatments: what becomes of each kind: ``"leave_out"``, ``"impute"`` or ``"keep"``.
        price: the column that wrong prices stand in.
        looked_at: how many periods of all series were looked at.
    """

    row: Ints
    kind: NDArray[np.int8]
    known_at: Ints
    raw: Floats
    treatments: dict[str, str] = field(default_factory=dict)
    price: str = ""
    looked_at: int = 0

    def __len__(self) -> int:
        return len(self.row)

    def chosen(self, keep: NDArray[np.bool_], *, row: Ints | None = None) -> Marks:
        """Some of the marks; ``row`` are new places for all of them."""
        rows = self.row if row is None else row
        return replace(self, row=rows[keep], kind=self.kind[keep], known_at=self.known_at[keep], raw=self.raw[keep])

    def moved(self, rows: NDArray[np.bool_]) -> Marks:
        """The marks of a panel of which only some rows are kept."""
        return self.chosen(rows[self.row], row=np.cumsum(rows)[self.row] - 1)

    def has(self, treatment: str) -> NDArray[np.bool_]:
        """Which marks are treated so."""
        kinds = [place for place, kind in enumerate(KINDS) if self.treatments.get(kind, "keep") == treatment]
        return np.isin(self.kind, kinds)

    @property
    def unscored(self) -> Ints:
        """The rows whose targets no forecast is judged by."""
        return np.asarray(self.row[(self.kind != PRICE) & ~self.has("keep")])

    def counts(self) -> dict[str, int]:
        """How many periods each kind marks, kinds without any left out."""
        found = np.bincount(self.kind, minlength=len(KINDS)).tolist()
        return {kind: count for kind, count in zip(KINDS, found, strict=True) if count}

    def to_dict(self) -> dict[str, Any]:
        """What a run and a release keep of them, as JSON values."""
        shown = {kind: {"periods": count, "treatment": self.treatments[kind]} for kind, count in self.counts().items()}
        return {"looked_at": self.looked_at, "kinds": shown}


def treated(values: Floats, offsets: Ints, marks: Marks, season: int, *, prices: bool = False) -> Floats:
    """Targets (or prices) as a model learns from them; ``values`` are as they were observed.

    An imputed target is the mean of the up to four newest values of the same season's place that no mark touches, at
    most 16 seasons back, unknown where there is none; an imputed price is the last one that no mark touches. Both
    depend on earlier periods alone.
    """
    chosen = (marks.kind == PRICE) == prices
    is_out = chosen & marks.has("leave_out")
    is_imputed = chosen & marks.has("impute")
    if not (is_out.any() or is_imputed.any()):
        return values
    out = values.copy()
    out[marks.row[chosen & ~marks.has("keep")]] = np.nan
    rows = marks.row[is_imputed]
    starts = offsets[np.searchsorted(offsets, rows, side="right") - 1]
    out[rows] = _last_known(out, rows, starts) if prices else _usual(out, rows, starts, season)
    return out


def _usual(values: Floats, rows: Ints, starts: Ints, season: int) -> Floats:
    """The mean of the newest values one season, two seasons and so on before each row."""
    total, count = np.zeros(len(rows)), np.zeros(len(rows))
    for back in range(1, _SEASONS + 1):
        place = rows - back * season
        is_inside = place >= starts
        value = np.where(is_inside, values[np.where(is_inside, place, 0)], np.nan)
        is_used = np.isfinite(value) & (count < _NEEDED)
        total += np.where(is_used, value, 0.0)
        count += is_used
    with np.errstate(invalid="ignore"):
        return np.asarray(total / np.where(count > 0, count, np.nan), dtype=np.float32)


def _last_known(values: Floats, rows: Ints, starts: Ints) -> Floats:
    """The newest known value before each row, within the series."""
    places = np.flatnonzero(np.isfinite(values))
    before = np.searchsorted(places, rows) - 1
    found = np.where(before >= 0, places[np.maximum(before, 0)] if len(places) else -1, -1)
    return np.where(found >= starts, values[np.maximum(found, 0)], np.nan).astype(np.float32)
