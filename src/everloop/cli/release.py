"""``everloop release``: what was released."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from everloop.cli.examinations import print_gates
from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened
from everloop.cli.output import number, percent, print_json, print_record, print_table, say
from everloop.core.errors import UsageError
from everloop.core.project import Project
from everloop.release.bundle import open_release
from everloop.release.manifest import Manifest
from everloop.release.rehearsed import rehearsed_gates
from everloop.release.signing import make_key, sign_release
from everloop.store.deployments import ReleaseRow, find_release, in_role, list_releases
from everloop.store.engine import Store
from everloop.validate.gates.result import in_words
from everloop.validate.ordering import COST, COST_IN_ALL


def command(
    name: Annotated[
        str | None, typer.Argument(help="A digest, the beginning of one, 'champion' or 'challenger'.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List releases; so it does without a name too.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many of the newest are listed.", min=1)] = 20,
    sign: Annotated[
        Path | None, typer.Option("--sign", metavar="KEYFILE", help="Sign the release's bundle with a private key.")
    ] = None,
    new_key: Annotated[
        Path | None, typer.Option("--new-key", metavar="FILE", help="Make a key to sign with, and FILE.pub to trust.")
    ] = None,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List releases, show one with its metrics, gates and lineage after verifying every file of its bundle, or sign it.

    Example: everloop release champion
    """
    if new_key is not None:
        public = make_key(new_key)
        if as_json:
            print_json({"private": new_key, "public": public})
        else:
            say(f"made {new_key}, which is secret, and {public}, which servers trust by release.trusted_keys")
        return
    with opened(project, set_) as (found, store):
        if sign is not None:
            _sign(found, store, name, sign, as_json=as_json)
            return
        if name is None or list_:
            _list(store, limit, as_json=as_json)
        else:
            _show(found, store, name, as_json=as_json)


def _sign(project: Project, store: Store, name: str | None, key: Path, *, as_json: bool) -> None:
    if name is None:
        raise UsageError("release_unnamed", "no release is named", hint="everloop release DIGEST --sign KEYFILE")
    with store.read() as tx:
        row = find_release(tx, name)
    release = open_release(project.releases / row.digest, digest=row.digest)  # what was changed is not signed
    signer = sign_release(release.folder, key)
    if as_json:
        print_json({"release": row.digest, "key": signer})
    else:
        say(f"signed {row.digest[:12]} with key {signer}")


def _list(store: Store, limit: int, *, as_json: bool) -> None:
    with store.read() as tx:
        rows = list_releases(tx, limit=limit)
        roles = {in_role(tx, "champion"): "champion", in_role(tx, "challenger"): "challenger"}
        gates = {row.digest: [*row.gates, *rehearsed_gates(tx, row.digest)] for row in rows}
    if as_json:
        print_json([asdict(row) | {"role": roles.get(row.digest)} for row in rows])
        return
    if not rows:
        say("no releases yet; make one: everloop train")
        return
    table = [
        (
            row.digest[:12],
            row.candidate,
            row.created_at,
            row.dataset_version,
            _value(row),
            _skill(row),
            _gates(gates[row.digest]),
            roles.get(row.digest, ""),
        )
        for row in rows
    ]
    print_table(("release", "candidate", "at", "data", "metric", "better than naive by", "gates", "role"), table)


def _show(project: Project, store: Store, name: str, *, as_json: bool) -> None:
    with store.read() as tx:
        row = find_release(tx, name)
        rehearsed = rehearsed_gates(tx, row.digest)
    release = open_release(project.releases / row.digest, digest=row.digest)
    manifest = release.manifest
    if as_json:
        print_json(
            asdict(row) | {"rehearsed": rehearsed, "manifest": msgspec.to_builtins(manifest), "folder": release.folder}
        )
        return
    about = _about_rows(manifest) if manifest.signature else _about_forecaster(row, manifest)
    head: dict[str, object] = {"release": row.digest, "model": row.model_digest}
    head |= {"candidate": f"{row.candidate} ({manifest.model_class})"}
    head |= {"made": row.created_at, "run": row.run_id}
    print_record(head | about | {"bundle": f"{release.folder} (verified)"})
    if row.gates or rehearsed:
        print_gates([*row.gates, *rehearsed])
    if not rehearsed:
        say(f"not rehearsed yet: everloop rehearse {row.digest[:12]}")


def _about_forecaster(row: ReleaseRow, manifest: Manifest) -> dict[str, str]:
    provenance = manifest.provenance
    return {
        "data": f"version {row.dataset_version} ({row.dataset_digest[:12]}), up to {row.cutoff:%Y-%m-%d}",
        "code": (provenance.git_commit[:12] or "not under git") + (" with changes" if provenance.git_dirty else ""),
        _metric(row): f"{_value(row)}, {_skill(row)} better than the seasonal naive",
    } | _money(row)


def _about_rows(manifest: Manifest) -> dict[str, str]:
    signature = manifest.signature
    assert signature is not None
    takes = [*(each.name for each in signature.columns), *(each.name for each in signature.tensors)]
    return {
        "task": manifest.task,
        "takes": ", ".join(takes),
        "gives": ", ".join(f"{each.name} ({each.dtype})" for each in signature.outputs),
        "code": "runs from the bundle" if manifest.is_pickled else "none in the bundle",
    }


def _metric(row: ReleaseRow) -> str:
    return str(row.metrics.get("metric", "wape"))


def _value(row: ReleaseRow) -> str:
    if not row.metrics:  # a model that was trained elsewhere
        return "-"
    return f"{_metric(row).upper()} {number(row.metrics['candidate'].get(_metric(row)))}"


def _money(row: ReleaseRow) -> dict[str, str]:
    """What orders by the release cost in the backtest, where costs were set."""
    measures = row.metrics.get("candidate", {})
    if measures.get(COST_IN_ALL) is None:
        return {}
    better = percent(row.metrics.get("skill", {}).get(COST))
    told = f"{number(measures[COST], digits=4)} for each unit sold, {better} better than the seasonal naive's"
    return {"cost of orders": f"{measures[COST_IN_ALL]:,.2f}, {told}"}


def _skill(row: ReleaseRow) -> str:
    return percent(row.metrics.get("skill", {}).get(_metric(row)))


def _gates(gates: list[dict[str, Any]]) -> str:
    if not gates:
        return "-"
    verdicts = {gate["name"]: in_words(gate)[0] for gate in gates}
    for word in ("failed", "waived"):
        names = [name for name, verdict in verdicts.items() if verdict == word]
        if names:
            return f"{word}: " + ", ".join(names)
    return "passed"
