"""Runs in MLflow: parameters, metrics by step, data, artefacts and lineage, each by explicit run id.

No global state of MLflow is touched, so that a replay and the real loop can share a process.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everloop.core.clock import Clock
from everloop.core.digest import canonical_json
from everloop.core.errors import EverloopError
from everloop.core.project import Project
from everloop.experiment.lineage import Lineage, settings_record
from everloop.experiment.mlflow_client import connect, guarded
from everloop.experiment.tracking import DatasetVersion

# after the above, which sets MLflow's switches before it is imported
from mlflow import MlflowClient  # isort: skip
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunStatus, RunTag, ViewType  # isort: skip
from mlflow.exceptions import MlflowException  # isort: skip

__all__ = ["Measurement", "Tracker"]

_BATCH = {"metrics": 900, "params": 90, "tags": 90}
_MOST_PARAM_CHARACTERS = 6_000
_DIGEST_CHARACTERS = 36  # what MLflow's database takes


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number of a run; ``step`` is a horizon step or a fold where there are several of a name."""

    name: str
    value: float
    step: int = 0


class Tracker:
    """A project's runs.

    Attributes:
        uri: MLflow's tracking URI.
        client: MLflow's own client, for what is not offered here.
        experiment: the id of the project's MLflow experiment.
    """

    def __init__(self, project: Project, clock: Clock, client: MlflowClient, experiment: str) -> None:
        self.project = project
        self.clock = clock
        self.client = client
        self.experiment = experiment
        self.uri = project.tracking_uri

    @classmethod
    def open(cls, project: Project, clock: Clock) -> Tracker:
        """Connect, and make the project's experiment where it is missing."""
        uri = project.tracking_uri
        client = connect(uri)
        with guarded(uri):
            found = client.get_experiment_by_name(project.name)
            if found is not None:
                return cls(project, clock, client, found.experiment_id)
            # with a server it is the server that knows where artefacts belong
            own = None if project.settings.tracking.uri else (project.home.absolute() / "mlartifacts").as_uri()
            try:
                experiment = client.create_experiment(project.name, artifact_location=own)
            except MlflowException:
                found = client.get_experiment_by_name(project.name)
                if found is None:
                    raise
                experiment = found.experiment_id  # another process was first
        return cls(project, clock, client, experiment)

    def start(
        self,
        name: str,
        *,
        dataset: DatasetVersion,
        lineage: Lineage,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Open a run with its parameters, data and lineage; returns its id."""
        labels = {
            "mlflow.runName": name,
            "mlflow.source.name": "everloop",
            "mlflow.source.type": "LOCAL",
            "mlflow.source.git.commit": lineage.git_commit,
            "everloop.git_dirty": str(lineage.git_dirty).lower(),
            "everloop.dataset_version": str(dataset.version),
            "everloop.dataset_digest": dataset.digest,
            "everloop.lock_digest": lineage.lock_digest,
            "everloop.settings_digest": lineage.settings_digest,
            "everloop.version": lineage.everloop,
            "everloop.process": _process(),
            **(tags or {}),
        }
        settings = settings_record(self.project)
        flat = {"seed": lineage.seed, **(params or {})}
        for section in ("data", "forecast", "train", "validate"):
            flat |= _flatten(section, settings[section])
        with guarded(self.uri):
            run = self.client.create_run(
                self.experiment, start_time=self._millis(), run_name=name, tags={k: v for k, v in labels.items() if v}
            )
            identifier = str(run.info.run_id)
            pairs = [Param(key, _text(value)[:_MOST_PARAM_CHARACTERS]) for key, value in flat.items()]
            for chunk in _chunks(pairs, _BATCH["params"]):
                self.client.log_batch(identifier, params=chunk)
            self.client.log_inputs(identifier, datasets=[self._dataset_input(dataset)])
        self.log_files(identifier, self._lineage_files(lineage, settings))
        return identifier

    @contextmanager
    def failing(self, run_id: str) -> Iterator[None]:
        """Mark a run FAILED, with the error, where an exception leaves the block."""
        try:
            yield
        except BaseException as error:
            code = error.code if isinstance(error, EverloopError) else type(error).__name__
            try:
                self.set_tags(run_id, {"everloop.error": f"{code}: {error}"[:5_000]})
                self.log_files(run_id, {"error.txt": "".join(traceback.format_exception(error))})
                self.finish(run_id, status="FAILED")
            except EverloopError as second:
                error.add_note(f"the run could not be marked as failed either: {second}")
            raise

    def log(self, run_id: str, measurements: Sequence[Measurement]) -> None:
        """Add metrics; a value that is not finite is left out, since MLflow's charts read it as a number."""
        now = self._millis()
        kept = [each for each in measurements if abs(each.value) < float("inf")]
        metrics = [Metric(each.name, float(each.value), now, each.step) for each in kept]
        with guarded(self.uri):
            for chunk in _chunks(metrics, _BATCH["metrics"]):
                self.client.log_batch(run_id, metrics=chunk)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        pairs = [RunTag(name, value) for name, value in tags.items()]
        with guarded(self.uri):
            for chunk in _chunks(pairs, _BATCH["tags"]):
                self.client.log_batch(run_id, tags=chunk)

    def log_files(self, run_id: str, files: Mapping[str, str | bytes]) -> None:
        """Add artefacts by their path within the run."""
        with tempfile.TemporaryDirectory(prefix="everloop-") as folder:
            for name, content in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.encode() if isinstance(content, str) else content)
            self.log_folder(run_id, Path(folder))

    def log_folder(self, run_id: str, folder: Path, *, to: str | None = None) -> None:
        """Add all of a folder's files as artefacts."""
        with guarded(self.uri):
            self.client.log_artifacts(run_id, str(folder), artifact_path=to)

    def finish(self, run_id: str, *, status: str = "FINISHED") -> None:
        """Close a run; status is ``FINISHED``, ``FAILED`` or ``KILLED``. Metrics may still be added later."""
        with guarded(self.uri):
            self.client.set_terminated(run_id, status=status, end_time=self._millis())

    def runs(self, query: str = "", *, limit: int = 1000) -> list[Run]:
        """The project's runs that fit a filter of MLflow's search language, newest first."""
        found: list[Run] = []
        token = None
        with guarded(self.uri):
            while True:
                page = self.client.search_runs(
                    [self.experiment],
                    filter_string=query,
                    run_view_type=ViewType.ACTIVE_ONLY,
                    max_results=min(limit - len(found), 1000),
                    order_by=["attributes.start_time DESC"],
                    page_token=token,
                )
                found += page
                token = page.token
                if not token or len(found) >= limit:
                    return found

    def close_abandoned(self) -> int:
        """Mark as KILLED the runs that a process of this machine left open when it died; returns how many."""
        count = 0
        for run in self.runs("attributes.status = 'RUNNING'"):
            host, _, pid = run.data.tags.get("everloop.process", "").partition(":")
            if host == socket.gethostname() and pid.isdigit() and not _is_alive(int(pid)):
                self.finish(run.info.run_id, status=RunStatus.to_string(RunStatus.KILLED))
                count += 1
        return count

    def _dataset_input(self, dataset: DatasetVersion) -> DatasetInput:
        source = {"path": str(self.project.table), "delta_table_version": dataset.version}
        columns = self.project.settings.data
        names = [
            *columns.series,
            columns.time,
            columns.target,
            *columns.known_ahead,
            *columns.observed,
            *columns.static,
        ]
        types = {columns.target: "double", columns.time: "datetime"} | dict.fromkeys(columns.series, "string")
        spec = [{"type": types[name], "name": name, "required": True} for name in names if name in types]
        entity = Dataset(
            name=self.project.name,
            digest=dataset.digest[:_DIGEST_CHARACTERS],
            source_type="delta_table",
            source=json.dumps(source),
            schema=json.dumps({"mlflow_colspec": spec}),
            profile=canonical_json({"digest": dataset.digest, "rows": dataset.rows, "version": dataset.version}),
        )
        return DatasetInput(dataset=entity, tags=[InputTag("mlflow.data.context", "training")])

    def _lineage_files(self, lineage: Lineage, settings: dict[str, Any]) -> dict[str, str | bytes]:
        files: dict[str, str | bytes] = {
            "lineage/lock.txt": lineage.lock,
            "lineage/settings.json": json.dumps(settings, indent=2, sort_keys=True) + "\n",
        }
        if lineage.git_diff:
            files["lineage/diff.patch"] = lineage.git_diff
        return files

    def _millis(self) -> int:
        return int(self.clock.now().timestamp() * 1000)


def _process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # there, signal 0 is no question but an interrupt
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _flatten(prefix: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict) and value:
        flat: dict[str, Any] = {}
        for name, each in value.items():
            flat |= _flatten(f"{prefix}.{name}", each)
        return flat
    return {prefix: value}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _chunks(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
