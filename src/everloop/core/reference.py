"""The reference of the settings, made from their records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from everloop.core.settings.whole import Settings

__all__ = ["SettingKey", "describe_settings", "settings_page", "values_in_force"]


_WORDS = {"string": "text", "number": "number", "integer": "integer", "boolean": "true or false", "null": "none"}


@dataclass(frozen=True, slots=True)
class SettingKey:
    """One key: where it stands, what it takes, its default (JSON), unit and help."""

    path: str
    type: str
    default: str
    unit: str
    help: str


def describe_settings(model: type[BaseModel] = Settings, prefix: str = "") -> list[SettingKey]:
    """Every key, in the order of the file."""
    keys: list[SettingKey] = []
    schema = model.model_json_schema(by_alias=True)
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys += describe_settings(inner, f"{path}.")
            continue
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        shape = schema["properties"][field.alias or name]
        keys.append(
            SettingKey(path, _type(shape), _default(field), str(extra.get("unit", "")), field.description or "")
        )
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
        cells = (f"`{name}`", key.type, f"`{key.default}`" if key.default else "required", key.unit, key.help)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def values_in_force(settings: Settings) -> dict[str, Any]:
    """The value of every key, by path."""
    tree = settings.model_dump(mode="json", by_alias=True)
    values: dict[str, Any] = {}
    for key in describe_settings():
        node: Any = tree
        for name in key.path.split("."):
            node = node[name]
        values[key.path] = node
    return values


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value).replace("'", '"')


def _type(shape: dict[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "enum" in shape:
        return " \\| ".join(f'"{value}"' for value in shape["enum"]).replace("\\|", "|")
    if "const" in shape:
        return f'"{shape["const"]}"'
    if "anyOf" in shape:
        return " or ".join(_type(each) for each in shape["anyOf"])
    kind = shape.get("type", "value")
    if kind == "array":
        inner = shape.get("items") or (shape.get("prefixItems") or [{}])[0]
        return f"list of {_type(inner)}"
    if kind == "object":
        inner = shape.get("additionalProperties")
        return f"table of {_type(inner)}" if isinstance(inner, dict) else "table"
    return _WORDS.get(str(kind), str(kind))
