"""``everloop marks``: which periods are no true picture of demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened
from everloop.cli.output import number, print_json, print_table, say
from everloop.core.errors import UsageError, nearest
from everloop.core.project import Project
from everloop.data.cleaning.listing import stretches
from everloop.data.cleaning.marking import with_marks
from everloop.data.loading import load_panel
from everloop.data.marks import KINDS

__all__ = ["command", "marked", "marked_in_words"]


def command(
    kind: Annotated[
        list[str] | None, typer.Option("--kind", "-k", help="Only marks of this kind; may be repeated.")
    ] = None,
    series: Annotated[str, typer.Option("--series", help='Only this series, as "CA_1/FOODS_1_001".')] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many of the newest.", min=1)] = 20,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which periods are marked: stock-outs, closed days, returns, outliers, wrong prices; and what becomes of them.

    All rules are applied, also those whose findings are kept. What a finding is, and what it is taken for, is set
    in data.cleaning.

    Example: everloop marks --kind inferred_stock_out --set data.cleaning.store=store_id
    """
    for name in kind or ():
        if name not in KINDS:
            raise UsageError("mark_unknown", f"there is no kind of mark {name!r}", hint=nearest(name, KINDS))
    with opened(project, set_) as (found, _):
        settings = found.settings
        panel, dataset = load_panel(found, horizon=settings.forecast.horizon)
        panel = panel if panel.marks is not None else with_marks(panel, settings.data.cleaning)
    listed, total = stretches(panel, kinds=tuple(kind or ()), series=series, limit=limit)
    summary = {} if panel.marks is None else panel.marks.to_dict()
    if as_json:
        made = {"dataset": dataset.version, **summary, "total": total, "marks": [asdict(each) for each in listed]}
        print_json(made)
        return
    for name, each in summary.get("kinds", {}).items():
        say(f"{name}: {each['periods']} of {summary['looked_at']} periods ({each['treatment']})")
    if not listed:
        say("no period is marked")
        return
    rows = [
        (
            each.kind,
            each.series,
            each.first,
            each.last,
            each.periods,
            number(each.observed),
            number(each.usual),
            each.known_since,
            each.treatment,
        )
        for each in listed
    ]
    print_table(("kind", "series", "first", "last", "periods", "observed", "usual", "known since", "treatment"), rows)
    if total > len(listed):
        say(f"{len(listed)} of {total} stretches; see more with --limit")


def marked(project: Project) -> dict[str, Any]:
    """How many periods of the newest data are marked, by kind, as JSON values."""
    panel, _ = load_panel(project, horizon=0)
    return {} if panel.marks is None else panel.marks.to_dict()


def marked_in_words(marks: Mapping[str, Any]) -> str:
    """The counts of marks as a phrase."""
    words = {"leave_out": "left out", "impute": "imputed", "keep": "kept"}
    kinds = [
        f"{name.replace('_', ' ')} {each['periods']} ({words[each['treatment']]})"
        for name, each in marks.get("kinds", {}).items()
    ]
    return f"{', '.join(kinds) or 'none'} of {marks.get('looked_at', 0)} periods"
