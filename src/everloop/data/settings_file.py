"""Writing the ``everloop.toml`` that a guess amounts to, with its reasons as comments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from everloop.data.infer import Guess

__all__ = ["render_toml"]


def render_toml(guess: Guess, name: str, source: str) -> str:
    """A commented ``everloop.toml``.

    Args:
        guess: the settings.
        name: the project's name; characters that a name may not have become dashes.
        source: what ``data.source`` shall say.
    """
    reasons = guess.reasons
    lines = [
        "# Made from the data by `everloop init`. Every line is a guess with its reason: change what is wrong.",
        "# All keys and their defaults: everloop settings --reference",
        "",
        "[project]",
        f"name = {_text(_name(name))}",
        "",
        "[data]",
        f"source = {_text(source)}",
        *_reasoned("series", _texts(guess.series), reasons.get("series", "")),
        *_reasoned("time", _text(guess.time), reasons.get("time", "")),
        *_reasoned("target", _text(guess.target), reasons.get("target", "")),
        *_reasoned("frequency", _text(guess.frequency), reasons.get("frequency", "")),
        *_columns(guess),
    ]
    if guess.closed_weekdays:
        lines += _reasoned("closed_weekdays", _texts(guess.closed_weekdays), reasons.get("closed_weekdays", ""))
    if guess.ignored:
        lines += ["# columns left out:", *(f"#   {_text(each)}: {reasons[each]}" for each in guess.ignored)]
    lines += ["", "# a row that breaks the contract goes to quarantine, with its reason", "[data.contract]"]
    if guess.accepts_negative:
        lines.append('negative_target = "accept"  # the target goes below zero in more than 1 % of the rows')
    lines += ["", "[data.contract.types]", *(f"{_key(each)} = {_text(kind)}" for each, kind in guess.types.items())]
    lines += ["", "[data.contract.ranges]  # about ten times as wide as what was seen"]
    lines += [f"{_key(each)} = [{low:g}, {high:.15g}]" for each, (low, high) in guess.ranges.items()]
    lines += ["", "[forecast]", *_reasoned("horizon", str(guess.horizon), reasons.get("horizon", ""))]
    return "\n".join(lines) + "\n"


def _columns(guess: Guess) -> list[str]:
    lines = []
    if guess.static:
        lines += _reasoned("static", _texts(guess.static), "they never change within a series")
    if guess.observed:
        lines.append("# Known up to the present only, to be on the safe side. Move to known_ahead what you know for")
        lines.append("# the days to come as well, and bring it with the data (or by future_source).")
        if guess.likely_ahead:
            lines.append(f"# Likely ones, by their names: {', '.join(_text(each) for each in guess.likely_ahead)}")
        lines.append(f"observed = {_texts(guess.observed)}")
        lines.append("known_ahead = []")
    return lines


def _reasoned(key: str, value: str, reason: str) -> list[str]:
    return [f"{key} = {value}" + (f"  # {_one_line(reason)}" if reason else "")]


def _one_line(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-._") or "project"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _texts(values: Iterable[str]) -> str:
    return "[" + ", ".join(_text(each) for each in values) + "]"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)
