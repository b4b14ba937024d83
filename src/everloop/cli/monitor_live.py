"""The part of ``everloop monitor`` that holds live errors to the release's expected ranges."""

from __future__ import annotations

from everloop.cli.output import percent, print_record, print_table, say
from everloop.monitor.ranges import LiveWatch, RangeRow
from everloop.store.events import Event

__all__ = ["draw_live"]

_NAMES = {"error": "daily WAPE", "bias": "bias", "coverage": "coverage", "estimate": "true / estimated"}
_SHOWN_DAYS = 5


def draw_live(watch: LiveWatch, rollbacks: list[Event]) -> None:
    """The ranges, what was seen and what is estimated ahead, as tables on stdout.

    Args:
        watch: the release against its ranges.
        rollbacks: the rollbacks so far, the newest last.
    """
    evidence = watch.evidence
    record = {"expected range": f"{evidence.verdict}: {evidence.reason}"}
    if watch.season:
        record["season"] = watch.season
    if watch.estimate is not None:
        record["without truth yet"] = watch.estimate.evidence.reason
    if watch.calibration is not None:
        record["such estimates"] = f"{watch.calibration.verdict}: {watch.calibration.reason}"
    if watch.partial:
        shown = ", ".join(watch.partial[-_SHOWN_DAYS:])
        record["not judged"] = f"{len(watch.partial)} days have a part of their truth only, such as {shown}"
    if rollbacks:
        record["last rollback"] = f"{rollbacks[-1].at:%Y-%m-%d}: {rollbacks[-1].message}"
    print_record(record)
    if watch.rows:
        ahead = {} if watch.estimate is None else {row.steps: row.wape for row in watch.estimate.rows}
        columns = (
            "steps ahead",
            "what",
            "days",
            "live",
            "expected",
            "range",
            "alarm beyond",
            "estimated ahead",
            "verdict",
        )
        print_table(columns, [_cells(row, ahead) for row in watch.rows])
    for warning in (*evidence.warnings, *(watch.estimate.evidence.warnings if watch.estimate else ())):
        say(f"warning: {warning}")


def _cells(row: RangeRow, ahead: dict[str, float]) -> tuple[object, ...]:
    def text(value: float | None) -> str:
        if value is None:
            return "-"
        return f"{value:.2f}" if row.kind == "estimate" else percent(value)

    verdict = row.verdict if row.since is None else f"{row.verdict} since {row.since}"
    estimate = percent(ahead.get(row.steps)) if row.kind == "error" else ""
    span, beyond = (
        " to ".join(text(each) for each in ends if each is not None) or "-"
        for ends in ((row.lower, row.upper), (row.alarm_below, row.alarm_above))
    )
    return (
        row.steps,
        _NAMES.get(row.kind, f"{row.kind} %"),
        row.days,
        text(row.live),
        text(row.center),
        span,
        beyond,
        estimate,
        verdict,
    )
