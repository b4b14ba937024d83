"""What a table of ``everloop.toml`` and a key in it are.

The records made of them are the only place where a key is defined; the loader, the commands' flags and the
reference page are made from them.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

__all__ = ["Section", "key"]


def key(default: Any = ..., *, help: str, unit: str = "", **constraints: Any) -> Any:  # noqa: A002
    """A settings key with its help text and unit."""
    extra: JsonDict = {"unit": unit}
    if default is ...:
        return Field(description=help, json_schema_extra=extra, **constraints)
    if isinstance(default, list | dict):
        return Field(default_factory=default.copy, description=help, json_schema_extra=extra, **constraints)
    return Field(default=default, description=help, json_schema_extra=extra, **constraints)


class Section(BaseModel):
    """A table of the file: frozen, and no key that is not defined here."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
