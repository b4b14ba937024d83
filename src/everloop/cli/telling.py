"""How steps of the loop are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from everloop.cli.output import percent
from everloop.loop.tick import TickReport

__all__ = ["describe", "step_as_json", "tell_step"]


def tell_step(report: TickReport, say: Callable[[str], None]) -> None:
    """A step in a few lines."""
    say(f"{report.at:%Y-%m-%d %H:%M}Z  {describe(report)}")
    for event in report.events:
        say(f"  {event.kind}: {event.message}")
    for stage, error in report.failures:
        say(f"  {stage} failed[{error.code}]: {error.message}")
        if error.hint:
            say(f"    hint: {error.hint}")


def describe(report: TickReport) -> str:
    """A step in a line."""
    if report.dataset is None:
        return "no data yet"
    parts = [f"dataset version {report.dataset.version}"]
    if report.live is not None and report.live.accuracy.wape is not None:
        accuracy = report.live.accuracy
        parts.append(f"live WAPE {percent(accuracy.wape)} (backtest {percent(accuracy.expected_wape)}, n={accuracy.n})")
    if report.predicted:
        parts.append(f"{report.predicted} batch{'' if report.predicted == 1 else 'es'} of forecasts")
    if not report.events and not report.predicted:
        parts.append("nothing was due")
    return ", ".join(parts)


def step_as_json(report: TickReport) -> dict[str, Any]:
    """A step as JSON values."""
    return {
        "at": report.at,
        "dataset": asdict(report.dataset) if report.dataset else None,
        "live": asdict(report.live.accuracy) if report.live else None,
        "decay": report.live.decay.to_dict() if report.live else None,
        "drift": report.drift.evidence.to_dict() if report.drift else None,
        "predicted": report.predicted,
        "events": [asdict(event) for event in report.events],
        "failures": [{"stage": stage, **error.to_dict()["error"]} for stage, error in report.failures],
    }
