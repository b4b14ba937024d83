"""A base for a user's own forecaster: it keeps its state by pickling itself, and needs no save or load."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path
from typing import Any, Self

from everloop.core.errors import ModelError
from everloop.data.panel import Panel
from everloop.models.forecaster import FitContext, Forecast, ForecastRequest

__all__ = ["PickledForecaster"]

_FILE = "model.pkl"


class PickledForecaster:
    """A forecaster of which only ``fit``, ``update`` and ``forecast`` are to be written.

    ``fit`` and ``update`` put what they last saw into ``self.panel_`` (a tail will do) and set ``self.memory``.
    A pickle names classes by their modules, so the same code must be importable where it is read (a class of a script
    itself is pickled whole). Whoever can write a pickle can run code where it is read: a server loads one from
    another installation only where ``release.allow_pickle`` is set.
    """

    memory: int = 0
    panel_: Panel

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Learn from all that the panel holds."""
        raise NotImplementedError

    def update(self, panel: Panel) -> Self:
        """A copy that stands at the panel's cutoff."""
        raise NotImplementedError

    def forecast(self, request: ForecastRequest) -> Forecast:
        """Forecast from the panel last seen."""
        raise NotImplementedError

    def series_panel(self) -> Panel:
        """The panel last seen."""
        return self.panel_

    def parameters(self) -> dict[str, Any]:
        """What the constructor stored under its parameters' own names."""
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def save(self, folder: Path) -> None:
        """Pickle the object to ``model.pkl``."""
        import cloudpickle  # type: ignore[import-untyped]  # here alone: built-in models have no use for it

        (folder / _FILE).write_bytes(cloudpickle.dumps(self, protocol=5))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            ModelError: the file is missing, damaged, or holds another class.
        """
        try:
            model = pickle.loads((folder / _FILE).read_bytes())
        except (OSError, pickle.UnpicklingError, EOFError, AttributeError, ImportError, ValueError) as error:
            raise ModelError(
                "model_files",
                f"cannot read {_FILE}: {error}",
                hint="is the code that the model was made with installed here?",
                path=str(folder / _FILE),
            ) from error
        if type(model).__qualname__ != cls.__qualname__:
            raise ModelError(
                "model_files",
                f"{_FILE} holds a {type(model).__qualname__}, not a {cls.__qualname__}",
                hint="load it with the class that saved it",
                path=str(folder / _FILE),
            )
        return model  # type: ignore[no-any-return]
