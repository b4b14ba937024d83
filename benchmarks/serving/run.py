"""How fast a LightGBM model is served: ours beside a bare application, and beside the servers that people use.

The model has 500 trees of 63 leaves over 30 features. Every server is started with all others in one run, held to the
booster's own answers, pinned to one core, and loaded by ``wrk`` on the other, in short rounds in turn: a busy moment
of the machine meets all alike. While one is measured, the others stand still (SIGSTOP). Figures are medians of the
rounds; a claim's interval is the lowest and the highest of the rounds' paired ratios.

Ours has everything on: the signature's validation, each prediction stored before its answer is sent, a split of the
traffic between two releases, and metrics. It needs ``wrk`` (apt-get install wrk). Peers get environments of their own
below ~/.cache/everloop-benchmarks; what cannot be installed is left out, with the reason in the results.

    python benchmarks/serving/run.py [--quick] [--only ours,bare,constant]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from serving import contenders, ours  # the folder of all benchmarks is their common root
from serving.contenders import PEERS, Rows
from serving.load import find_wrk
from serving.model import Model, make_model, make_rows
from serving.report import CASES, results_of
from serving.rounds import SERVER_CORE, Measured, Pace, booster_microseconds, client_on_one_core, measure_starts
from serving.server import Contender, Server

RESULTS = Path(__file__).parents[1] / "results" / "serving.json"
OURS = ("ours", "fsync", "shadow", "forecasts", "workers", "metrics")
ALL = (*OURS, "bare", "constant", *PEERS)
QUICK = Pace(rounds=2, seconds=2, starts=0)
# servers that are asked over a single connection too, and those whose start is repeated
SINGLE = ("everloop", "bare", "mlserver tuned")
STARTED = ("everloop", "mlserver", "mlserver tuned", "mlflow")
THREADS_OF_TWO_WORKERS = 2


@dataclass
class Stage:
    """What the cases of one run share.

    Attributes:
        folder: for all files.
        wanted: the names that are measured.
        models: what the releases are made of; peers serve the first.
        adopted: our project.
        rows: what is asked.
        measured: what was measured.
        pace: how long is measured.
    """

    folder: Path
    wanted: Sequence[str]
    models: Sequence[Model]
    adopted: ours.Adopted
    rows: Rows
    measured: Measured
    pace: Pace


def main() -> int:
    """Measure, print, and write the results."""
    options = _options()
    find_wrk()
    load_before = os.getloadavg()[0]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # all run from compiled bytecode, as what has run once does
    with tempfile.TemporaryDirectory(prefix="everloop-serving-") as name:
        folder = Path(name)
        models = [make_model(seed) for seed in (1, 2)]
        stage = Stage(
            folder=folder,
            wanted=options.only,
            models=models,
            adopted=ours.adopt(folder / "project", models),
            rows=Rows(make_rows(256, 9), make_rows(1600, 10).reshape(16, 100, 30)),
            measured=Measured(),
            pace=options.pace,
        )
        with client_on_one_core():
            _measure_servers(stage)
            _measure_ray(stage)
        if "workers" in stage.wanted:
            _measure_workers(stage)
        if "metrics" in stage.wanted:
            _measure_metrics(stage)
    results = results_of(stage.measured, stage.pace, load_before)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    for claim in results["claims"]:
        word = "holds" if claim["holds"] else "FAILS"
        print(f"{word}: {claim['claim']}: {claim['measured']} {claim['interval']} (target {claim['target']})")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few and short rounds: some three minutes, rough figures")
    parser.add_argument("--only", default=",".join(ALL), help=f"names of {', '.join(ALL)}; the results are not written")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of a round at 32 connections")
    parser.add_argument("--starts", type=int, default=4, help="how often the starts that are claimed are repeated")
    parser.add_argument("--out", type=Path, help=f"where the results go, {RESULTS} by default")
    options = parser.parse_args()
    options.pace = QUICK if options.quick else Pace(options.rounds, options.seconds, options.starts)
    options.only = [each.strip() for each in options.only.split(",")]
    unknown = sorted(set(options.only) - set(ALL))
    if unknown:
        parser.error(f"--only: {', '.join(unknown)} is unknown; there are {', '.join(ALL)}")
    if options.out is None and not options.quick and set(options.only) == set(ALL):
        options.out = RESULTS
    return options


def _measure_servers(stage: Stage) -> None:
    """All servers with one core, in rounds; then the starts."""
    measured, pace = stage.measured, stage.pace
    with contextlib.ExitStack() as stack:
        servers = _started(stage, stack)
        for number in range(pace.rounds):
            turn = number * len(servers) // pace.rounds
            for server in servers[turn:] + servers[:turn]:
                server.go_on()
                server.load(server.contender.one, seconds=1, connections=32)
                _take_turn(stage, server)
                server.pause()
            if {"ours", "bare"} & set(stage.wanted):
                for name, models, rows in (
                    ("booster, 1 row", stage.models[:1], 1),
                    ("booster, 100 rows", stage.models[:1], 100),
                    ("two boosters in turn, 100 rows", stage.models, 100),
                ):
                    measured.figures[name].append(booster_microseconds(models, rows, pace.seconds / 3))
        again = [server.contender for server in servers if server.contender.name in STARTED]
    measure_starts(measured, again, pace.starts)


def _take_turn(stage: Stage, server: Server) -> None:
    measured, seconds, contender = stage.measured, stage.pace.seconds, server.contender
    stages = _stages(server)
    measured.ask(CASES.many, server, contender.one, seconds=seconds, connections=32)
    for name, (spent, count) in _stages(server).items():
        before = stages.get(name, (0.0, 0.0))
        if count > before[1]:
            measured.figures[f"stage {name}"].append((spent - before[0]) / (count - before[1]) * 1e6)
    if contender.name in SINGLE:
        measured.ask(CASES.single, server, contender.one, seconds=seconds / 2, connections=1)
        for case, requests in ((CASES.hundred, contender.hundred), (CASES.hundred_binary, contender.hundred_binary)):
            if requests is not None:
                measured.ask(case, server, requests, seconds=seconds / 2, connections=4)
    if contender.name == "constant" and "forecasts" in stage.wanted:
        same = contenders.get(["/file"])
        measured.ask(CASES.same_size, server, same, seconds=seconds / 2, connections=32)


def _stages(server: Server) -> dict[str, tuple[float, float]]:
    """What our server itself measured of its stages so far."""
    if server.contender.name != "everloop":
        return {}
    _, body, _ = server.ask(contenders.get(["/metrics"]), 0)
    return ours.stage_seconds(body.decode())


def _started(stage: Stage, stack: contextlib.ExitStack) -> list[Server]:
    """The servers that come up, those that are compared closely side by side."""
    servers: list[Server] = []
    own = {**stage.adopted.models, "": stage.models[0]}

    def start(contender: Contender) -> None:
        server = stage.measured.start(stack, contender, own, cores=SERVER_CORE)
        if server is not None:
            servers.append(server)

    answer = b""
    if "forecasts" in stage.wanted:
        forecasts = ours.forecast_contender(stage.folder / "forecasts")
        start(forecasts)
        if servers:
            servers[0].go_on()
            answer = servers[0].ask(forecasts.one, 0)[1]
            servers[0].pause()
    if "constant" in stage.wanted:
        start(contenders.constant(stage.folder, answer))
    if "bare" in stage.wanted:
        start(contenders.bare(stage.models[0], stage.rows))
    for contender in _own(stage):
        start(contender)
    for name in PEERS:
        if name in stage.wanted and PEERS[name].is_pausable:
            found = _peer(stage, name)
            if found is not None:
                start(found)
    return servers


def _own(stage: Stage) -> list[Contender]:
    """Our own servers of the model."""
    found = []
    if "ours" in stage.wanted:
        note = "everything on; log.fsync = false, as it comes"
        found.append(ours.contender("everloop", stage.adopted, stage.rows, note=note))
    if "fsync" in stage.wanted:
        again = ours.copied(stage.adopted, stage.folder / "fsync")
        flags = ("--set", "log.fsync=true")
        note = "the same with log.fsync = true: each commit waits for the disk"
        found.append(ours.contender("everloop, fsync", again, stage.rows, *flags, note=note))
    if "shadow" in stage.wanted:
        again = ours.copied(stage.adopted, stage.folder / "shadow")
        ours.shadow(again)
        note = "the same with the second release as challenger, which also answers a copy of the champion's requests"
        found.append(ours.contender("everloop, shadow", again, stage.rows, note=note))
    return found


def _peer(stage: Stage, name: str) -> Contender | None:
    folder = stage.folder / name.replace(" ", "-")
    contender, environment = contenders.peer(name, stage.models[0], stage.rows, folder)
    if contender is None:
        stage.measured.skipped[name] = environment.reason
        print(f"{name}: {environment.reason}", file=sys.stderr)
        return None
    package = name.partition(" ")[0]
    stage.measured.versions[package] = environment.versions.get(package, "")
    return contender


def _measure_ray(stage: Stage) -> None:
    """Peers that bear no standing still: alone, after the others."""
    for name, recipe in PEERS.items():
        if name not in stage.wanted or recipe.is_pausable:
            continue
        contender = _peer(stage, name)
        if contender is None:
            continue
        with contextlib.ExitStack() as stack:
            server = stage.measured.start(stack, contender, {"": stage.models[0]}, cores=SERVER_CORE)
            for _ in range(stage.pace.rounds if server is not None else 0):
                assert server is not None
                server.load(contender.one, seconds=1, connections=32)
                _take_turn(stage, server)


def _measure_workers(stage: Stage) -> None:
    """One worker and two, none pinned, with the load from the same two cores; beside them what the machine allows.

    How much the applications that store nothing gain by a second worker is what these two cores, which wrk needs too,
    allow anybody.
    """
    measured, pace = stage.measured, stage.pace
    with contextlib.ExitStack() as stack:
        servers = []
        for contender in _of_workers(stage):
            server = measured.start(stack, contender, {**stage.adopted.models, "": stage.models[0]}, cores="")
            if server is not None:
                servers.append(server)
        for number in range(pace.rounds):
            for server in servers[:: 1 if number % 2 else -1]:
                server.go_on()
                server.load(server.contender.one, seconds=1, connections=32)
                measured.ask(
                    CASES.workers, server, server.contender.one, seconds=pace.seconds, connections=32,
                    threads=THREADS_OF_TWO_WORKERS,
                )  # fmt: skip
                server.pause()


def _of_workers(stage: Stage) -> Iterator[Contender]:
    """Ours and the yardsticks, each with one worker and with two."""
    for workers in (1, 2):
        ending = f", {workers} worker{'s' if workers > 1 else ''}"
        note = f"not pinned; wrk has {THREADS_OF_TWO_WORKERS} threads on the same cores"
        flags = ("--workers", str(workers))
        again = ours.copied(stage.adopted, stage.folder / f"workers-{workers}")
        yield ours.contender(f"everloop{ending}", again, stage.rows, *flags, note=note)
        for yardstick in (contenders.bare(stage.models[0], stage.rows), contenders.constant(stage.folder)):
            command = [*yardstick.command, *flags]
            yield replace(yardstick, name=f"{yardstick.name}{ending}", command=command, note=note)


def _measure_metrics(stage: Stage) -> None:
    """What the metrics cost a request, in microseconds."""
    body = stage.folder / "body.json"
    body.write_bytes(contenders.v2_requests("/", stage.rows.one[:1, None, :]).bodies[0])
    project = ours.copied(stage.adopted, stage.folder / "metrics").folder
    command = ["taskset", "-c", SERVER_CORE, sys.executable, str(Path(__file__).with_name("metrics_cost.py"))]
    done = subprocess.run([*command, str(project), str(body)], check=True, stdout=subprocess.PIPE, timeout=300)
    found = json.loads(done.stdout)
    stage.measured.figures["metrics, us"].append(found["microseconds"])
    for name, count in found["calls"].items():
        stage.measured.figures[f"metrics, calls of {name}"].append(count)
    print(f"metrics: {found['microseconds']:.2f} us a request: {found['calls']}")


if __name__ == "__main__":
    sys.exit(main())
