"""What may be tuned of a forecaster: the ranges that its class declares.

A class says so by a classmethod ``search_space`` that returns a range for each constructor parameter; a user's own
class does it in the same way. A range of a parameter that the constructor does not take is left out, so that one
declaration serves several versions of a class.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everloop.core.errors import ModelError, SettingsError, nearest
from everloop.models.catalog import forecaster_class

__all__ = ["Choice", "Range", "Real", "Whole", "search_space_of"]


@dataclass(frozen=True, slots=True)
class Whole:
    """Whole numbers from ``low`` to ``high``, both included; drawn by their logarithm where ``log`` is set."""

    low: int
    high: int
    log: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"kind": "whole", "low": self.low, "high": self.high, "log": self.log}

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the range."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Real:
    """Numbers from ``low`` to ``high``; drawn by their logarithm where ``log`` is set."""

    low: float
    high: float
    log: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"kind": "real", "low": self.low, "high": self.high, "log": self.log}

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the range."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values: texts, numbers, booleans or ``None``."""

    values: tuple[Any, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"kind": "choice", "values": list(self.values)}

    def holds(self, value: Any) -> bool:
        """Whether a value is one of them."""
        return any(value == each and type(value) is type(each) for each in self.values)


Range = Whole | Real | Choice


def search_space_of(
    name: str, *, root: Path | None = None, changed: Mapping[str, Sequence[Any]] | None = None
) -> dict[str, Range]:
    """What may be tuned of a forecaster, by parameter in the order of their names; empty where it declares nothing.

    Args:
        name: a built-in name, or ``"module:Class"``.
        root: the project's folder.
        changed: ranges instead of the declared ones, or in addition, as ``tune.space`` gives them: two numbers are
            the ends of a range, an empty list takes the parameter out, anything else are values to choose from.

    Raises:
        UsageError: there is no such forecaster.
        ModelError: the class declares something that is no range.
        SettingsError: ``changed`` names a parameter that the constructor does not take, or holds no range.

    >>> "leaves" in search_space_of("lightgbm", changed={"trees": [50, 100], "leaves": []})
    False
    """
    cls = forecaster_class(name, root=root)
    known = inspect.signature(cls).parameters
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in known.values())
    declare = getattr(cls, "search_space", None)
    declared = declare() if callable(declare) else {}
    if not isinstance(declared, Mapping) or not all(isinstance(each, Range) for each in declared.values()):
        raise ModelError(
            "search_space",
            f"search_space of {cls.__name__} returns something else than ranges by parameter",
            hint="return {'trees': Whole(50, 500), ...} with Whole, Real and Choice of everloop.models.search",
            path=name,
        )
    found = {parameter: each for parameter, each in declared.items() if parameter in known or takes_any}
    for parameter, values in (changed or {}).items():
        path = f"tune.space.{name}.{parameter}"
        if parameter not in known and not takes_any:
            hint = nearest(parameter, known) if known else "it takes no options"
            raise SettingsError("tune_space", f"{name!r} takes no option {parameter!r}", hint=hint, path=path)
        if values:
            found[parameter] = _range_of(values, found.get(parameter), path)
        else:
            found.pop(parameter, None)
    return dict(sorted(found.items()))


def _range_of(values: Sequence[Any], declared: Range | None, path: str) -> Range:
    """The range that a list in the settings means."""
    are_numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in values)
    if len(values) != 2 or not are_numbers:
        return Choice(tuple(values))
    low, high = values
    log = isinstance(declared, Whole | Real) and declared.log and low > 0
    if not low < high:
        raise SettingsError(
            "tune_space", f"{path} = [{low}, {high}] is no range", hint="write the lower end first", path=path
        )
    if isinstance(declared, Real) or not (isinstance(low, int) and isinstance(high, int)):
        return Real(float(low), float(high), log)
    return Whole(low, high, log)
