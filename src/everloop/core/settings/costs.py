"""What an order that is too large or too small costs, and for how long an order has to last."""

from __future__ import annotations

import re
from dataclasses import dataclass

from everloop.core.settings.section import Section, key

__all__ = ["CostSettings", "UnitCost"]

_FORM = re.compile(r"\s*(?P<factor>[0-9.eE+-]+)(?:\s+(?P<column>\S(?:.*\S)?))?\s*")


@dataclass(frozen=True, slots=True)
class UnitCost:
    """What one unit costs: money, or a multiple of a column.

    Attributes:
        factor: above zero; money where there is no column.
        column: a column of numbers, such as the price; empty for none.
    """

    factor: float
    column: str = ""

    @classmethod
    def parse(cls, said: float | str) -> UnitCost:
        """What a setting means.

        Raises:
            ValueError: it has no known form, or is not above zero.

        >>> UnitCost.parse(0.25), UnitCost.parse("0.4 price")
        (UnitCost(factor=0.25, column=''), UnitCost(factor=0.4, column='price'))
        """
        found = _FORM.fullmatch(str(said))
        try:
            factor = float(found["factor"]) if found else float("nan")
        except ValueError:
            factor = float("nan")
        if found is None or not 0 < factor < float("inf"):
            raise ValueError("expected money above zero, or a multiple of a column such as '0.4 price'")
        return cls(factor, found["column"] or "")


def _cost(said: float | str) -> float | str:
    if said != 0:
        UnitCost.parse(said)
    return said


class CostSettings(Section):
    """What an order's error costs.

    With both costs set, backtests give the money that orders by a candidate's forecasts would have lost, and
    ``everloop order`` tells how much to order.
    """

    overstock: float | str = key(
        0.0,
        unit="money per unit",
        help="What one unit too many costs at the end of the periods (holding, markdown, waste): a number, or a "
        "multiple of a column of numbers, such as '0.1 price'; 0 means that it is not known.",
        check=_cost,
    )
    stockout: float | str = key(
        0.0,
        unit="money per unit",
        help="What one unit too few costs (the margin, and what a lost customer is worth), likewise.",
        check=_cost,
    )
    periods: int = key(
        0,
        unit="steps",
        help="How long an order has to last: the time until it arrives and the time until the next one arrives; 0 "
        "means a season, or the horizon where that is shorter.",
        ge=0,
    )
    pack: float = key(1.0, unit="units", help="Orders are multiples of this.", gt=0)
    currency: str = key("", help="What the money is called in reports, such as 'EUR'.")

    @property
    def is_set(self) -> bool:
        """Whether orders have a cost."""
        return self.overstock != 0 and self.stockout != 0

    def _check(self) -> None:
        if (self.overstock != 0) != (self.stockout != 0):
            one, other = ("stockout", "overstock") if self.overstock == 0 else ("overstock", "stockout")
            raise ValueError(f"costs.{one} needs costs.{other} too: an order weighs one against the other")
