"""The built-in forecasters by name; they come in by the same door as a user's own ``"module:Class"``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from everloop.core.errors import ModelError, UsageError, nearest
from everloop.core.objects import load_object
from everloop.models.forecaster import Forecaster

__all__ = ["BUILT_IN", "forecaster_class", "make_forecaster"]

BUILT_IN = {
    "seasonal_naive": "everloop.models.seasonal_naive:SeasonalNaiveForecaster",
    "ets": "everloop.models.ets:ETSForecaster",
    "croston": "everloop.models.croston:CrostonForecaster",
    "adida": "everloop.models.adida:ADIDAForecaster",
    "theta": "everloop.models.theta:ThetaForecaster",
    "statistical": "everloop.models.statistical:StatisticalForecaster",
    "lightgbm": "everloop.models.lightgbm:LightGBMForecaster",
    "ensemble": "everloop.models.ensemble:EnsembleForecaster",
    "partitioned": "everloop.models.partitioned:PartitionedForecaster",
}

_METHODS = ("fit", "update", "forecast", "series_panel", "parameters", "save", "load")


def forecaster_class(name: str, *, root: Path | None = None) -> type[Forecaster]:
    """The class that a built-in name or ``"module:Class"`` means.

    Args:
        name: such as ``"lightgbm"`` or ``"my_package.models:MyForecaster"``.
        root: the project's folder, where the user's modules lie.

    Raises:
        UsageError: there is no such name, module or class, or it is no class.
        ModelError: the class lacks methods of the protocol.

    >>> forecaster_class("seasonal_naive").__name__
    'SeasonalNaiveForecaster'
    """
    if ":" not in name and name not in BUILT_IN:
        raise UsageError(
            "forecaster_unknown",
            f"there is no forecaster {name!r}",
            hint=f"{nearest(name, BUILT_IN)}; your own is named 'module:Class'",
            path="train.candidates",
        )
    found = load_object(BUILT_IN.get(name, name), root=root)
    if not inspect.isclass(found):
        raise UsageError(
            "forecaster_class", f"{name!r} names no class", hint="name the class, not a function or an instance of it"
        )
    missing = [method for method in _METHODS if not callable(getattr(found, method, None))]
    if missing:
        raise ModelError(
            "forecaster_protocol",
            f"{found.__name__} is no forecaster: it has no {', '.join(missing)}",
            hint="write the methods of everloop.models.forecaster.Forecaster, or inherit "
            "everloop.models.pickled.PickledForecaster for the last four",
            path=name,
        )
    return cast("type[Forecaster]", found)


def make_forecaster(name: str, options: Mapping[str, Any] | None = None, *, root: Path | None = None) -> Forecaster:
    """A new forecaster, not yet fitted.

    Args:
        name: see :func:`forecaster_class`.
        options: the constructor's parameters, from ``train.options``.
        root: the project's folder.

    Raises:
        UsageError: the name is unknown, or the constructor has no such parameter.
        ModelError: the class lacks methods of the protocol, or its constructor fails.

    >>> make_forecaster("seasonal_naive", {"season": 7}).parameters()
    {'season': 7}
    """
    cls = forecaster_class(name, root=root)
    given = dict(options or {})
    known = inspect.signature(cls).parameters
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in known.values())
    for option in given:
        if option not in known and not takes_any:
            raise UsageError(
                "forecaster_option",
                f"{name!r} takes no option {option!r}",
                hint=nearest(option, known) if known else "it takes no options",
                path=f"train.options.{name}.{option}",
            )
    try:
        return cls(**given)
    except (TypeError, ValueError) as error:
        raise ModelError(
            "forecaster_construct",
            f"cannot make {name!r}: {error}",
            hint=f"its parameters: {inspect.signature(cls)}",
            path=f"train.options.{name}",
        ) from error
