"""``everloop ingest``: data into the table."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from everloop.cli.marks import marked, marked_in_words
from everloop.cli.options import JsonOption, ProjectOption, SetOption, actor, opened
from everloop.cli.output import print_json, print_record, say
from everloop.core.clock import SystemClock
from everloop.data.ingest import ingest
from everloop.store.events import record_event


def command(
    source: Annotated[
        str | None, typer.Argument(help="Files, a database URL or 'module:function' instead of data.source.")
    ] = None,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring data into the versioned table: new rows are added, known ones corrected, bad ones put in quarantine.

    The same data twice change nothing. Above data.contract.max_bad_share of bad rows nothing is changed at all.

    Example: everloop ingest "data/2026-*.csv"
    """
    with opened(project, set_) as (found, store):
        clock = SystemClock()
        result = ingest(found, clock, source=source)
        if result.changed:
            with store.write() as tx:
                counts = f"{result.added} new and {result.corrected} corrected rows"
                message = f"{counts}: dataset version {result.version.version}"
                record_event(tx, clock.now(), "ingested", message, actor=actor(), subject=result.version.digest)
        marks = marked(found) if found.settings.data.cleaning.is_active else None
    if as_json:
        print_json(asdict(result) | ({} if marks is None else {"marks": marks}))
        return
    for warning in result.warnings:
        say(f"warning: {warning}")
    print_record(
        {
            "dataset version": f"{result.version.version} ({result.version.digest[:12]})",
            "rows": result.version.rows,
            "new": result.added,
            "corrected": result.corrected,
            "unchanged": result.unchanged,
            "in quarantine": f"{result.quarantined} (see {found.quarantine})" if result.quarantined else 0,
        }
        | ({} if marks is None else {"marked": f"{marked_in_words(marks)} (see: everloop marks)"})
    )
