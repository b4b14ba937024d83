"""The gate on slices: no store, department or the like for which the candidate is plainly worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from everloop.data.panel import Panel
from everloop.validate.backtest import Backtest
from everloop.validate.gates.pairing import Clusters, saving
from everloop.validate.gates.result import GateResult
from everloop.validate.scores import slice_values

__all__ = ["worst_slice"]

_MOST_VALUES = 50
_LEAST_SERIES = 5


@dataclass(frozen=True, slots=True)
class _Slice:
    column: str
    value: str
    effect: float
    series: int
    p: float

    def to_dict(self, *, adjusted: float) -> dict[str, Any]:
        return {
            "column": self.column,
            "value": self.value,
            "worse": -self.effect,
            "series": self.series,
            "p": self.p,
            "adjusted_p": adjusted,
        }


def worst_slice(
    mine: Backtest,
    other: Backtest,
    panel: Panel,
    *,
    rival: str,
    metric: str,
    margin: float,
    alpha: float,
    columns: Sequence[str] = (),
) -> GateResult:
    """No slice is worse than the rival by more than the margin, beyond chance over all slices together.

    Each slice is tested for being worse by more than the margin, clustered by series, at one look; the p-values are
    adjusted by Holm (1979), so that an equal candidate fails with probability at most ``alpha``.

    Args:
        mine: the candidate's backtest.
        other: the champion's, or the baseline's.
        panel: the data.
        rival: whose the other is, for the message.
        metric: what is compared.
        margin: by which share a slice may be worse.
        alpha: the error bound over all slices.
        columns: whose values make the slices; by default those of at most 50 values that a series is told by.
    """  # fmt: skip
    everybody = Clusters("series", np.arange(panel.n_series), tuple(map(str, range(panel.n_series))))
    tested: list[_Slice] = []
    for column in columns or _usual(panel):
        codes, values = slice_values(panel, column)
        for code, value in enumerate(values):
            member = codes == code
            if member.sum() < _LEAST_SERIES:
                continue
            found = saving(mine, other, everybody, metric=metric, alpha=alpha, where=member)
            if found is None or found.value is None or not found.deviation > 0 or found.lower is None:
                continue
            score = (found.value + margin) / found.deviation
            p = float(special.stdtr(max(found.worth - 1, 1.0), score))
            tested.append(_Slice(column, value, found.value, int(member.sum()), p))
    if not tested:
        return GateResult("G_SLICE", "worst_slice", True, "warning", "there is no slice to compare", {"slices": 0})
    order = sorted(tested, key=lambda each: (each.p, each.column, each.value))
    adjusted = np.minimum(np.maximum.accumulate([each.p * (len(order) - n) for n, each in enumerate(order)]), 1.0)
    bad = [each for each, p in zip(order, adjusted, strict=True) if p <= alpha]
    first = order[0]
    evidence = {
        "rival": rival,
        "metric": metric,
        "margin": margin,
        "alpha": alpha,
        "slices": len(order),
        "worst": [each.to_dict(adjusted=float(p)) for each, p in list(zip(order, adjusted, strict=True))[:5]],
    }
    if bad:
        shown = "; ".join(f"{each.column} {each.value} {-each.effect:+.1%}" for each in bad[:3])
        message = f"plainly worse than {rival} by more than {margin:.0%} for {shown}"
        message += f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    else:
        message = (
            f"no slice of {len(order)} is plainly worse than {rival} by more than {margin:.0%}; nearest to it is "
            f"{first.column} {first.value} with {-first.effect:+.1%}"
        )
    return GateResult("G_SLICE", "worst_slice", not bad, "warning", message, evidence)


def _usual(panel: Panel) -> list[str]:
    """Columns with between two and fifty values."""
    found = []
    for column in (*panel.series_columns, *panel.categories):
        if column in panel.series_columns or column in panel.static:
            codes, values = slice_values(panel, column)
            if 2 <= len(values) <= _MOST_VALUES and len(codes):
                found.append(column)
    return found
