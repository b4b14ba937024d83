"""What a table of ``everloop.toml`` and a key in it are.

The records made of them are the only place where a key is defined; the loader, the commands' flags and the
reference page are made from them. Values are read by msgspec, which every command imports anyway: a server's start
has no time for more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self, dataclass_transform, get_args, get_origin, get_type_hints

import msgspec

from everloop.core.errors import SettingsError, nearest

__all__ = ["Key", "Section", "key", "table"]

_WORDS = {
    "`int | null`": "an integer",
    "`int`": "an integer",
    "`float`": "a number",
    "`str`": "text",
    "`bool`": "true or false",
    "`array`": "a list",
    "`object`": "a table",
    "`null`": "nothing",
}


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a table.

    Attributes:
        default: its value where the file does not say it; ``...`` where it must be said.
        help: what it means.
        unit: what it is counted in.
        alias: its name in the file, where that is none for an attribute.
        check: looks at a value of the right type and gives the one to keep; raises ``ValueError``.
        bounds: what a value of the right type must keep to, as :class:`msgspec.Meta` names it.
        section: the record, where the key is a table of its own.
    """

    default: Any = ...
    help: str = ""
    unit: str = ""
    alias: str = ""
    check: Callable[[Any], Any] | None = None
    bounds: Mapping[str, Any] = field(default_factory=dict)
    section: type[Section] | None = None

    @property
    def is_required(self) -> bool:
        """Whether the file must say it."""
        return self.section is None and self.default is ...


def key(
    default: Any = ...,
    *,
    help: str,  # noqa: A002
    unit: str = "",
    check: Callable[[Any], Any] | None = None,
    **bounds: Any,
) -> Any:
    """A settings key with its help text, unit and bounds (``ge``, ``gt``, ``le``, ``lt``, ``pattern``, ...)."""
    return Key(default, help, unit, check=check, bounds=bounds)


def table(section: type[Section], *, alias: str = "") -> Any:
    """A table within a table; its keys have defaults."""
    return Key(section=section, alias=alias)


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Section:
    """A table of the file: frozen, and no key that is not defined here.

    Raises:
        SettingsError: a key is unknown, missing or wrong.
    """

    model_fields: ClassVar[Mapping[str, Key]] = {}
    _kinds: ClassVar[Mapping[str, Any]]

    def __init_subclass__(cls) -> None:
        """Gather the keys, in the order of the file."""
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Key)}
        for name in own:
            delattr(cls, name)
        cls.model_fields = {**cls.model_fields, **own}

    def __init__(self, **values: Any) -> None:
        problems: list[SettingsError] = []
        self._fill({type(self).model_fields[name].alias or name: each for name, each in values.items()}, (), problems)
        _refuse(problems)

    @classmethod
    def kinds(cls) -> Mapping[str, Any]:
        """The types of the keys."""
        if "_kinds" not in vars(cls):  # names are looked up once: they take longer than all the rest
            cls._kinds = get_type_hints(cls, include_extras=True)
        return cls._kinds

    @classmethod
    def model_validate(cls, tree: Mapping[str, Any]) -> Self:
        """The section that a table of the file, as parsed, means."""
        problems: list[SettingsError] = []
        made = cls._read(tree, (), problems)
        _refuse(problems)
        return made

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        """The same with other values for some attributes; these are taken as they are."""
        copy = object.__new__(type(self))
        vars(copy).update(vars(self), **(update or {}))
        return copy

    def model_dump(self) -> dict[str, Any]:
        """All values by their names in the file, as JSON can say them."""
        return {
            each.alias or name: value.model_dump() if isinstance(value, Section) else msgspec.to_builtins(value)
            for (name, each), value in zip(self.model_fields.items(), self._values(), strict=True)
        }

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"settings are frozen; {name} can be changed in a copy: model_copy")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"settings are frozen; {name} stays")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in zip(self.model_fields, self._values(), strict=True))
        return f"{type(self).__name__}({inside})"

    def _values(self) -> Iterator[Any]:
        return (vars(self)[name] for name in self.model_fields)

    def _check(self) -> None:
        """What keys that are right alone must keep to together; raises ``ValueError``."""

    @classmethod
    def _read(cls, tree: Mapping[str, Any], path: tuple[str, ...], problems: list[SettingsError]) -> Self:
        made = object.__new__(cls)
        made._fill(tree, path, problems)
        return made

    def _fill(self, tree: Mapping[str, Any], path: tuple[str, ...], problems: list[SettingsError]) -> None:
        """Take the values of a table over, and gather what is wrong with them."""
        cls, before = type(self), len(problems)
        names = {each.alias or name: name for name, each in cls.model_fields.items()}
        for said in tree.keys() - names.keys():
            place = ".".join((*path, said))
            hint = nearest(said, list(names))
            problems.append(SettingsError("settings_unknown", f"{place} is not a setting", hint=hint, path=place))
        values = vars(self)
        for said, name in names.items():
            values[name] = cls._value(name, tree.get(said, ...), (*path, said), problems)
        if len(problems) == before:
            try:
                self._check()
            except ValueError as error:
                problems.append(_wrong(path, str(error), dict(tree), "see the settings reference"))

    @classmethod
    def _value(cls, name: str, value: Any, path: tuple[str, ...], problems: list[SettingsError]) -> Any:
        """The value of a key; ``None`` where there is a problem with it."""
        known = cls.model_fields[name]
        if known.section is not None:
            if isinstance(value, known.section):
                return value
            if value is not ... and not isinstance(value, Mapping):
                problems.append(_wrong(path, f"expected a table, such as [{'.'.join(path)}]", value, ""))
                return None
            return known.section._read({} if value is ... else value, path, problems)
        if value is ... and known.is_required:
            place = ".".join(path)
            hint = known.help or "see the settings reference"
            problems.append(SettingsError("settings_missing", f"{place} is not set", hint=hint, path=place))
            return None
        try:
            found = msgspec.convert(known.default if value is ... else value, _kind(cls, name), strict=False)
            return found if known.check is None else known.check(found)
        except (msgspec.ValidationError, ValueError) as error:
            problems.append(_wrong(path, _sentence(error, cls.kinds()[name]), value, _hint(known)))
            return None


def _kind(cls: type[Section], name: str) -> Any:
    """The type of a key with its bounds."""
    bounds = cls.model_fields[name].bounds
    kind = cls.kinds()[name]
    return Annotated[kind, msgspec.Meta(**bounds)] if bounds else kind


def _hint(known: Key) -> str:
    return " ".join(filter(None, (known.help, known.unit and f"Unit: {known.unit}."))) or "see the settings reference"


def _sentence(error: Exception, kind: Any) -> str:
    """What msgspec or a check says, in this program's words."""
    if not isinstance(error, msgspec.ValidationError):
        return str(error)
    text, _, place = str(error).partition(" - at `$")
    text, place = text.partition(", got")[0], place.rstrip("`")
    inner = kind
    while get_origin(inner) in (list, dict, Annotated):
        inner = get_args(inner)[0 if get_origin(inner) is Annotated else -1]
    if text.startswith("Invalid enum value") and get_origin(inner) is Literal:
        text = "expected one of " + ", ".join(repr(each) for each in get_args(inner))
    for name, word in _WORDS.items():
        text = text.replace(name, word)
    return text[:1].lower() + text[1:] + (f" at {place}" if place.strip("[.]") else "")


def _wrong(path: tuple[str, ...], sentence: str, value: Any, hint: str) -> SettingsError:
    place = ".".join(path)
    return SettingsError("settings_value", f"{place}: {sentence}; got {repr(value)[:80]}", hint=hint, path=place)


def _refuse(problems: list[SettingsError]) -> None:
    """Raise the first problem; unknown keys first, since they are mostly the cause of missing ones."""
    if not problems:
        return
    first = next((each for each in problems if each.code == "settings_unknown"), problems[0])
    if len(problems) > 1 and first.code != "settings_unknown":
        first.message += f" ({len(problems) - 1} more)"
    raise first
