"""The mean of several forecasters: a small ensemble of models that err in different ways.

Equal weights: weights that are estimated from few windows cost more by their own error than they bring (Smith and
Wallis 2009, "A simple explanation of the forecast combination puzzle"). The ends of the intervals are averaged
likewise, which gives the quantiles of a distribution between the members' own (Vincent 1912; Lichtendahl,
Grushka-Cockayne and Winkler 2013).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from everloop.core.errors import ModelError
from everloop.data.panel import Panel
from everloop.models.catalog import forecaster_class, make_forecaster
from everloop.models.forecaster import FitContext, Forecast, Forecaster, ForecastRequest
from everloop.models.state import load_head, save_head

__all__ = ["ENSEMBLE", "MEMBERS", "EnsembleForecaster", "average"]

ENSEMBLE = "ensemble"
MEMBERS = ("statistical", "lightgbm")


class EnsembleForecaster:
    """The mean of the forecasts of its members, each fitted to the same panel.

    Args:
        members: built-in forecasters by name, at least two.
        options: their constructors' parameters by name.
    """

    memory: int = 0

    def __init__(
        self,
        members: Sequence[str] = MEMBERS,
        *,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.members = members
        self.options = options

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Fit every member.

        Raises:
            ModelError: there are fewer than two members, one is named twice, is an ensemble itself or not built
                in, options are given for none of them, or a member fails.
            UsageError: there is no such forecaster, or it takes no such option.
        """
        self._check()
        options = self.options or {}
        return self._of(tuple(make_forecaster(name, options.get(name)).fit(panel, context) for name in self.members))

    @property
    def horizon_(self) -> int:
        """The longest horizon that every member may be asked."""
        found = [getattr(member, "horizon_", None) for member in self.members_]
        return min((each for each in found if isinstance(each, int)), default=0)

    def update(self, panel: Panel) -> Self:
        """A copy whose members stand at the panel's cutoff."""
        new = type(self)(**self.parameters())
        return new._of(tuple(member.update(panel) for member in self.members_))

    def forecast(self, request: ForecastRequest) -> Forecast:
        """The mean of the members' forecasts and of the ends of their intervals."""
        return average([member.forecast(request) for member in self.members_])

    def series_panel(self) -> Panel:
        """The longest tail of the panel that a member keeps."""
        return max((member.series_panel() for member in self.members_), key=lambda panel: len(panel.y))

    def parameters(self) -> dict[str, Any]:
        """The constructor's parameters."""
        options = {name: dict(each) for name, each in (self.options or {}).items()}
        return {"members": list(self.members), "options": options}

    def learned(self) -> dict[str, Any]:
        """What each member's fit chose, as JSON values."""
        found = {name: getattr(member, "learned", None) for name, member in self._named()}
        return {name: each() for name, each in found.items() if each is not None}

    def save(self, folder: Path) -> None:
        """Write every member below a folder of its own."""
        save_head(folder, {"parameters": self.parameters()})
        for number, (_, member) in enumerate(self._named(), start=1):
            own = folder / _folder(number)
            own.mkdir()
            member.save(own)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        model = cls(**load_head(folder)["parameters"])
        members = enumerate(model.members, start=1)
        return model._of(tuple(forecaster_class(name).load(folder / _folder(number)) for number, name in members))

    def _of(self, members: tuple[Forecaster, ...]) -> Self:
        """This ensemble with fitted members."""
        self.members_ = members
        self.memory = max(member.memory for member in members)
        return self

    def _named(self) -> list[tuple[str, Forecaster]]:
        return list(zip(self.members, self.members_, strict=True))

    def _check(self) -> None:
        names = list(self.members)
        problem = ""
        if len(set(names)) < 2 or len(set(names)) < len(names):
            problem = f"an ensemble has at least two members, each named once, not {names}"
        elif ENSEMBLE in names:
            problem = "an ensemble is no member of one"
        elif own := [name for name in names if ":" in name]:
            problem = f"{own[0]!r} is not built in"
        elif unknown := set(self.options or {}) - set(names):
            problem = f"options are given for {', '.join(sorted(unknown))}, which is no member"
        if problem:
            hint = "such as members = ['statistical', 'lightgbm']"
            raise ModelError("ensemble_members", problem, hint=hint, path="train.options.ensemble")


def average(forecasts: Sequence[Forecast]) -> Forecast:
    """The mean of several forecasts of the same series and steps, and of the ends of their intervals.

    An end that one of them does not know (NaN) is not known.
    """
    first = forecasts[0]
    levels = [level for level in first.lower if all(level in each.lower for each in forecasts)]
    return Forecast(
        first.series,
        first.cutoff,
        np.mean([each.mean for each in forecasts], axis=0),
        {level: np.mean([each.lower[level] for each in forecasts], axis=0) for level in levels},
        {level: np.mean([each.upper[level] for each in forecasts], axis=0) for level in levels},
        tuple(dict.fromkeys(note for each in forecasts for note in each.notes)),
    )


def _folder(number: int) -> str:
    return f"member-{number}"
