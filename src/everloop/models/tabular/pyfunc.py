"""Any other model of MLflow's, asked through ``mlflow.pyfunc``.

The slowest way, and the only one that suits every model: MLflow checks each frame against the signature again and
copies it, some 1 to 2 ms a request.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError
from everloop.models.tabular.frames import FrameMaker
from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.signature import Signature

__all__ = ["PyfuncPredictor", "load", "outputs_of"]


class PyfuncPredictor:
    """A model behind MLflow's ``predict(data, params)``.

    Args:
        model: what ``mlflow.pyfunc.load_model`` gives.
        signature: what it takes and gives.
    """

    flavor = "pyfunc"
    is_exact_in_batch = False

    def __init__(self, model: Any, signature: Signature) -> None:
        self.signature = signature
        self._model = model
        self._maker = FrameMaker(signature) if signature.columns else None
        self._names = [output.name for output in signature.outputs]

    def predict(
        self, rows: Rows, parameters: Mapping[str, Any], outputs: Collection[str] = ()
    ) -> dict[str, NDArray[Any]]:
        """See :class:`everloop.models.tabular.predictor.Predictor`."""
        if self._maker is not None:
            data: Any = self._maker.make(rows)
        elif len(self.signature.tensors) == 1 and self.signature.tensors[0].name not in self._own_tensors():
            data = rows.tensors[self.signature.tensors[0].name]
        else:
            data = dict(rows.tensors)
        try:
            answer = self._model.predict(data, params=dict(parameters) or None)
        except Exception as error:  # whatever the model's own code raises
            raise ModelError(
                "model_failed",
                f"the model failed: {type(error).__name__}: {error}",
                hint="does it answer its own input example? mlflow.pyfunc.load_model(bundle).predict(...)",
            ) from error
        return outputs_of(answer, self._names, rows.n)

    def _own_tensors(self) -> list[str]:
        """The tensors that the model itself has names for; MLflow takes one without a name as a plain array."""
        schema = self._model.metadata.get_input_schema()
        return [name for name in schema.input_names() if name] if schema and schema.has_input_names() else []


def outputs_of(answer: Any, names: list[str], n: int) -> dict[str, NDArray[Any]]:
    """A model's answer, whatever its form, as arrays by the outputs' names.

    Args:
        answer: a frame, a mapping, a series, an array or a list.
        names: the outputs of the signature; of another form than theirs, the answer's own names count.
        n: how many rows were asked.

    Raises:
        ModelError: the answer has another number of rows.
    """
    if hasattr(answer, "columns"):
        own = [str(name) for name in answer.columns]
        # an unnamed output of a signature is a frame's only column, whatever its name
        used = names if len(names) == len(own) == 1 else own
        found = {name: answer.iloc[:, place].to_numpy() for place, name in enumerate(used)}
    elif isinstance(answer, Mapping):
        found = {str(name): np.asarray(values) for name, values in answer.items()}
        if len(found) == len(names) == 1:
            found = {names[0]: next(iter(found.values()))}
    else:
        found = {names[0]: np.asarray(answer)}
    for name, values in found.items():
        if values.ndim == 0 or len(values) != n:
            raise ModelError(
                "model_output",
                f"the model gave {len(values) if values.ndim else 1} values of {name!r} for {n} rows",
                hint="a model of rows must answer each row",
            )
    return found


def load(folder: Path, signature: Signature, options: Mapping[str, Any]) -> PyfuncPredictor:
    """The model of a bundle that MLflow can load; ``options["folder"]`` names its folder within."""
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(name, "true")  # MLflow reads them while it is imported
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own use of what its dependencies have deprecated
        import mlflow.pyfunc  # seconds and 200 MB: for such models alone

        return PyfuncPredictor(mlflow.pyfunc.load_model(str(folder / options.get("folder", "."))), signature)
