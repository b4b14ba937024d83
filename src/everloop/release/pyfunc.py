"""A release as an MLflow model: what ``mlflow.pyfunc.load_model`` calls.

The bundle is verified before anything of it is loaded. MLflow itself runs code from a model's folder whenever it
loads one, so a pickled model is loaded here too: whoever calls ``load_model`` has decided to trust the bundle.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from everloop.models.scoring import score_rows
from everloop.models.tabular.example import rows_of
from everloop.release.bundle import Release, load_model, load_predictor_of, open_release

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ReleaseModel", "RowsModel"]


class ReleaseModel:
    """The model of a release behind MLflow's ``predict(data, params)``."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self.model = load_model(release, allow_pickle=True)

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Forecasts for the rows of a frame: the series' columns, the time, and known-ahead values.

        Args:
            model_input: one row for each series, or, with the time column, for each forecast asked; see
                :func:`everloop.models.scoring.score_rows`.
            params: ``horizon`` in steps and ``levels`` in percent.
        """
        import pandas as pd  # MLflow has imported it already; everloop's own start path has no need of it

        given = params or {}
        manifest = self.release.manifest
        horizon = int(given.get("horizon", manifest.horizon))
        levels = tuple(float(level) for level in given.get("levels", manifest.levels))
        columns = {str(name): model_input[name].tolist() for name in model_input.columns}
        scored = score_rows(self.model, columns, horizon=horizon, levels=levels, time=manifest.columns.time)
        return pd.DataFrame(scored)


class RowsModel:
    """A model of rows behind MLflow's ``predict(data, params)``, where MLflow itself knows no flavor for it."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self.model = load_predictor_of(release, allow_pickle=True)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """The main output for the rows of a frame, or for tensors (an array, or arrays by name)."""
        signature = self.model.signature
        if hasattr(model_input, "columns"):
            data = {str(name): model_input[name].tolist() for name in model_input.columns}
        elif isinstance(model_input, dict):
            data = model_input
        else:
            data = {signature.tensors[0].name: model_input}
        main = signature.outputs[0].name
        return self.model.predict(rows_of(signature, data), params or {}, (main,))[main]


def _load_pyfunc(path: str) -> ReleaseModel | RowsModel:
    """What MLflow calls with the bundle's folder."""
    release = open_release(Path(path))
    return ReleaseModel(release) if release.manifest.signature is None else RowsModel(release)
