"""Where words and numbers go: data to stdout, talk to stderr; JSON where it is asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # rich takes a tenth of a second to import, which a command that draws nothing, such as serve, need not pay
    from rich.console import Console

__all__ = ["number", "percent", "print_json", "print_record", "print_table", "progress", "say"]


def say(text: str) -> None:
    """Talk to the person: a line on stderr."""
    print(text, file=sys.stderr)


def print_json(value: Any) -> None:
    """A value as JSON on stdout; instants in ISO form, NaN as null."""
    print(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "") -> None:
    """A table on stdout; its first column is never cut."""
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        is_number = all(isinstance(row[place], int | float) for row in rows if row[place] is not None) and bool(rows)
        table.add_column(column, justify="right" if is_number else "left", no_wrap=place == 0, overflow="fold")
    for row in rows:
        table.add_row(*[_text(value) for value in row])
    _console().print(table)


def print_record(record: Mapping[str, Any], *, title: str = "") -> None:
    """Names and values on stdout, one a line."""
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in record.items():
        table.add_row(name, _text(value))
    _console().print(table)


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """A progress bar on stderr with the time left; call what it gives with the steps done and a word on them."""
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(bar_width=24),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[word]}"),
    )
    console = Console(stderr=True)
    with bars.Progress(*columns, console=console, transient=False, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total, word="")

        def advance(done: int, word: str = "") -> None:
            bar.update(task, completed=done, word=word)

        yield advance


def percent(share: float | None, *, digits: int = 1) -> str:
    """A share as percent, or a dash where it is not known."""
    return "-" if share is None else f"{share * 100:.{digits}f} %"


def number(value: float | None, *, digits: int = 3) -> str:
    """A number, or a dash where it is not known."""
    return "-" if value is None else f"{value:.{digits}f}"


def _console() -> Console:
    from rich.console import Console

    # off a terminal a table keeps its full width, so that nothing is folded away from a program that reads it
    return Console() if sys.stdout.isatty() else Console(width=200, soft_wrap=True)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and value != value:
        return None
    return value
