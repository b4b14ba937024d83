"""What is found out about a model once, when it is adopted, so that a server need not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from everloop.core.errors import ModelError
from everloop.models.tabular.mlmodel import MAIN_OUTPUT, MlModel
from everloop.models.tabular.signature import Column, Output, Signature

__all__ = ["NATIVE_FOLDER", "Recognized", "as_pyfunc", "label_outputs", "main_name", "named_columns", "value_output"]

NATIVE_FOLDER = "native"
"""Where a bundle keeps what was taken out of a model's files, so that a server need not load them."""

_PROBABILITY = "probability"


@dataclass(frozen=True, slots=True)
class Recognized:
    """How a model is loaded.

    Attributes:
        flavor: one of :data:`everloop.models.tabular.loading.FLAVORS`.
        signature: what it takes and gives.
        options: what its loader needs to know, as JSON values.
        runs_code: whether loading it runs code from its files.
    """

    flavor: str
    signature: Signature
    options: dict[str, Any] = field(default_factory=dict)
    runs_code: bool = False


def as_pyfunc(mlmodel: MlModel) -> Recognized:
    """A model that is asked through MLflow, since nothing shorter is known for it.

    Raises:
        ModelError: it has no signature, or no way to ask it from Python.
    """
    if "python_function" not in mlmodel.flavors:
        known = ", ".join(sorted(mlmodel.flavors)) or "none"
        raise ModelError(
            "flavor_unknown",
            f"the model has no flavor that is served here (it has {known})",
            hint="save it with a flavor that has python_function",
        )
    if mlmodel.signature is None or not (mlmodel.signature.columns or mlmodel.signature.tensors):
        raise ModelError(
            "signature_missing",
            "the model was logged without a signature, and what it takes cannot be told from its files",
            hint="log it with signature=mlflow.models.infer_signature(inputs, outputs)",
        )
    signature = mlmodel.signature
    outputs = signature.outputs or (Output(MAIN_OUTPUT),)
    found = Signature(signature.columns, signature.tensors, outputs, signature.parameters)
    return Recognized("pyfunc", found, {"runs_code": True}, runs_code=True)


def main_name(mlmodel: MlModel) -> str:
    """The name of the main output, as the signature has it where it names just one."""
    outputs = mlmodel.signature.outputs if mlmodel.signature else ()
    return outputs[0].name if len(outputs) == 1 else MAIN_OUTPUT


def value_output(name: str, count: int = 1, dtype: str = "float64") -> Output:
    """An output of one number a row, or of several."""
    return Output(name, dtype, (count,) if count > 1 else ())


def label_outputs(name: str, classes: Any, *, dtype: str = "float64") -> tuple[Output, Output]:
    """The outputs of a classifier: the label, and the probability of each class, of type ``dtype``."""
    values = np.asarray(classes)
    known = tuple(values.tolist())
    labels = str(values.dtype) if values.dtype.kind in "biuf" else "object"
    further = _PROBABILITY if name != _PROBABILITY else "probabilities"
    return Output(name, labels, (), known), Output(further, dtype, (len(known),), known)


def named_columns(names: Sequence[str]) -> tuple[Column, ...]:
    """Columns of numbers, for a model that names its features and has no signature."""
    return tuple(Column(name, "double") for name in names)
