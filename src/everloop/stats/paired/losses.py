"""Losses by which two models can be compared: what an error costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Loss", "loss_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss.

    Attributes:
        name: as it is set, such as ``"absolute"``.
        noun: what it is called in a sentence, such as ``"absolute error"``.
        of: losses of forecasts and actual values of one shape; NaN where either is.
    """

    name: str
    noun: str
    of: Callable[[ArrayLike, ArrayLike], Floats]


def loss_of(name: str) -> Loss:
    """A loss by its name.

    ``absolute``, ``squared``, ``pinball:Q`` for the quantile ``Q`` (Koenker and Bassett 1978), or ``cost:OVER:UNDER``:
    money for each unit that was forecast too much and for each that was too little (the newsvendor's cost; Arrow,
    Harris and Marschak 1951).

    Raises:
        ValueError: there is no such loss.

    >>> loss_of("cost:1:4").of([10.0, 10.0], [8.0, 12.0]).tolist()
    [2.0, 8.0]
    >>> loss_of("pinball:0.9").of([10.0, 10.0], [8.0, 12.0]).round(3).tolist()
    [0.2, 1.8]
    """
    kind, *parts = name.split(":")
    numbers = [_number(part, name) for part in parts]
    match kind, numbers:
        case "absolute", []:
            return Loss(name, "absolute error", lambda forecast, actual: np.abs(_error(forecast, actual)))
        case "squared", []:
            return Loss(name, "squared error", lambda forecast, actual: np.square(_error(forecast, actual)))
        case "pinball", [level] if 0 < level < 1:
            return Loss(name, f"pinball loss at {level:g}", _weighted(1 - level, level))
        case "cost", [over, under] if over >= 0 and under >= 0 and over + under > 0:
            return Loss(name, f"cost ({over:g} a unit too much, {under:g} a unit too little)", _weighted(over, under))
    raise ValueError(f"{name!r} is not a loss: 'absolute', 'squared', 'pinball:0.9' or 'cost:1:4' (over:under)")


def _error(forecast: ArrayLike, actual: ArrayLike) -> Floats:
    """How much too high each forecast is."""
    return np.asarray(forecast, dtype=np.float64) - np.asarray(actual, dtype=np.float64)


def _weighted(over: float, under: float) -> Callable[[ArrayLike, ArrayLike], Floats]:
    def of(forecast: ArrayLike, actual: ArrayLike) -> Floats:
        error = _error(forecast, actual)
        return np.where(error > 0, over * error, -under * error)

    return of


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} in {name!r} is not a number") from None
