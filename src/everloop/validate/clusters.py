"""Groups of series that are taken for independent of each other when models are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from everloop.core.errors import SettingsError, nearest
from everloop.data.panel import split_key

__all__ = ["choose_cluster"]

_LEAST_LEVELS = 8


def choose_cluster(columns: Sequence[str], series: Sequence[str], named: str = "") -> tuple[str, Callable[[str], str]]:
    """What is taken for an independent group of series.

    Args:
        columns: the columns that name a series.
        series: the texts of the series, as :func:`everloop.data.panel.join_key` gives them.
        named: one of the columns, or ``"series"``; empty for the coarsest column with at least eight values.

    Returns:
        Its name, and the group of a series' text.

    Raises:
        SettingsError: there is no such column.
    """
    keys = [split_key(each) for each in series]
    levels = {name: len({key[place] for key in keys if place < len(key)}) for place, name in enumerate(columns)}
    if not named:
        enough = [name for name in columns if levels[name] >= _LEAST_LEVELS]
        named = min(enough, key=lambda name: levels[name], default="series")
    if named == "series" or (len(columns) == 1 and named == columns[0]):
        return (columns[0] if len(columns) == 1 else "series"), str
    if named not in columns:
        raise SettingsError(
            "setting_column",
            f"release.cluster = {named!r} is no column that names a series",
            hint=nearest(named, [*columns, "series"]),
            path="release.cluster",
        )
    place = list(columns).index(named)
    return named, lambda text: split_key(text)[place]
