"""What is forecast, what is trained, and what a candidate must show before release."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from everloop.core.settings.section import Section, key, table

__all__ = ["ForecastSettings", "GateSettings", "TrainSettings", "ValidateSettings"]


class ForecastSettings(Section):
    """What is forecast."""

    horizon: int = key(28, unit="steps", help="How far ahead a forecast reaches.", ge=1, le=1000)
    levels: list[Annotated[float, Meta(gt=0, lt=100)]] = key(
        [80, 95], unit="percent", help="The levels of the prediction intervals."
    )
    adapt_intervals: bool = key(
        True, help="Whether the intervals of a release are widened or narrowed by what came true since."
    )
    reconcile: Literal["bottom_up", "wls_struct", "wls_var", "mint_shrink"] = key(
        "bottom_up",
        help="How totals are had: as sums of the series (bottom_up), or by forecasting those of `forecast.totals` too "
        "and making both agree, weighted by members (wls_struct), past errors (wls_var) or these and their "
        "correlations (mint_shrink).",
    )
    totals: list[list[str]] = key(
        [],
        help="The totals that are forecast themselves, each level by its series or static columns; [] is the total of "
        "everything.",
    )
    totals_candidate: str = key("lightgbm", help="Which forecaster forecasts these totals.", min_length=1)

    def _check(self) -> None:
        if self.reconcile != "bottom_up" and not self.totals:
            raise ValueError(
                f"forecast.reconcile = {self.reconcile!r} needs forecast.totals, such as [[], ['store_id']]"
            )


class TrainSettings(Section):
    """What is tried."""

    candidates: list[str] = key(
        ["seasonal_naive", "statistical", "lightgbm", "ensemble"],
        help="The forecasters to try: built-in names, or 'module:Class' for your own.",
        min_length=1,
    )
    options: dict[str, dict[str, Any]] = key({}, help="Constructor parameters by candidate name.")
    history: int = key(0, unit="steps", help="How much of the past is read for training; 0 means all.", ge=0)
    threads: int = key(0, unit="threads", help="Threads used in training; 0 means all cores.", ge=0)


class GateSettings(Section):
    """What a candidate must show before it may be released."""

    min_skill: float = key(
        0.0, unit="share", help="Least improvement of the metric over the seasonal naive (0.05 means 5 % better)."
    )
    champion_margin: float = key(
        0.02, unit="share", help="How much worse than the champion's metric a candidate may be.", ge=0
    )
    max_bias: float = key(0.15, unit="share of actual sales", help="Largest absolute bias over all windows.", ge=0)
    coverage_tolerance: float = key(
        0.08, unit="share", help="How far an interval's coverage may lie from its level (0.08 means 8 points).", ge=0
    )
    slice_margin: float = key(
        0.05, unit="share", help="How much worse than the champion a store, department or the like may be.", ge=0
    )
    alpha: float = key(
        0.05, unit="probability", help="Bound on failing a candidate that is as good as the champion.", gt=0, lt=0.5
    )
    max_latency_ms: float = key(
        0.0,
        unit="milliseconds",
        help="The longest that 95 % of a release's requests for one series or row may take in a fresh process, without "
        "the network; 0 means any time.",
        ge=0,
    )
    max_memory_mb: float = key(
        0.0,
        unit="megabytes",
        help="The most memory that a fresh process may hold which serves the release alone; 0 means any amount.",
        ge=0,
    )
    waive: dict[str, str] = key(
        {},
        help="Failures that are let pass: a gate's name or code, and the reason, which stays with the release.",
    )


class ValidateSettings(Section):
    """How a candidate is examined: a rolling-origin backtest, then gates."""

    windows: int = key(3, unit="windows", help="How many windows the backtest has.", ge=1)
    step: int = key(0, unit="steps", help="The distance between two windows' cutoffs; 0 means the horizon.", ge=0)
    mode: Literal["refit", "update"] = key(
        "refit", help="At each cutoff: fit anew, or fit at the first cutoff and update with the rows that came since."
    )
    metric: Literal["wape", "mase", "rmsse", "pinball", "wrmsse", "wspl", "cost"] = key(
        "wape", help="The metric that ranks candidates; 'wrmsse' and 'wspl' need `validate.sums`, 'cost' `[costs]`."
    )
    tie: float = key(
        0.02,
        unit="share",
        help="Candidates whose WAPE, MASE or RMSSE is so close to the best one's are ranked by the error of their "
        "totals instead; 0 ranks by the metric alone.",
        ge=0,
        lt=1,
    )
    sums: list[list[str]] = key(
        [],
        help="The levels of WRMSSE and WSPL, each by the series or static columns whose values are summed; [] is the "
        "total, all series columns are the series themselves.",
    )
    worth: str = key(
        "",
        help="A column of numbers, such as the price: a series weighs in both by its target times this over the last "
        "horizon; empty means by the target alone.",
    )
    slices: list[str] = key([], help="Static or series columns by whose values the metrics are also given.")
    gates: GateSettings = table(GateSettings)

    def _check(self) -> None:
        if self.metric in ("wrmsse", "wspl") and not self.sums:
            raise ValueError(f"validate.metric = {self.metric!r} needs validate.sums, such as [[], ['store_id']]")
        if self.metric == "wspl" and self.windows < 3:
            raise ValueError(
                "validate.metric = 'wspl' needs validate.windows = 3 or more: sums learn from other windows"
            )
