"""Several models behind one: each row goes to the model that its value in one column names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError, RequestError, nearest
from everloop.models.tabular.loading import load_predictor
from everloop.models.tabular.predictor import Hasting, Predictor, Rows
from everloop.models.tabular.signature import Column, Signature

__all__ = ["PartitionedPredictor", "joint_signature", "load"]


class PartitionedPredictor:
    """Models by the value of a column.

    Args:
        signature: what all of them take together, with the column.
        by: the column.
        parts: the model of each value, as text.
    """

    flavor = "partitioned"

    def __init__(self, signature: Signature, by: str, parts: Mapping[str, Predictor]) -> None:
        self.signature = signature
        self.is_exact_in_batch = all(part.is_exact_in_batch for part in parts.values())
        names = [column.name for column in signature.columns]
        self._by, self._place = by, names.index(by)
        is_text = signature.columns[self._place].type == "string"
        self._parts: dict[Any, Predictor] = {key if is_text else float(key): part for key, part in parts.items()}
        self._known = tuple(parts)
        # the places of a model's own columns in the joint matrix; None where they are all of it, in order
        self._places = {}
        for key, part in self._parts.items():
            own = [names.index(column.name) for column in part.signature.columns]
            self._places[key] = None if own == list(range(len(names))) else own

    def predict(
        self, rows: Rows, parameters: Mapping[str, Any], outputs: Collection[str] = ()
    ) -> dict[str, NDArray[Any]]:
        """See :class:`everloop.models.tabular.predictor.Predictor`.

        Raises:
            RequestError: a row names no model.
        """
        column = rows.columns[self._by] if rows.matrix is None else rows.matrix[:, self._place]
        keys: list[Any] = column.tolist()
        first = keys[0] if keys else next(iter(self._parts))
        if keys.count(first) >= len(keys):  # as it is for one row
            return self._part(first).predict(self._rows(rows, first, None), parameters, outputs)
        groups: dict[Any, list[int]] = {}
        for place, key in enumerate(keys):
            groups.setdefault(key, []).append(place)
        found: dict[str, NDArray[Any]] = {}
        for key, places in groups.items():
            answer = self._part(key).predict(self._rows(rows, key, places), parameters, outputs)
            for name, values in answer.items():
                if name not in found:
                    found[name] = np.empty((rows.n, *values.shape[1:]), dtype=values.dtype)
                found[name][places] = values
        return found

    def hasten(self, examples: Rows | None) -> str:
        """See :class:`everloop.models.tabular.predictor.Hasting`: each model is hastened by itself."""
        notes = [part.hasten(None) for part in self._parts.values() if isinstance(part, Hasting)]
        return "; ".join(dict.fromkeys(notes))

    def _part(self, key: Any) -> Predictor:
        part = self._parts.get(key)
        if part is None:
            shown = "nothing" if key is None or key != key else f"{key:g}" if isinstance(key, float) else str(key)
            raise RequestError(
                "partition_unknown",
                f"there is no model for {self._by} = {shown!r}",
                hint=nearest(shown, self._known),
                path=self._by,
            )
        return part

    def _rows(self, rows: Rows, key: Any, places: Sequence[int] | None) -> Rows:
        """The rows at some places (all for ``None``), with the columns of one model."""
        n = rows.n if places is None else len(places)
        if rows.matrix is not None:
            matrix = rows.matrix if places is None else rows.matrix[places]
            own = self._places[key]
            return Rows(n, matrix=matrix if own is None else matrix[:, own])
        if places is None:
            return Rows(n, columns=rows.columns)
        return Rows(n, columns={name: values[places] for name, values in rows.columns.items()})


def load(folder: Path, signature: Signature, options: Mapping[str, Any]) -> PartitionedPredictor:
    """The models in the folders that ``options["parts"]`` names, each with its value, flavor, signature and options."""
    parts = {
        str(part["value"]): load_predictor(
            folder / part["folder"],
            flavor=part["flavor"],
            signature=msgspec.convert(part["signature"], Signature),
            options=part["options"],
            allow_pickle=True,  # whoever calls this was asked for the leave of the whole
        )
        for part in options["parts"]
    }
    return PartitionedPredictor(signature, str(options["by"]), parts)


def joint_signature(by: str, signatures: Mapping[str, Signature]) -> Signature:
    """What models take together: the column that tells them apart, and every column of any of them.

    A column is required where every model requires it.

    Raises:
        ModelError: they give different outputs, or take one column as different types.
    """
    first_value, first = next(iter(signatures.items()))
    columns: dict[str, Column] = {}
    for value, signature in signatures.items():
        if signature.outputs != first.outputs or signature.parameters != first.parameters:
            raise _differ(f"what the models of {first_value!r} and {value!r} give differs")
        if signature.tensors:
            raise _differ(f"the model of {value!r} takes tensors, in which no column has a name")
        for column in signature.columns:
            known = columns.setdefault(column.name, column)
            if known.type != column.type:
                raise _differ(f"{column.name!r} is {known.type} for one model and {column.type} for that of {value!r}")
    columns = {
        name: Column(name, column.type, required=all(_requires(each, name) for each in signatures.values()))
        for name, column in columns.items()
    }
    routed = Column(by, columns[by].type if by in columns else "string")
    if routed.type not in ("string", "integer", "long", "double", "float"):
        raise _differ(f"{by!r} is {routed.type}; models are told apart by texts or numbers")
    if by in columns:
        columns[by] = routed
    return Signature(
        columns=(*columns.values(),) if by in columns else (routed, *columns.values()),
        outputs=first.outputs,
        parameters=first.parameters,
    )


def _requires(signature: Signature, name: str) -> bool:
    return any(column.name == name and column.required for column in signature.columns)


def _differ(message: str) -> ModelError:
    return ModelError("partition_signature", message, hint="models of one release must answer alike")
