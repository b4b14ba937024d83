"""The files that make a bundle an MLflow model: ``MLmodel`` with its signature, and the environment's files.

Imported only where a bundle is built, since MLflow takes seconds to import.
"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import everloop.experiment.mlflow_client  # noqa: F401 - sets MLflow's switches before it is imported
from everloop.core.digest import digest_bytes
from everloop.experiment.lineage import Lineage
from everloop.release.environment import write_environment
from everloop.release.manifest import Manifest

from mlflow.models import Model, ModelSignature  # isort: skip
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec  # isort: skip

__all__ = ["write_flavor"]

_TYPES = {"string": DataType.string, "number": DataType.double, "time": DataType.datetime}


def write_flavor(folder: Path, manifest: Manifest, lineage: Lineage, *, has_code: bool) -> None:
    """Write ``MLmodel``, ``requirements.txt``, ``conda.yaml`` and ``python_env.yaml`` into a bundle."""
    pins = pinned_requirements(lineage)
    python = manifest.provenance.python
    write_environment(folder, manifest.project, python, pins)
    model = Model(
        artifact_path="release",
        run_id=manifest.run_id,
        utc_time_created=manifest.created_at,
        model_uuid=digest_bytes(f"{manifest.run_id}{manifest.model_digest}".encode())[:32],
        signature=signature_of(manifest),
        metadata={"project": manifest.project, "candidate": manifest.candidate, "model_digest": manifest.model_digest},
    )
    # the flavour's keys are written here, since importing mlflow.pyfunc brings in much that is not needed and warns
    flavor = {
        "loader_module": "everloop.release.pyfunc",
        "python_version": python,
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
    }
    model.add_flavor("python_function", **flavor, **({"code": "code"} if has_code else {}))
    model.save(folder / "MLmodel")


def signature_of(manifest: Manifest) -> ModelSignature:
    """The signature: the request's columns, the answer's, and the parameters ``horizon`` and ``levels``."""
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(_TYPES[each.type], each.name, required=each.required) for each in manifest.inputs
    ]
    outputs: list[ColSpec | TensorSpec] = [ColSpec(DataType.string, name) for name in manifest.columns.series]
    outputs += [ColSpec(DataType.string, manifest.columns.time), ColSpec(DataType.double, "forecast")]
    ends = [f"{end}-{level:g}" for level in manifest.levels for end in ("lo", "hi")]
    outputs += [ColSpec(DataType.double, name, required=False) for name in ends]
    params = [
        ParamSpec("horizon", DataType.long, manifest.horizon),
        ParamSpec("levels", DataType.double, [float(level) for level in manifest.levels], shape=(-1,)),
    ]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs), params=ParamSchema(params))


def pinned_requirements(lineage: Lineage) -> list[str]:
    """Everloop and what it requires directly, at the versions that are installed; the whole is in ``lock.txt``."""
    installed = dict(package.split("==", 1) for package in lineage.packages)
    pins = [f"everloop=={lineage.everloop}"]
    for requirement in metadata.requires("everloop") or []:
        head, _, marker = requirement.partition(";")
        name = re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~\[(]", head.strip(), maxsplit=1)[0]).lower()
        if "extra ==" not in marker and name in installed:
            pins.append(f"{name}=={installed[name]}")
    return sorted(pins)
