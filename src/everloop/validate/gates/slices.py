"""The gate on slices: no store, department or the like for which the candidate is plainly worse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from everloop.data.panel import Panel
from everloop.validate.backtest import Backtest
from everloop.validate.gates.pairing import Clusters, saving
from everloop.validate.gates.result import GateResult
from everloop.validate.scores import slice_values

__all__ = ["SliceRule", "worst_slice"]

_MOST_VALUES = 50
_LEAST_SERIES = 5
_SHOWN = 5
_NAMED = 3


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


@dataclass(frozen=True, slots=True)
class SliceRule:
    """How slices are judged.

    Attributes:
        metric: what is compared.
        margin: by which share a slice may be worse.
        alpha: the error bound over all slices.
        columns: whose values make the slices; by default those of at most 50 values that a series is told by.
    """

    metric: str
    margin: float
    alpha: float
    columns: Sequence[str] = ()


def worst_slice(mine: Backtest, other: Backtest, panel: Panel, rule: SliceRule, *, rival: str) -> GateResult:
    """No slice is worse than the rival by more than the margin, beyond chance over all slices together.

    Each slice is tested for being worse by more than the margin, clustered by series, at one look; the p-values are
    adjusted by Holm (1979), so that an equal candidate fails with probability at most ``alpha``.

    Args:
        mine: the candidate's backtest.
        other: the champion's, or the baseline's.
        panel: the data.
        rule: what is compared, and how.
        rival: whose the other is, for the message.
    """
    tested = sorted(_tested(mine, other, panel, rule), key=lambda each: (each.p, each.column, each.value))
    if not tested:
        return GateResult("G_SLICE", "worst_slice", True, "warning", "there is no slice to compare", {"slices": 0})
    adjusted = _holm([each.p for each in tested])
    bad = [each for each, p in zip(tested, adjusted, strict=True) if p <= rule.alpha]
    evidence = {
        "rival": rival,
        "metric": rule.metric,
        "margin": rule.margin,
        "alpha": rule.alpha,
        "slices": len(tested),
        "worst": [each.to_dict(adjusted=p) for each, p in zip(tested[:_SHOWN], adjusted, strict=False)],
    }
    message = _message(tested, bad, rule.margin, rival)
    return GateResult("G_SLICE", "worst_slice", not bad, "warning", message, evidence)


def _tested(mine: Backtest, other: Backtest, panel: Panel, rule: SliceRule) -> Iterator[_Slice]:
    """Every slice of enough series with its p-value for being worse by more than the margin."""
    everybody = Clusters("series", np.arange(panel.n_series), tuple(map(str, range(panel.n_series))))
    for column in rule.columns or _usual(panel):
        codes, values = slice_values(panel, column)
        for code, value in enumerate(values):
            member = codes == code
            if member.sum() < _LEAST_SERIES:
                continue
            found = saving(mine, other, everybody, metric=rule.metric, alpha=rule.alpha, where=member)
            if found is None or found.value is None or not found.deviation > 0 or found.lower is None:
                continue
            score = (found.value + rule.margin) / found.deviation
            p = float(special.stdtr(max(found.worth - 1, 1.0), score))
            yield _Slice(column, value, found.value, int(member.sum()), p)


def _holm(ordered: Sequence[float]) -> list[float]:
    """P-values adjusted for being looked at together (Holm 1979), from the smallest to the largest.

    >>> _holm([0.01, 0.02, 0.9])
    [0.03, 0.04, 0.9]
    """
    scaled = [p * (len(ordered) - place) for place, p in enumerate(ordered)]
    return [float(each) for each in np.minimum(np.maximum.accumulate(scaled), 1.0)]


def _message(tested: Sequence[_Slice], bad: Sequence[_Slice], margin: float, rival: str) -> str:
    if not bad:
        return (
            f"no slice of {len(tested)} is plainly worse than {rival} by more than {margin:.0%}; nearest to it is "
            f"{tested[0].column} {tested[0].value} with {-tested[0].effect:+.1%}"
        )
    shown = "; ".join(f"{each.column} {each.value} {-each.effect:+.1%}" for each in bad[:_NAMED])
    more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    return f"plainly worse than {rival} by more than {margin:.0%} for {shown}{more}"


def _usual(panel: Panel) -> list[str]:
    """Columns with between two and fifty values."""
    found = []
    for column in (*panel.series_columns, *panel.categories):
        if column in panel.series_columns or column in panel.static:
            codes, values = slice_values(panel, column)
            if 2 <= len(values) <= _MOST_VALUES and len(codes):
                found.append(column)
    return found
