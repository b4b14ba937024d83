"""MLflow's ``MLmodel`` file: the flavours of a model and its signature, read without MLflow.

Read once, when a model is adopted; a server finds the signature in the release's manifest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everloop.core.errors import ModelError, NotFoundError
from everloop.models.tabular.signature import Column, Output, Parameter, Signature, Tensor

__all__ = ["MAIN_OUTPUT", "MLMODEL_FILE", "MlModel", "read_mlmodel", "write_mlmodel"]

MLMODEL_FILE = "MLmodel"
MAIN_OUTPUT = "prediction"
"""The name of the main output where the signature gives none."""

_COLUMN_TYPES = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
_DTYPES = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "datetime": "datetime64[us]",
}


@dataclass(frozen=True, slots=True)
class MlModel:
    """What an ``MLmodel`` file says.

    Attributes:
        flavors: the settings of each flavour by its name.
        signature: what the model takes and gives; ``None`` where it was logged without one.
        run_id: the run that logged it; may be empty.
        example: the file of its input example, empty without one.
        example_type: ``"dataframe"``, ``"ndarray"``, ``"json_object"`` and the like, as MLflow calls it.
    """

    flavors: Mapping[str, Mapping[str, Any]]
    signature: Signature | None
    run_id: str = ""
    example: str = ""
    example_type: str = ""


def read_mlmodel(folder: Path) -> MlModel:
    """Read the ``MLmodel`` file of a model's folder.

    Raises:
        NotFoundError: there is none.
        ModelError: it cannot be read, or a column of its signature is of a type that is not served.
    """
    import yaml  # comes with MLflow; a server reads manifests only

    path = folder / MLMODEL_FILE
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(
            "mlmodel_missing",
            f"there is no {MLMODEL_FILE} file in {folder}",
            hint="name the folder that mlflow.<library>.save_model wrote, or a model's own file",
            path=str(path),
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _unreadable(path, str(error)) from error
    if not isinstance(tree, dict) or not isinstance(tree.get("flavors"), dict):
        raise _unreadable(path, "it names no flavors")
    example = tree.get("saved_input_example_info") or {}
    try:
        signature = signature_of(tree["signature"]) if tree.get("signature") else None
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, f"its signature is damaged ({error!r})") from error
    return MlModel(
        flavors=tree["flavors"],
        signature=signature,
        run_id=str(tree.get("run_id") or ""),
        example=str(example.get("artifact_path") or ""),
        example_type=str(example.get("type") or ""),
    )


def signature_of(tree: Mapping[str, Any]) -> Signature:
    """MLflow's signature, whose parts are JSON texts.

    >>> inputs = '[{"name": "price", "type": "double", "required": false}]'
    >>> signature_of({"inputs": inputs, "outputs": '[{"type": "long"}]'}).columns
    (Column(name='price', type='double', required=False),)
    """
    inputs = _entries(tree.get("inputs"))
    is_tensor = bool(inputs) and inputs[0]["type"] == "tensor"
    return Signature(
        columns=() if is_tensor else tuple(_column(place, each) for place, each in enumerate(inputs)),
        tensors=tuple(_tensor(place, each) for place, each in enumerate(inputs)) if is_tensor else (),
        outputs=_outputs(_entries(tree.get("outputs"))),
        parameters=tuple(
            Parameter(str(each["name"]), str(each["type"]), each.get("default"))
            for each in _entries(tree.get("params"))
        ),
    )


def write_mlmodel(
    folder: Path, flavors: Mapping[str, Mapping[str, Any]], signature: Signature, *, run_id: str = ""
) -> None:
    """Write an ``MLmodel`` file for a model that MLflow did not save; JSON is YAML too."""
    inputs = [*map(_column_spec, signature.columns), *map(_tensor_spec, signature.tensors)]
    outputs = [
        {"type": "tensor", "name": each.name, "tensor-spec": {"dtype": _text_type(each), "shape": [-1, *each.shape]}}
        for each in signature.outputs[:1]
    ]
    params = [
        {"name": each.name, "type": each.type, "default": each.default, "shape": None} for each in signature.parameters
    ]
    texts = {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": json.dumps(params) or None}
    tree = {"flavors": flavors, "signature": texts} | ({"run_id": run_id} if run_id else {})
    (folder / MLMODEL_FILE).write_text(json.dumps(tree, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _column_spec(column: Column) -> dict[str, Any]:
    return {"name": column.name, "type": column.type, "required": column.required}


def _tensor_spec(tensor: Tensor) -> dict[str, Any]:
    spec = {"dtype": "str" if tensor.dtype == "object" else tensor.dtype, "shape": list(tensor.shape)}
    return {"name": tensor.name, "type": "tensor", "tensor-spec": spec}


def _text_type(output: Output) -> str:
    return "str" if output.dtype == "object" else output.dtype


def _entries(text: Any) -> list[dict[str, Any]]:
    return list(json.loads(text)) if text else []


def _column(place: int, entry: Mapping[str, Any]) -> Column:
    name = str(entry.get("name") or place)
    if entry["type"] not in _COLUMN_TYPES:
        raise ModelError(
            "signature_type",
            f"column {name!r} is of type {entry['type']}, which is not served",
            hint=f"served are {', '.join(_COLUMN_TYPES)}, and tensors",
            path=name,
        )
    return Column(name, entry["type"], required=not entry.get("optional", not entry.get("required", True)))


def _tensor(place: int, entry: Mapping[str, Any]) -> Tensor:
    spec = entry["tensor-spec"]
    name = entry.get("name") or ("input" if place == 0 else f"input-{place}")
    return Tensor(str(name), _dtype(str(spec["dtype"])), tuple(int(size) for size in spec["shape"]))


def _outputs(entries: list[dict[str, Any]]) -> tuple[Output, ...]:
    outputs = []
    for place, entry in enumerate(entries):
        name = str(entry.get("name") or (MAIN_OUTPUT if place == 0 else f"{MAIN_OUTPUT}-{place}"))
        if entry["type"] == "tensor":
            spec = entry["tensor-spec"]
            outputs.append(Output(name, _dtype(str(spec["dtype"])), tuple(int(size) for size in spec["shape"][1:])))
        else:
            outputs.append(Output(name, _DTYPES.get(entry["type"], "object")))
    return tuple(outputs)


def _dtype(name: str) -> str:
    """NumPy's name of a type; texts and bytes are objects."""
    return "object" if name.startswith(("str", "bytes", "<U", "|S", "object")) else name


def _unreadable(path: Path, reason: str) -> ModelError:
    return ModelError(
        "mlmodel", f"{path} cannot be read: {reason}", hint="save the model again with MLflow", path=str(path)
    )
