"""Fitting a candidate: the same data, code and seed give the same model, to the byte."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everloop.core.digest import digest_json, digest_tree
from everloop.core.errors import EverloopError, ModelError
from everloop.core.project import Project
from everloop.core.seeds import derive_seed
from everloop.data.panel import Panel
from everloop.data.table import DatasetVersion
from everloop.experiment.group_fits import fit_groups
from everloop.models.catalog import make_forecaster
from everloop.models.ensemble import ENSEMBLE, MEMBERS
from everloop.models.forecaster import FitContext, Forecaster
from everloop.models.partitioned import GROUP_MODEL, PARTITIONED, PartitionedForecaster

__all__ = ["Fitted", "fit_candidate", "fit_context", "make_candidate", "saved_digest"]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A candidate fitted to all of a panel.

    Attributes:
        name: the candidate's name in the settings.
        model: the fitted forecaster.
        options: its constructor's parameters, as JSON values.
        model_digest: the digest of the files that it saves.
        seconds: how long the fit took.
        peak_bytes: the most memory that the process has held so far; ``None`` where the system does not tell.
        context: what the fit was given.
    """

    name: str
    model: Forecaster
    options: dict[str, Any]
    model_digest: str
    seconds: float
    peak_bytes: int | None
    context: FitContext


def make_candidate(project: Project, candidate: str, *, options: Mapping[str, Any] | None = None) -> Forecaster:
    """An unfitted forecaster by its name in the settings, with ``train.options`` unless others are given.

    The members of an ensemble, and the models of groups, have their own options of the settings, unless it says
    otherwise.

    Raises:
        UsageError: there is no such candidate, or it does not take these options.
    """
    known = project.settings.train.options
    chosen = dict(known.get(candidate, {}) if options is None else options)
    if options is None and (members := _members(candidate, chosen)):
        chosen.setdefault("options", {name: known[name] for name in members if name in known})
    return make_forecaster(candidate, chosen, root=project.root)


def _members(candidate: str, options: Mapping[str, Any]) -> Sequence[str]:
    """The forecasters that a candidate is made of."""
    if candidate == ENSEMBLE:
        return tuple(options.get("members", MEMBERS))
    if candidate == PARTITIONED:
        return tuple(dict.fromkeys((options.get("model", GROUP_MODEL), *options.get("models", {}).values())))
    return ()


def fit_context(project: Project, *, seed_names: tuple[str, ...] = ()) -> FitContext:
    """What a candidate's fit may rely on.

    The seed follows from the project's and further names; a candidate draws its own from it, and an ensemble's member
    the same as alone.
    """
    settings = project.settings
    return FitContext(
        horizon=settings.forecast.horizon,
        levels=tuple(settings.forecast.levels),
        seed=derive_seed(settings.project.seed, "fit", *seed_names),
        threads=settings.train.threads or available_threads(),
    )


def available_threads() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def fit_candidate(
    project: Project,
    panel: Panel,
    candidate: str,
    *,
    options: Mapping[str, Any] | None = None,
    seed_names: tuple[str, ...] = (),
    dataset: DatasetVersion | None = None,
) -> Fitted:
    """Fit a candidate to all that a panel holds.

    Args:
        project: the project.
        panel: the data.
        candidate: its name in the settings.
        options: constructor parameters instead of the settings' own.
        seed_names: further names that the seed follows from.
        dataset: the version that the whole panel was loaded from; given, models of groups are fitted by the settings'
            engine, else in this process.

    Raises:
        UsageError: there is no such candidate.
        ModelError: it cannot be fitted to these data.
        IntegrityError: the table gives a worker another panel.
        UnavailableError: the engine is away.
    """
    model = make_candidate(project, candidate, options=options)
    context = fit_context(project, seed_names=seed_names)
    started = time.perf_counter()
    fitted: Forecaster
    if dataset is not None and project.settings.engine.is_shared and type(model) is PartitionedForecaster:
        with _telling(candidate):
            fitted = fit_groups(project, panel, dataset.version, model, context)
    else:
        fitted = fit_model(model, panel, context, name=candidate)
    seconds = time.perf_counter() - started
    return Fitted(candidate, fitted, fitted.parameters(), saved_digest(fitted), seconds, peak_bytes(), context)


def fit_model(model: Forecaster, panel: Panel, context: FitContext, *, name: str) -> Forecaster:
    """Fit a model, and tell in our own terms when it fails.

    Raises:
        ModelError: the fit raised.
    """
    with _telling(name):
        return model.fit(panel, context)


@contextmanager
def _telling(name: str) -> Iterator[None]:
    """Errors of any kind as errors of a candidate."""
    try:
        yield
    except EverloopError:
        raise
    except Exception as error:  # a user's own class may raise anything; it is told with the candidate's name
        raise ModelError(
            "fit_failed",
            f"{name} cannot be fitted: {type(error).__name__}: {error}",
            hint="the run in MLflow holds the traceback (error.txt)",
            path=f"train.candidates: {name}",
        ) from error


def saved_digest(model: Forecaster) -> str:
    """The digest of the files that a fitted model saves: of the table of their paths and digests."""
    with tempfile.TemporaryDirectory(prefix="everloop-") as folder:
        model.save(Path(folder))
        return digest_json(digest_tree(Path(folder)))


def peak_bytes() -> int | None:
    """The most memory that this process has held so far."""
    if sys.platform == "win32":
        return None
    import resource  # not there on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
