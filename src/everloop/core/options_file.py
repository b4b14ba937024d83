"""Writing a candidate's options into ``everloop.toml``, with all else in the file left as it is."""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from everloop.core.errors import SettingsError

__all__ = ["options_lines", "write_options"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEADER = re.compile(r"^\s*\[")


def options_lines(candidate: str, options: Mapping[str, Any]) -> list[str]:
    """The table ``[train.options.NAME]`` as lines; an option that is ``None`` has no TOML and is left out.

    >>> options_lines("toy:Mean", {"weeks": 4})
    ['[train.options."toy:Mean"]', 'weeks = 4']
    """
    rows = [f"{_key(name)} = {_value(value)}" for name, value in sorted(options.items()) if value is not None]
    return [f"[train.options.{_key(candidate)}]", *rows]


def write_options(path: Path, candidate: str, options: Mapping[str, Any]) -> None:
    """Put a candidate's options in place of those in the file; the file changes as a whole or not at all.

    Raises:
        SettingsError: the options stand in the file in a form that cannot be replaced line by line.
    """
    text = path.read_text(encoding="utf-8")
    before = tomllib.loads(text)
    wanted = {name: value for name, value in options.items() if value is not None}
    train = dict(before.get("train", {}))
    expected = {**before, "train": {**train, "options": {**train.get("options", {}), candidate: wanted}}}
    new = options_lines(candidate, options)
    changed = "\n".join(_replaced(text.splitlines(), candidate, new)) + "\n"
    try:
        is_right = tomllib.loads(changed) == expected
    except tomllib.TOMLDecodeError:
        is_right = False
    if not is_right:
        raise SettingsError(
            "settings_write",
            f"the options of {candidate!r} stand in {path.name} in a form that cannot be replaced",
            hint="put these lines there yourself: " + "; ".join(new),
            path=str(path),
        )
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=".making-", delete=False) as file:
        file.write(changed)
        file.flush()
        os.fsync(file.fileno())
    made = Path(file.name)
    made.chmod(path.stat().st_mode & 0o777)
    made.replace(path)


def _replaced(lines: list[str], candidate: str, new: list[str]) -> list[str]:
    """The lines with the candidate's table replaced, or added at the end."""
    names = {f"[train.options.{each}]" for each in (_key(candidate), json.dumps(candidate), f"'{candidate}'")}
    begin = next((place for place, line in enumerate(lines) if line.split("#")[0].strip() in names), None)
    if begin is None:
        while lines and not lines[-1].strip():
            lines = lines[:-1]
        return [*lines, "", *new]
    end = next((place for place in range(begin + 1, len(lines)) if _HEADER.match(lines[place])), len(lines))
    # comments and blank lines before the next table belong to that one
    while end > begin + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return [*lines[:begin], *new, *lines[end:]]


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    # what JSON lets stand, TOML does not
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
