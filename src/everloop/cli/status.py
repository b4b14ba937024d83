"""``everloop status``: where the loop stands."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened, project_of
from everloop.cli.output import percent, print_json, print_record, say
from everloop.core.clock import SystemClock
from everloop.core.errors import UnavailableError
from everloop.core.project import Project
from everloop.data.table import head
from everloop.improve.retraining import LAST_TRAINING
from everloop.improve.triggers import next_due
from everloop.loop.lease import LEASE
from everloop.serve.address import read_address
from everloop.serve.log.outage import local_alerts
from everloop.serve.log.spool import spool_folder
from everloop.store.alerts import open_alerts
from everloop.store.deployments import ReleaseRow, StateRow, find_release, in_role, latest_state
from everloop.store.engine import Store
from everloop.store.events import list_events
from everloop.store.facts import count_facts
from everloop.store.leases import find_lease
from everloop.store.marks import get_mark
from everloop.store.trials import open_trial


def command(project: ProjectOption = None, set_: SetOption = None, as_json: JsonOption = False) -> None:
    """Where the loop stands: data, champion, challenger, server, alerts, and what to do next.

    Example: everloop status --json
    """
    try:
        with opened(project, set_) as (found, store):
            record = collect(found, store)
    except UnavailableError:
        if not as_json:  # the store is away: what its servers say of that stands beside their buffer
            _say_alerts(_local_alerts(project_of(project, set_)))
        raise
    if as_json:
        print_json(record)
        return
    print_record(
        {name: _line(value) for name, value in record.items() if name not in ("alerts", "next", "last_events")}
    )
    _say_alerts(record["alerts"])
    for event in record["last_events"]:
        say(f"{event['at']:%Y-%m-%d %H:%M}Z {event['kind']}: {event['message']}")
    say(f"next: {record['next']}")


def collect(project: Project, store: Store) -> dict[str, Any]:
    """All that status tells, as JSON values."""
    now = SystemClock().now()
    dataset = head(project.table)
    with store.read() as tx:
        champion = in_role(tx, "champion")
        row = find_release(tx, champion) if champion else None
        state = latest_state(tx, champion) if champion else None
        trial = open_trial(tx)
        last = get_mark(tx, LAST_TRAINING)
        lease = find_lease(tx, LEASE)
        alerts = [asdict(alert) for alert in open_alerts(tx)] + _local_alerts(project)
        events = [asdict(event) for event in list_events(tx, limit=5)]
        facts = count_facts(tx)
    try:
        server = read_address(project).url
    except UnavailableError:
        server = None
    is_forecast = project.settings.project.task == "forecasting"
    record = {
        "project": {"name": project.name, "task": project.settings.project.task, "root": str(project.root)},
        "data": asdict(dataset) if dataset else None,
        "champion": None if row is None else _champion(row, state, is_forecast=is_forecast),
        "trial": None if trial is None else {"challenger": trial.challenger, "since": trial.started_at},
        "facts": facts,
        "last training": None if last is None else last["at"],
        "next training": next_due(project.settings.retrain.schedule, now),
        "controller": None
        if lease is None or not lease.holder or lease.expires_at < now
        else {"holder": lease.holder, "until": lease.expires_at},
        "server": server,
        "alerts": alerts,
        "last_events": events,
        "next": _next(dataset is not None, champion is not None, server is not None)
        if is_forecast
        else _next_of_rows(champion is not None, server is not None),
    }
    # a model of rows was trained elsewhere: there is no table, and nothing trains it here
    foreign = () if is_forecast else ("data", "last training", "next training")
    return {name: value for name, value in record.items() if name not in foreign}


def _local_alerts(project: Project) -> list[dict[str, Any]]:
    """What this machine's servers could not tell the store yet."""
    return [asdict(alert) for alert in local_alerts(spool_folder(project))]


def _say_alerts(alerts: list[dict[str, Any]]) -> None:
    for alert in alerts:
        say(f"alert[{alert['code']}] since {alert['since']:%Y-%m-%d %H:%M}Z: {alert['message']}")
        if alert["hint"]:
            say(f"  hint: {alert['hint']}")


def _champion(row: ReleaseRow, state: StateRow | None, *, is_forecast: bool) -> dict[str, Any]:
    tree: dict[str, Any] = {"release": row.digest, "candidate": row.candidate, "made": row.created_at}
    if is_forecast:
        tree["wape"] = (row.metrics.get("candidate") or {}).get("wape")
        tree["serves data until"] = state.cutoff if state else row.cutoff
    return tree


def _next_of_rows(has_champion: bool, has_server: bool) -> str:
    if not has_champion:
        return "everloop adopt MODEL  (then: everloop promote DIGEST)"
    return "everloop traffic  (who answers what)" if has_server else "everloop serve"


def _next(has_data: bool, has_champion: bool, has_server: bool) -> str:
    if not has_data:
        return "everloop run  (ingest, train, release)"
    if not has_champion:
        return "everloop run  (no release is in charge yet)"
    if not has_server:
        return "everloop serve  (or: everloop forecast --out forecasts.parquet)"
    return "everloop loop  (keeps it good: new data, monitoring, retraining)"


def _line(value: Any) -> Any:
    """A record in a line."""
    if not isinstance(value, dict):
        return value
    parts = []
    for name, each in value.items():
        if name in ("digest", "release", "challenger", "source") and isinstance(each, str):
            shown = each[:12]
        elif name == "wape":
            shown = percent(each)
        elif hasattr(each, "strftime"):
            shown = f"{each:%Y-%m-%d %H:%M}Z"
        else:
            shown = str(each)
        parts.append(f"{name} {shown}")
    return ", ".join(parts)
