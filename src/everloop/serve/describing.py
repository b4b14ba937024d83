"""What is served, described for callers: its columns, and requests that it can answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import numpy as np

from everloop.models.tabular.signature import Signature
from everloop.release.bundle import examples_of
from everloop.serve.loading import Loaded
from everloop.serve.served import Served
from everloop.serve.tabular.served import ServedRows
from everloop.serve.v2.datatypes import datatype_of

__all__ = ["Example", "ModelDescription", "describe_served"]

_SAMPLES: dict[str, Any] = {
    "boolean": True,
    "integer": 1,
    "long": 1,
    "float": 0.5,
    "double": 0.5,
    "string": "text",
    "binary": "dGV4dA==",
    "datetime": "2026-01-31T00:00:00",
}
_JSON_TYPES: dict[str, dict[str, Any]] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "long": {"type": "integer"},
    "float": {"type": "number"},
    "double": {"type": "number"},
    "string": {"type": "string"},
    "binary": {"type": "string", "contentEncoding": "base64"},
    "datetime": {"type": "string", "format": "date-time"},
}


@dataclass(frozen=True, slots=True)
class Example:
    """A request that the model answers.

    Attributes:
        name: one word for it.
        title: what it asks.
        method: the HTTP method.
        path: the path.
        body: the JSON body; ``None`` for none.
    """

    name: str
    title: str
    method: str
    path: str
    body: Any = None


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What a caller must know to ask.

    Attributes:
        project: the project's name, which is the model's.
        release: the digest of the release in charge.
        task: ``forecasting``, ``regression`` or ``classification``.
        row: the JSON schema of a row as ``/invocations`` takes it.
        examples: requests by the name of the body that they show.
        facts: what a page shows of it, in order.
    """

    project: str
    release: str
    task: str
    row: Mapping[str, Any]
    examples: Sequence[Example]
    facts: Mapping[str, str] = field(default_factory=dict)


def describe_served(project: str, served: Loaded) -> ModelDescription:
    """The description of a release that is loaded."""
    return _of_forecaster(project, served) if isinstance(served, Served) else _of_rows(project, served)


def _of_forecaster(project: str, served: Served) -> ModelDescription:
    manifest, panel = served.release.manifest, served.panel
    horizon = min(7, manifest.horizon)
    keys = list(served.keys[:2])
    names = panel.series_columns
    rows = [dict(zip(names, map(str, key), strict=True)) for key in panel.keys[:2]]
    tensor = {"name": "series", "datatype": "BYTES", "shape": [len(keys)], "data": keys}
    examples = [
        Example("forecast", "Forecast series", "POST", "/v1/forecast", {"series": keys, "horizon": horizon}),
        *_what_if(served, keys[:1], horizon),
        Example(
            "infer",
            "The same by the Open Inference Protocol",
            "POST",
            f"/v2/models/{project}/infer",
            {"inputs": [tensor], "parameters": {"horizon": horizon}},
        ),
        Example(
            "invocations",
            "The same by MLflow's protocol",
            "POST",
            "/invocations",
            {"dataframe_records": rows, "params": {"horizon": horizon}},
        ),
    ]
    if keys:
        examples.insert(1, Example("series", "Forecast one series", "GET", "/v1/forecast/" + quote(keys[0], safe="/%")))
    properties = {name: {"type": ["string", "number"]} for name in names}
    properties |= {name: _known_schema(served, name) for name in sorted(panel.known)}
    row = {
        "type": "object",
        "description": "A row: a series, perhaps an instant, and known-ahead values of a what-if.",
        "properties": properties | {manifest.columns.time: {"type": "string"}},
        "required": list(names),
        "additionalProperties": False,
    }
    facts = {
        "candidate": manifest.candidate,
        "series": f"{len(served.keys):,}",
        "horizon": f"{manifest.horizon} steps of {manifest.columns.frequency}",
        "knows data up to": served.cutoff.date().isoformat(),
        "what-if columns": ", ".join(sorted(panel.known)) or "none",
    }
    return ModelDescription(project, served.release.digest, "forecasting", row, examples, facts)


def _what_if(served: Served, keys: list[str], horizon: int) -> list[Example]:
    """An example with a known-ahead number changed, where there is one."""
    names = sorted(set(served.panel.known) - set(served.panel.categories))
    if not names or not keys:
        return []
    values = served.panel.known[names[0]]
    value = round(float(np.nanmedian(values)), 3) if np.isfinite(values).any() else 1.0
    body = {"series": keys, "horizon": horizon, "future": {names[0]: value}}
    return [Example("what_if", f"What if {names[0]} were {value:g}?", "POST", "/v1/forecast", body)]


def _known_schema(served: Served, name: str) -> dict[str, Any]:
    categories = served.panel.categories.get(name)
    return {"type": ["number", "null"]} if categories is None else {"enum": [*map(str, categories), None]}


def _of_rows(project: str, served: ServedRows) -> ModelDescription:
    signature = served.signature
    kept = examples_of(served.release)
    count = min(2, max((len(values) for values in kept.values()), default=1))
    columns = {name: values[:count] for name, values in kept.items()} or _made_up(signature)
    if signature.columns:
        names = [each.name for each in signature.columns if each.name in columns]
        rows = [list(row) for row in zip(*(columns[name] for name in names), strict=True)]
        invocations: Any = {"dataframe_split": {"columns": names, "data": rows}}
    else:
        invocations = {"inputs": columns}
    examples = [
        Example(
            "infer",
            "Predict by the Open Inference Protocol",
            "POST",
            f"/v2/models/{project}/infer",
            {"inputs": _tensors(served, columns)},
        ),
        Example("invocations", "Predict by MLflow's protocol", "POST", "/invocations", invocations),
    ]
    row = {
        "type": "object",
        "description": "A row, by column.",
        "properties": {each.name: _column_schema(each.type, is_required=each.required) for each in signature.columns},
        "required": [each.name for each in signature.columns if each.required],
        "additionalProperties": not signature.columns,
    }
    manifest = served.release.manifest
    takes = [f"{each.name} ({each.type})" for each in signature.columns[:12]]
    takes += [f"{each.name} ({each.dtype})" for each in signature.tensors]
    more = len(signature.columns) - 12
    facts = {
        "task": manifest.task,
        "library": manifest.flavor,
        "takes": ", ".join(takes) + (f" and {more} more" if more > 0 else ""),
        "gives": ", ".join(f"{each.name} ({each.dtype})" for each in signature.outputs),
    }
    return ModelDescription(project, served.release.digest, manifest.task, row, examples, facts)


def _column_schema(kind: str, *, is_required: bool) -> dict[str, Any]:
    schema = dict(_JSON_TYPES[kind])
    if not is_required or kind in ("float", "double"):  # a missing number is null
        schema["type"] = [schema["type"], "null"]
    return schema


def _made_up(signature: Signature) -> dict[str, list[Any]]:
    """One row by type alone, where a release keeps no example."""
    if signature.columns:
        return {each.name: [_SAMPLES[each.type]] for each in signature.columns}
    return {
        each.name: np.zeros([1, *(max(size, 1) for size in each.shape[1:])], _plain(each.dtype)).tolist()
        for each in signature.tensors
    }


def _plain(dtype: str) -> str:
    return "U1" if np.dtype(dtype).kind in "OSU" else dtype


def _tensors(served: ServedRows, columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Example values as the protocol's input tensors; all columns of numbers are one."""
    signature = served.signature
    if served.decoder.is_matrix and all(each.name in columns for each in signature.columns):
        rows = zip(*(columns[each.name] for each in signature.columns), strict=True)
        values = [[None if value is None else float(value) for value in row] for row in rows]
        shape = [len(values), len(signature.columns)]
        return [{"name": "rows", "datatype": "FP64", "shape": shape, "data": [each for row in values for each in row]}]
    tensors = []
    for reader in served.decoder.readers:
        values = columns.get(reader.name, [])
        if not values or any(value is None for value in values):  # BYTES and whole numbers know no missing value
            continue
        tensors.append({"name": reader.name, "datatype": reader.datatype, "shape": [len(values)], "data": values})
    for each in signature.tensors:
        nested = columns.get(each.name, [])
        shape = list(np.shape(np.array(nested, dtype=object)))
        tensors.append({"name": each.name, "datatype": datatype_of(each.dtype), "shape": shape, "data": nested})
    return tensors
