"""``everloop keys``: who may ask the server."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, actor, opened
from everloop.cli.output import print_json, print_table, say
from everloop.core.clock import SystemClock
from everloop.core.errors import UsageError
from everloop.store.engine import Store
from everloop.store.keys import Key, find_key, list_keys, make_key, revoke_key


def command(
    action: Annotated[Literal["make", "list", "revoke"], typer.Argument(help="What to do.")],
    key: Annotated[
        str | None, typer.Argument(metavar="ID", help="With revoke: the key's id, as list shows it.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="With make: who or what the key is for.")] = "",
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="With make: predict, outcomes, read or admin (all of them); may be repeated."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", help="With make: requests/second instead of access.rate.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With revoke: check all, change nothing.")] = False,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make, list or revoke API keys; servers follow within serve.poll_seconds.

    A new key is printed once, on stdout; the store holds only a hash of it. Send it as "Authorization: Bearer KEY" or
    "X-API-Key: KEY".

    Example: everloop keys make --name shop-floor --scope predict --scope outcomes --rate 50
    """
    if action == "revoke" and key is None:
        raise UsageError(
            "key_id", "which key is to be revoked?", hint="everloop keys revoke ID; see: everloop keys list"
        )
    if action != "revoke" and key is not None:
        raise UsageError("key_id", f"{action} takes no id", hint="see: everloop keys --help")
    with opened(project, set_) as (_, store):
        if action == "make":
            _make(store, name, scope or [], rate, as_json=as_json)
        elif action == "list":
            _list(store, as_json=as_json)
        else:
            _revoke(store, key or "", dry_run=dry_run, as_json=as_json)


def _make(store: Store, name: str, scopes: list[str], rate: float | None, *, as_json: bool) -> None:
    with store.write() as tx:
        made, text = make_key(tx, name=name, scopes=scopes, rate=rate, at=SystemClock().now(), actor=actor())
    if as_json:
        print_json(_record(made) | {"key": text})
        return
    print(text)
    say(f"key {made.id} ({made.name}) may {', '.join(made.scopes)}; keep it safe: it is not shown again")


def _list(store: Store, *, as_json: bool) -> None:
    with store.read() as tx:
        found = list_keys(tx)
    if as_json:
        print_json([_record(each) for each in found])
        return
    if not found:
        say("no keys yet; make one: everloop keys make --name NAME --scope predict")
        return
    rows = [(each.id, each.name, ", ".join(each.scopes), each.rate, each.created_at, each.revoked_at) for each in found]
    print_table(("key", "name", "may", "requests/s", "made", "revoked"), rows)


def _revoke(store: Store, key_id: str, *, dry_run: bool, as_json: bool) -> None:
    if dry_run:
        with store.read() as tx:
            found = find_key(tx, key_id)
    else:
        with store.write() as tx:
            found = revoke_key(tx, key_id, at=SystemClock().now(), actor=actor())
    if as_json:
        print_json(_record(found))
    elif found.revoked_at is None:
        say(f"would revoke key {found.id} ({found.name})")
    else:
        say(f"key {found.id} ({found.name}) is revoked; servers refuse it within serve.poll_seconds")


def _record(key: Key) -> dict[str, Any]:
    """A key for programs: even its hash stays in the store."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        "rate": key.rate,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }
