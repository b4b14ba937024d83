"""What of the observed sales is no demand, and what becomes of it."""

from __future__ import annotations

from typing import Literal

from everloop.core.settings.section import Section, key

__all__ = ["CleaningSettings", "Treatment"]

Treatment = Literal["leave_out", "impute", "keep"]


class CleaningSettings(Section):
    """Which periods are marked as no true picture of demand; see each with ``everloop marks``.

    ``leave_out``: neither learnt from nor scored; ``impute``: the usual level is learnt in its place, and it is not
    scored; ``keep``: shown, and treated like any other period.
    """

    stock_column: str = key(
        "", help="The stock on hand (or a true/false column 'in stock'): at zero or below, the period is a stock-out."
    )
    stock_outs: Treatment = key("leave_out", help="What becomes of the stock-outs that `stock_column` tells.")
    inferred_stock_outs: Treatment = key(
        "keep", help="What becomes of runs of zeros that are too long to be chance, where no stock is told."
    )
    false_runs: float = key(
        1.0,
        unit="runs per million series and periods",
        help="How many runs of zeros may be taken for stock-outs though demand was as before.",
        gt=0,
        le=1000,
    )
    longest_run: int = key(
        60, unit="steps", help="After so many periods a run of zeros is an article that is sold no more.", ge=4, le=1000
    )
    closed_days: Treatment = key("keep", help="What becomes of days on which a whole store sold next to nothing.")
    store: str = key("", help="The series or static column that names a store; empty: all series are one store.")
    returns: Treatment = key(
        "keep", help="What becomes of sales below zero, where `data.contract.negative_target` accepts them."
    )
    outliers: Treatment = key("keep", help="What becomes of single periods with sales far beyond the series' own.")
    price: str = key("", help="The price column to look for errors in; empty: prices are not looked at.")
    price_errors: Treatment = key(
        "keep", help="What becomes of an isolated wrong price: unknown, the price before it, or as it is."
    )
    price_factor: float = key(
        3.0, unit="times", help="How far a price must lie from the one before and after it to be an error.", gt=1
    )

    @property
    def is_active(self) -> bool:
        """Whether anything that may be found is treated otherwise than any other period."""
        found = [self.inferred_stock_outs, self.closed_days, self.returns, self.outliers]
        if self.stock_column:
            found.append(self.stock_outs)
        if self.price:
            found.append(self.price_errors)
        return any(each != "keep" for each in found)
