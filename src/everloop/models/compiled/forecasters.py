"""The trees of forecasters, compiled."""

from __future__ import annotations

from collections.abc import Iterator

from everloop.models.booster import Booster
from everloop.models.compiled.trial import hasten
from everloop.models.forecaster import Forecaster

__all__ = ["hasten_forecaster"]


def hasten_forecaster(model: Forecaster) -> str:
    """Let a forecaster's trees, and those of its members, answer by machine code where that is faster.

    Forecasts stay what they are, to the bit. It takes some tenths of a second for each set of trees.

    Returns:
        What came of it, for people; empty where the model has no trees.
    """
    return "; ".join(hasten(booster).note for booster in _boosters(model))


def _boosters(model: object) -> Iterator[Booster]:
    """The boosters of a model that tells them, or of the models that it is made of."""
    tell = getattr(model, "boosters", None)
    for _, booster in tell() if callable(tell) else ():
        if isinstance(booster, Booster):
            yield booster
    # an average's members, and the models of parts of the series
    parts = [part.model for part in getattr(model, "parts_", ())]
    for member in (*getattr(model, "members_", ()), *parts):
        yield from _boosters(member)
