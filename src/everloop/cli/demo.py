"""``everloop demo``: the whole loop on real sales."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from everloop.cli.demo_live import LiveDays, live_days
from everloop.cli.options import JsonOption
from everloop.cli.output import number, percent, print_json, print_record, print_table, progress, say
from everloop.cli.replay import print_decisions, summarize
from everloop.core.errors import UsageError
from everloop.core.project import SETTINGS_FILE, Project, load_project
from everloop.data.embedded import retail_path
from everloop.loop.replay import Replay, ReplayPlan, open_replay, replay

_MARK = "# made by: everloop demo"
_FIRST = date(2011, 9, 26)
_LAST = date(2011, 12, 2)
_SETTINGS = f"""{_MARK}
# Daily sales of an online shop for gifts, 2009-12-01 to 2011-12-09 (UCI Online Retail II; see data/README.md).

[project]
name = "demand"

[data]
source = "data/sales.parquet"
series = ["product"]
time = "date"
target = "units"
observed = ["price"]                # the price that was asked is known only afterwards
closed_weekdays = ["saturday"]

[forecast]
horizon = 14
levels = [80, 95]

[train]
candidates = ["seasonal_naive", "lightgbm"]

[validate]
windows = 3
step = 14

[release]
rollout = "shadow"
min_days = 12                       # days of truth before a shadow trial may be decided
max_days = 24

[retrain]
schedule = "0 3 * * 1"              # every Monday
"""


def command(
    folder: Annotated[Path, typer.Argument(help="Where to make the project.")] = Path("demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server up until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """See the whole loop at work on real sales: train, gates, release, serve, truth, retrain, decide.

    It makes a project from daily sales of 120 products of an online shop, walks the loop through ten weeks of them
    day by day, then serves the champion over HTTP, sends real requests, and joins what was really sold.

    Example: everloop demo --keep
    """
    began = time.monotonic()
    project = make_project(folder)
    plan = ReplayPlan(_FIRST, _LAST)
    run = open_replay(project, plan, home=project.home)
    say(f"a project of {_count(project)} in {folder.resolve()}; the loop now walks from {_FIRST} to {_LAST}")
    with ExitStack() as stack:
        stack.callback(run.store.close)
        with progress("the loop, day by day", len(plan.days)) as advance:
            for done, report in enumerate(replay(run, plan), start=1):
                advance(done, _word(report.events))
        say("serving the champion over HTTP; requests today, outcomes a week later")
        live = stack.enter_context(live_days(project, run.store, _LAST))
        if as_json:
            print_json({**summarize(run), "http": live.to_dict(), "seconds": time.monotonic() - began})
        else:
            print_decisions(run)
            print_record(_summary(run, live), title="\nWhere the loop stands")
            _print_next(folder, live)
        say(f"done in {time.monotonic() - began:.0f} s")
        if keep:
            say(f"the server stays up on {live.url}; stop it with Ctrl-C")
            live.wait()


def make_project(folder: Path) -> Project:
    """A project from the embedded data; one that an earlier demo made there is made anew.

    Raises:
        UsageError: the folder holds something else.
    """
    settings = folder / SETTINGS_FILE
    if folder.exists() and any(folder.iterdir()):
        if not settings.is_file() or not settings.read_text(encoding="utf-8").startswith(_MARK):
            raise UsageError(
                "demo_folder",
                f"{folder} is not empty, and no demo made it",
                hint="name another: everloop demo FOLDER",
                path=str(folder),
            )
        shutil.rmtree(folder / ".everloop", ignore_errors=True)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    settings.write_text(_SETTINGS, encoding="utf-8")
    shutil.copyfile(retail_path(), folder / "data" / "sales.parquet")
    shutil.copyfile(retail_path().with_name("README.md"), folder / "data" / "README.md")
    (folder / ".gitignore").write_text(".everloop/\n", encoding="utf-8")
    _commit(folder)
    return load_project(folder)


def _commit(folder: Path) -> None:
    """Put the project under git, as a project should be; without git the loop works all the same."""
    if shutil.which("git") is None or (folder / ".git").exists():
        return
    identity = ["-c", "user.name=everloop demo", "-c", "user.email=demo@localhost"]
    for command_ in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "-m", "A project for the demo"]):
        subprocess.run(["git", "-C", str(folder), *command_], check=False, capture_output=True)


def _count(project: Project) -> str:
    sales = pl.scan_parquet(project.root / "data" / "sales.parquet")
    counts = sales.select(pl.col("product").n_unique(), pl.len().alias("rows")).collect()
    return f"{counts['product'][0]} products and {counts['rows'][0]:,} rows"


def _word(events: list[Any]) -> str:
    kinds = [event.kind for event in events if event.kind not in ("ingested", "training")]
    return ", ".join(kinds)


def _summary(run: Replay, live: LiveDays) -> dict[str, str]:
    release = live.report.release
    scores = release.metrics["candidate"]
    skill = (release.metrics.get("skill") or {}).get(release.metrics["metric"])
    accuracy = live.report.accuracy
    last = next((event for event in reversed(run.decisions) if event.kind in ("promoted", "kept")), None)
    return {
        "champion": f"{release.candidate}, release {release.digest[:12]}, trained {release.created_at:%Y-%m-%d}",
        "skill over the seasonal naive": f"{percent(skill)} (backtest WAPE {number(scores.get('wape'))})",
        "live accuracy": f"WAPE {number(accuracy.wape)} where the backtest promised {number(accuracy.expected_wape)}; "
        f"{accuracy.n:,} forecasts met their outcome",
        "live intervals": ", ".join(
            f"{level} % hold {percent(share)}" for level, share in sorted(accuracy.coverage.items())
        ),
        "last decision": "none" if last is None else f"{last.at:%Y-%m-%d} {last.kind}: {last.message}",
        "over HTTP": f"{live.requests} requests, median {live.median_ms:.1f} ms; {live.outcomes} outcomes told back",
        "traced": live.traced,
    }


def _print_next(folder: Path, live: LiveDays) -> None:
    at = f"-p {folder}"
    rows = [
        ("every decision with its evidence", f"everloop events {at}"),
        ("live accuracy by steps ahead", f"everloop monitor {at} --as-of {live.until:%Y-%m-%d}"),
        ("one number back to its origin", f"everloop trace {live.prediction} --repeat {at}"),
        ("the runs", f"everloop compare {at}"),
        ("your own data", "everloop init YOUR.csv"),
    ]
    print_table(("where to look next", "command"), rows, title=" ")
