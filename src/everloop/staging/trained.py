"""What a trained model itself answers, on the way that training knows: what the served answers are held against."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from everloop.core.project import Project
from everloop.data.panel import join_key
from everloop.models.asking import ask
from everloop.models.forecaster import Forecaster, ForecastRequest
from everloop.models.tabular.signature import Signature
from everloop.release.bundle import Release, examples_of
from everloop.serve.query import level_labels
from everloop.staging.asking import Answers, asked_reach, chosen, plain, row_values

__all__ = ["forecasts_of", "mlflow_rows"]

_TYPES = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "datetime": "M8[ns]",
}


def forecasts_of(project: Project, release: Release, model: Forecaster) -> Answers:
    """A forecaster's own answers for the series that a rehearsal asks for, each asked alone.

    Args:
        project: the project; its horizon and levels are asked.
        release: what was made of the model.
        model: the fitted model, as training left it or loaded from the bundle.

    Raises:
        ModelError: the model fails.
    """
    keys = model.series_panel().keys
    horizon, levels = asked_reach(project, release)
    found: Answers = {}
    for place in chosen(len(keys)):
        request = ForecastRequest(horizon, levels, np.array([place]))
        forecast = ask(model, request, missing_ahead=project.settings.data.missing_ahead)
        outputs = {"forecast": plain(forecast.mean[0])}
        for level in forecast.lower:
            low, high = level_labels(level)
            outputs[low], outputs[high] = plain(forecast.lower[level][0]), plain(forecast.upper[level][0])
        found[join_key(keys[place])] = outputs
    return found


def mlflow_rows(release: Release) -> Answers:
    """What MLflow answers for a bundle's example rows when it loads the model that was recorded; empty without any."""
    examples = examples_of(release)
    signature = release.manifest.signature
    if signature is None or not examples:
        return {}
    import everloop.experiment.mlflow_client  # noqa: F401 - sets MLflow's switches before it is imported

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what libraries say of their versions is told when the model is adopted
        import mlflow.pyfunc

        answer = mlflow.pyfunc.load_model(str(release.folder)).predict(_input(signature, examples))
    main = signature.outputs[0].name
    return row_values(main, _main(answer, main))


def _input(signature: Signature, examples: Mapping[str, list[Any]]) -> Any:
    """The example as MLflow takes it: tensors by name, or one alone, or a frame of the signature's types."""
    if signature.tensors:
        tensors = {each.name: np.asarray(examples[each.name], dtype=each.dtype) for each in signature.tensors}
        return tensors if len(tensors) > 1 else next(iter(tensors.values()))
    import pandas as pd

    columns = {}
    for column in signature.columns:
        if column.name not in examples:
            continue
        values = np.array(examples[column.name], dtype=object)
        columns[column.name] = values.astype(_TYPES[column.type]) if column.type in _TYPES else values
    return pd.DataFrame(columns)


def _main(answer: Any, name: str) -> Any:
    """The main output of an answer of MLflow's, an array, a series, a frame or a mapping."""
    if hasattr(answer, "columns"):
        return answer[name].to_numpy() if name in answer.columns else np.squeeze(answer.to_numpy())
    if isinstance(answer, Mapping):
        return np.asarray(answer[name] if name in answer else next(iter(answer.values())))
    return np.asarray(answer)
