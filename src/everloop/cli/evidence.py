"""``everloop evidence``: the numbers behind every decision."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from everloop.cli.evidence_chart import draw
from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened
from everloop.cli.output import print_json, print_record, print_table, say
from everloop.stats.evidence import Evidence
from everloop.store.evidence import EvidenceRow, find_evidence, list_evidence


def command(
    id_: Annotated[str, typer.Argument(metavar="ID", help="A record's id, or its beginning; none lists them.")] = "",
    kind: Annotated[
        list[str] | None, typer.Option("--kind", "-k", help="Only this kind, such as paired; may be repeated.")
    ] = None,
    subject: Annotated[str, typer.Option("--subject", help="Only of this release; the beginning is enough.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many of the newest.", min=1)] = 20,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """The evidence behind decisions: effect, bounds that hold at every look, and what would change the verdict.

    Example: everloop evidence --kind paired; everloop evidence 3f9a
    """
    with opened(project, set_) as (_, store), store.read() as tx:
        if id_:
            found = [find_evidence(tx, id_)]
        else:
            found = list_evidence(tx, kinds=tuple(kind or ()), subject=subject, limit=limit)
    if as_json:
        print_json(asdict(found[0]) if id_ else [asdict(each) for each in found])
    elif id_:
        _show(found[0])
    elif not found:
        say("no evidence yet: it is kept when a trial is looked at, and when something is decided")
    else:
        rows = [(each.id[:12], each.at, each.kind, each.subject[:12], each.verdict, _line(each)) for each in found]
        print_table(("id", "at", "kind", "subject", "verdict", "why"), rows)


def _line(row: EvidenceRow) -> str:
    return Evidence.from_dict(row.record).reason


def _show(row: EvidenceRow) -> None:
    evidence = Evidence.from_dict(row.record)
    record: dict[str, object] = {
        "question": evidence.question,
        "verdict": evidence.verdict + (" (an estimate: the truth is not yet known)" if evidence.is_estimate else ""),
        "reason": evidence.reason,
    }
    if evidence.effect is not None:
        bounds = "no bounds yet"
        if evidence.lower is not None or evidence.upper is not None:
            bounds = f"between {_amount(evidence.lower)} and {_amount(evidence.upper)}"
        record["effect"] = f"{_amount(evidence.effect)}, {bounds} ({evidence.unit})"
    record["n"] = f"{evidence.n}; one is {evidence.observation}"
    if evidence.clusters is not None:
        record["clusters"] = f"{evidence.clusters} ({evidence.cluster})" if evidence.cluster else evidence.clusters
    record |= {"method": evidence.method, "guarantee": evidence.guarantee}
    for place, warning in enumerate(evidence.warnings):
        record["mind" if not place else " " * place] = warning
    record |= {"would change": evidence.would_change, "of": row.subject[:12], "at": row.at, "id": row.id[:12]}
    print_record(record)
    series = evidence.series
    if {"day", "effect", "lower", "upper"} <= set(series):
        chart = draw(series["day"], series["effect"], series["lower"], series["upper"])
        if chart:
            print()
            print(chart)


def _amount(value: float | None) -> str:
    return "unbounded" if value is None else f"{value:+.4g}"
