"""The reference of the settings, made from their records."""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

from everloop.core.settings.section import Key, Section
from everloop.core.settings.whole import Settings

__all__ = ["SettingKey", "describe_settings", "settings_page", "values_in_force"]


_WORDS: dict[Any, str] = {str: "text", float: "number", int: "integer", bool: "true or false", NoneType: "none"}
_LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class SettingKey:
    """One key: where it stands, what it takes, its default (JSON), unit and help."""

    path: str
    type: str
    default: str
    unit: str
    help: str


def describe_settings(section: type[Section] = Settings, prefix: str = "") -> list[SettingKey]:
    """Every key, in the order of the file."""
    keys: list[SettingKey] = []
    for name, key in section.model_fields.items():
        path = f"{prefix}{key.alias or name}"
        if key.section is not None:
            keys += describe_settings(key.section, f"{path}.")
        else:
            keys.append(SettingKey(path, _type(section.kinds()[name]), _default(key), key.unit, key.help))
    return keys


def settings_page() -> str:
    """The reference page, in Markdown."""
    lines = [
        "# Settings reference",
        "",
        "Every key of `everloop.toml`. The environment overrides the file (`EVERLOOP_SERVE__PORT=9000`), a flag",
        "overrides both (`--set serve.port=9000`). This page is made from the code by `make docs`.",
    ]
    table = ""
    for key in describe_settings():
        head, _, name = key.path.rpartition(".")
        if head != table:
            table = head
            lines += [
                "",
                f"## [{table}]",
                "",
                "| key | type | default | unit | meaning |",
                "| --- | --- | --- | --- | --- |",
            ]
        default = key.default if key.default in ("required", _LEFT_OUT) else f"`{key.default}`"
        cells = (f"`{name}`", key.type, default, key.unit, key.help)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def values_in_force(settings: Settings) -> dict[str, Any]:
    """The value of every key, by path."""
    tree = settings.model_dump()
    values: dict[str, Any] = {}
    for key in describe_settings():
        node: Any = tree
        for name in key.path.split("."):
            node = node[name]
        values[key.path] = node
    return values


def _default(key: Key) -> str:
    if key.is_required:
        return "required"
    value = key.default
    if value is None:
        return _LEFT_OUT
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value).replace("'", '"')


def _type(kind: Any) -> str:
    """A type in a few words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " | ".join(f'"{value}"' for value in inner)
    if origin is Annotated:
        return _type(inner[0])
    if origin is UnionType:
        return " or ".join(_type(each) for each in inner if each is not NoneType)
    if origin in (list, tuple):
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return "table" if inner[1] is Any else f"table of {_type(inner[1])}"
    return _WORDS.get(kind, "value")
