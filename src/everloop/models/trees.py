"""What a fit of boosted trees learns and an update keeps: features, sets of trees, and the errors they once made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError
from everloop.data.panel import Panel
from everloop.models.blocks import Block
from everloop.models.booster import Booster
from everloop.models.boosting import predict
from everloop.models.closing import is_closed
from everloop.models.explaining import Predictor
from everloop.models.feature_spec import FeatureSpec
from everloop.models.features import Rows, features_of
from everloop.models.intervals import ErrorPools, PastErrors, error_unit
from everloop.models.sampling import Scales, blocks

__all__ = ["Trees"]

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trees:
    """Sets of trees whose mean is the forecast.

    Attributes:
        spec: the features.
        scales: of series that hardly sell, and of those without history.
        objective: what the trees were grown for.
        rows: how many rows they learnt from, all sets together.
        boosters: the sets.
        errors: the errors of trees that had not seen the truth.
    """

    spec: FeatureSpec
    scales: Scales
    objective: str
    rows: int
    boosters: tuple[Predictor, ...]
    errors: ErrorPools

    def predict(self, block: Block, rows: Rows) -> tuple[Doubles, Doubles]:
        """Forecasts, and the unit that their errors are measured in; both of shape ``(rows,)``."""
        features = features_of(self.spec, block, rows, least=self.scales.least, unseen=self.scales.unseen)
        mean = predict(self.boosters, self.objective, features)
        unit = error_unit(mean, features.scale, np.nan_to_num(features.deviation), self.errors.lowest)
        return mean, unit

    def errors_of(self, panel: Panel, span: int) -> PastErrors:
        """The errors of forecasts from each origin, a horizon apart, in the panel's last ``span`` periods."""
        memory, horizon = self.spec.memory, self.spec.horizon
        columns = memory + span
        origins = np.arange(memory - 1, columns - 1, horizon)
        origin, step = (each.ravel() for each in np.meshgrid(origins, np.arange(1, horizon + 1), indexing="ij"))
        is_open = ~is_closed(panel, panel.cutoff - columns + 1 + origin + step)
        origin, step = origin[is_open], step[is_open]
        parts: list[tuple[NDArray[Any], ...]] = []
        for series in blocks(panel.n_series, columns):
            block = Block.cut(panel, self.spec, series, columns=columns)
            member = np.repeat(np.arange(len(series)), len(origin))
            rows = Rows(member, np.tile(origin, len(series)), np.tile(step, len(series)))
            has_truth = ~np.isnan(block.y[rows.series, rows.origin + rows.step])
            rows = Rows(rows.series[has_truth], rows.origin[has_truth], rows.step[has_truth])
            mean, unit = self.predict(block, rows)
            parts.append((block.y[rows.series, rows.origin + rows.step], mean, unit, rows.step))
        return PastErrors(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def head(self) -> dict[str, Any]:
        """All but trees and errors, as JSON values."""
        return {
            "spec": self.spec.to_json(),
            "scales": asdict(self.scales),
            "objective": self.objective,
            "rows": self.rows,
            "boosters": len(self.boosters),
        }

    def save(self, folder: Path) -> None:
        """Write trees and errors; :meth:`head` is the caller's to write."""
        for number, booster in enumerate(self.boosters, start=1):
            (folder / _file(number)).write_text(booster.text, encoding="utf-8", newline="\n")
        self.errors.save(folder)

    @classmethod
    def load(cls, head: dict[str, Any], folder: Path) -> Self:
        """Read what :meth:`save` wrote, and :meth:`head` gave.

        Raises:
            ModelError: a file is missing or damaged.
        """
        return cls(
            FeatureSpec.from_json(head["spec"]),
            Scales(**head["scales"]),
            head["objective"],
            head["rows"],
            tuple(Booster(_text_of(folder / _file(number))) for number in range(1, 1 + head["boosters"])),
            ErrorPools.load(folder),
        )


def _file(number: int) -> str:
    """The file of the first, second, ... set of trees below a model's folder."""
    return "booster.txt" if number == 1 else f"booster-{number}.txt"


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            "model_files", f"cannot read {path.name}: {error}", hint="make the release again", path=str(path.parent)
        ) from error
