"""The table and the claims of a run."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median
from typing import Any, Final

from measuring.claims import claim_of_rounds, paired
from measuring.machine import describe_machine
from serving.rounds import Measured, Pace

__all__ = ["CASES", "results_of"]


class _Cases:
    """The loads, as the table names them."""

    many: Final = "1 row, 32 connections"
    single: Final = "1 row, 1 connection"
    hundred: Final = "100 rows, 4 connections"
    hundred_binary: Final = "100 rows in binary, 4 connections"
    same_size: Final = "as large an answer as a forecast, 32 connections"
    workers: Final = "1 row, 32 connections, not pinned"


CASES = _Cases()
_NOTES = [
    "Each server's application is on one core, wrk on the other; keep-alive; 256 requests in turn, JSON.",
    "Numbers in requests have six decimals, so bodies are shorter than with all digits; this helps the fast most.",
    "LightGBM uses one thread everywhere: on one core more make every server slower.",
    "Ours names the unit of the split in a header, so its requests are some 30 bytes longer than the others'.",
    "The log is SQLite on the same disk; log.fsync = false, the default, unless said otherwise: an answer then "
    "survives the end of the server, but not a loss of power.",
    "MLServer is measured as it comes and with parallel_workers=0; a claim against it counts the better of the two.",
    "BentoML, LitServe, FastAPI and Ray Serve run the applications in benchmarks/serving/peers, without batching.",
    "Ready is the first good prediction. Memory is that of all of a server's processes, shared pages counted by each; "
    "pss_mb counts them once.",
    "busy_elsewhere: cores that neither server nor wrk kept busy; above 0.1 the figures are not to be trusted.",
]
_PACKAGES = ("everloop", "lightgbm", "uvicorn", "uvloop", "httptools", "msgspec", "sqlalchemy", "numpy")
_MLSERVERS = ("mlserver", "mlserver tuned")


def results_of(measured: Measured, pace: Pace, load_before: float) -> dict[str, Any]:
    """What is written: machine, versions, table and claims."""
    return {
        "machine": describe_machine(load_before),
        "versions": {name: version(name) for name in _PACKAGES}
        | {"python": platform.python_version()}
        | dict(sorted(measured.versions.items())),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": pace.rounds,
        "round_seconds": pace.seconds,
        "notes": _NOTES,
        "skipped": measured.skipped,
        "table": _table(measured),
        "figures": {name: round(median(values), 3) for name, values in sorted(measured.figures.items())},
        "claims": [*_speed_claims(measured), *_latency_claims(measured), *_other_claims(measured)],
    }


def _table(measured: Measured) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for (case, server), loads in measured.loads.items():
        rows.append(
            {
                "what": server,
                "case": case,
                "rounds": len(loads),
                "per_second": round(median(each.per_second for each in loads)),
                "p50_us": round(median(each.p50_us for each in loads)),
                "p99_us": round(median(each.p99_us for each in loads)),
                "server_cpu_us": round(median(each.server_cpu_us for each in loads), 1),
                "errors": sum(each.errors for each in loads),
                "busy_elsewhere": round(max(each.busy_elsewhere for each in loads), 2),
            }
        )
    for server, seconds in measured.ready.items():
        memory = measured.memory[server]
        rows.append(
            {
                "what": server,
                "case": "start",
                "starts": len(seconds),
                "ready_seconds": round(median(seconds), 3),
                "rss_mb": round(median(resident for resident, _ in memory), 1),
                "pss_mb": round(median(shared for _, shared in memory), 1),
                "note": measured.notes.get(server, ""),
            }
        )
    return rows


def _speed_claims(measured: Measured) -> list[dict[str, Any]]:
    own = measured.per_second(CASES.many, "everloop")
    mlserver = _better(measured)
    claims = [
        _ratio("serving.bare", "answers a second, of the bare application's", own,
               measured.per_second(CASES.many, "bare"), 0.7),
    ]  # fmt: skip
    for name, peer, target in (
        ("serving.mlserver", mlserver, 5.0),
        ("serving.bentoml", "bentoml", 14.0),
        ("serving.mlflow", "mlflow", 45.0),
    ):
        values = measured.per_second(CASES.many, peer)
        claims.append(_ratio(name, f"answers a second, times {peer}'s", own, values, target))
    forecasts = measured.per_second(CASES.many, "everloop, forecasts")
    claims += [
        _ratio("serving.snapshot", "forecasts a second, of the constant answer's", forecasts,
               measured.per_second(CASES.many, "constant"), 0.6),
        _ratio("serving.workers", "two workers' answers a second, of one worker's",
               *_of_workers(measured, "everloop"), 1.7, note=_workers_note(measured)),
    ]  # fmt: skip
    return claims


def _of_workers(measured: Measured, name: str) -> tuple[list[float], list[float]]:
    """Answers a second with two workers and with one."""
    two, one = (measured.per_second(CASES.workers, f"{name}, {ending}") for ending in ("2 workers", "1 worker"))
    return two, one


def _workers_note(measured: Measured) -> str:
    """What the same two cores allow: the time that wrk leaves on them, and servers that store nothing."""
    found = []
    loads = measured.loads.get((CASES.workers, "everloop, 1 worker"), [])
    if loads:
        room = median(2 * each.server_cpu_us / (each.server_cpu_us + each.client_cpu_us) for each in loads)
        found.append(f"wrk's CPU time leaves room for {room:.2f}x")
    for name, what in (("bare", "the bare application"), ("constant", "the constant answer")):
        ratios = paired(*_of_workers(measured, name))
        if ratios:
            found.append(f"{what} gains {median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})")
    return "; ".join(["both cores, which wrk needs too", *found])


def _latency_claims(measured: Measured) -> list[dict[str, Any]]:
    own, bare = (measured.loads.get((CASES.single, name), []) for name in ("everloop", "bare"))
    added = [ours.p50_us - theirs.p50_us for ours, theirs in zip(own, bare, strict=False)]
    many = {name: measured.loads.get((CASES.many, name), []) for name in ("everloop", *_MLSERVERS)}
    tails = {name: [each.p99_us for each in loads] for name, loads in many.items()}
    calmest = min(
        (name for name in _MLSERVERS if tails[name]), key=lambda name: median(tails[name]), default="mlserver"
    )
    json, binary = (
        [1e6 / each.per_second for each in measured.loads.get((case, "everloop"), [])]
        for case in (CASES.hundred, CASES.hundred_binary)
    )
    boosters = measured.figures.get("two boosters in turn, 100 rows", [])
    how = "time from answers a second under load; the boosters of the two releases in turn, in the faster of two ways"
    return [
        claim_of_rounds("serving.added_latency", "added over the bare application at the median, one connection",
                        "us", 150.0, added, is_most=True),
        _ratio("serving.p99", f"99th percentile of the latency, of {calmest}'s", tails["everloop"], tails[calmest],
               0.5, is_most=True),
        _ratio("serving.hundred_rows", "time of a request of 100 rows in JSON, of the boosters' own time", json,
               boosters, 1.05, is_most=True, note=how),
        _ratio("serving.hundred_binary", "time of a request of 100 rows in binary, of the boosters' own time", binary,
               boosters, 1.05, is_most=True, note=how),
    ]  # fmt: skip


def _other_claims(measured: Measured) -> list[dict[str, Any]]:
    own = measured.ready.get("everloop", [])
    found = [name for name in _MLSERVERS if measured.ready.get(name)]
    soonest = min(found, key=lambda name: median(measured.ready[name]), default="mlserver")
    cost = measured.figures.get("metrics, us", [])
    cpu = [each.server_cpu_us for each in measured.loads.get((CASES.many, "everloop"), [])]
    return [
        _ratio("serving.ready_mlserver", f"time until ready, of {soonest}'s", own, measured.ready.get(soonest, []),
               0.25, is_most=True),
        _ratio("serving.ready_mlserver_default", "time until ready, of mlserver's as it comes", own,
               measured.ready.get("mlserver", []), 0.25, is_most=True),
        _ratio("serving.ready_mlflow", "time until ready, of mlflow's", own, measured.ready.get("mlflow", []), 0.1,
               is_most=True),
        claim_of_rounds("serving.memory", "resident memory of the first worker when it is ready", "MB", 120.0,
                        [resident for resident, _ in measured.memory.get("everloop", [])], is_most=True),
        claim_of_rounds("serving.metrics", "cost of the metrics, of a request's CPU time", "%", 5.0,
                        [100 * cost[0] / each for each in cpu] if cost else [], is_most=True,
                        note="calls counted on the hot way, each timed alone"),
    ]  # fmt: skip


def _better(measured: Measured) -> str:
    """Which MLServer answers more."""
    found = [name for name in _MLSERVERS if measured.per_second(CASES.many, name)]
    return max(found, key=lambda name: median(measured.per_second(CASES.many, name)), default="mlserver")


def _ratio(
    name: str,
    claim: str,
    over: Sequence[float],
    under: Sequence[float],
    target: float,
    *,
    is_most: bool = False,
    note: str = "",
) -> dict[str, Any]:
    return claim_of_rounds(name, claim, "x", target, paired(over, under), is_most=is_most, note=note)
