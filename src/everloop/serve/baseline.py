"""The last in line: an answer that needs no trained model, for when no release gives one.

For forecasters it is the seasonal naive over the history that the release was loaded with, with intervals from its own
past errors. For models of rows it is a constant for each output, where the bundle holds a ``baseline.json``:

    {"outputs": {"prediction": 3.2, "probabilities": [0.9, 0.1]}}
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError
from everloop.models.forecaster import FitContext
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.signature import Signature
from everloop.release.baseline import BASELINE_FILE
from everloop.release.bundle import Release
from everloop.serve.loading import Loaded
from everloop.serve.tabular.served import ServedRows

__all__ = ["ConstantPredictor", "baseline_of", "constant_baseline"]


def baseline_of(served: Loaded) -> Loaded:
    """What stands in for a loaded release.

    For a forecaster it is the same release, state and series, forecast by the seasonal naive; for a model of rows it is
    the constant outputs of its bundle.

    Raises:
        ModelError: the model's panel holds no history to repeat.
    """
    if isinstance(served, ServedRows):
        return replace(served, predictor=constant_baseline(served.release))
    panel = served.panel
    if not panel.n_series or not np.isfinite(panel.y).any():
        raise ModelError(
            "no_baseline",
            f"the panel of release {served.release.digest[:12]} holds no history to repeat",
            hint="a forecaster's series_panel() should keep at least a season",
        )
    manifest = served.release.manifest
    context = FitContext(manifest.horizon, manifest.levels, seed=manifest.provenance.seed)
    with np.errstate(all="ignore"):  # a history too short for errors gives no intervals, which is no cause for talk
        model = SeasonalNaiveForecaster().fit(panel, context)
    # it looks at the target alone; the names stay, since a what-if may still be asked
    nothing = np.zeros(0, dtype=np.float32)
    model.panel_ = replace(model.panel_, known=dict.fromkeys(panel.known, nothing), observed={})
    return replace(served, model=model, series_seconds=0.0)


class ConstantPredictor:
    """Gives every row the same outputs.

    Args:
        signature: what the release takes and gives.
        outputs: the value of each output for one row.
    """

    flavor = "constant"
    is_exact_in_batch = True

    def __init__(self, signature: Signature, outputs: Mapping[str, NDArray[Any]]) -> None:
        self.signature = signature
        self._outputs = dict(outputs)

    def predict(
        self, rows: Rows, parameters: Mapping[str, Any], outputs: Collection[str] = ()
    ) -> dict[str, NDArray[Any]]:
        """The constants, once for each row."""
        return {
            name: np.broadcast_to(value, (rows.n, *value.shape)).copy()
            for name, value in self._outputs.items()
            if not outputs or name in outputs
        }


def constant_baseline(release: Release) -> ConstantPredictor:
    """The baseline that a bundle of a model of rows holds.

    Raises:
        ModelError: it holds none, or one that does not fit its signature.
    """
    signature = release.manifest.signature
    path = release.folder / BASELINE_FILE
    if signature is None or not path.is_file():
        raise ModelError(
            "no_baseline",
            f"release {release.digest[:12]} holds no {BASELINE_FILE}",
            hint="everloop adopt --baseline OUTPUT=VALUE; without it a request that no model answers is refused",
        )
    try:
        given = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, Any]])["outputs"]
        outputs = {each.name: np.array(given[each.name], dtype=each.dtype) for each in signature.outputs}
        for each in signature.outputs:
            if outputs[each.name].shape != tuple(abs(size) for size in each.shape) and -1 not in each.shape:
                raise ValueError(f"{each.name!r} has shape {outputs[each.name].shape}, not {each.shape}")
    except (msgspec.DecodeError, KeyError, ValueError, TypeError) as error:
        raise ModelError(
            "baseline_file",
            f"{BASELINE_FILE} of release {release.digest[:12]} cannot be used: {error}",
            hint='it holds one value for each output: {"outputs": {"prediction": 3.2}}',
        ) from error
    return ConstantPredictor(signature, outputs)
