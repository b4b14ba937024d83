"""What a fit of boosted trees learns and an update keeps: features, sets of trees, and the errors they once made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
from everloop.models.held_back import HeldBack
from everloop.models.intervals import ErrorPools, PastErrors, error_unit
from everloop.models.sampling import Scales, blocks

__all__ = ["Trees"]

_MOST_ERRORS = 400_000
"""About how many past errors are measured: some thousands for each pool of the intervals."""
_SEASONS_SEEN = 4
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trees:
    """Sets of trees whose mean is the forecast.

    Attributes:
        spec: the features.
        horizon: the longest forecast.
        scales: of series that hardly sell, and of those without history.
        objective: what the trees were grown for.
        rows: how many rows they learnt from, all sets together.
        boosters: the sets.
        errors: the errors of trees that had not seen the truth.
    """

    spec: FeatureSpec
    horizon: int
    scales: Scales
    objective: str
    rows: int
    boosters: tuple[Predictor, ...]
    errors: ErrorPools

    def ahead(self, block: Block, is_open: NDArray[np.bool_], *, threads: int = 1) -> tuple[Doubles, Doubles]:
        """Forecasts of the steps after a block, and the unit that their errors are measured in.

        A forecast that is longer than the trees see ahead goes in strides: what is forecast for one stands as history
        for the next.

        Args:
            block: the series, with what is known ahead.
            is_open: which of the next steps are no closed days, shape ``(steps,)``.
            threads: of the trees; the bits do not depend on it.

        Returns:
            Two arrays of shape ``(series, steps)``.
        """
        memory, stride = self.spec.memory, self.spec.horizon
        n, newest, horizon = len(block.y), block.y.shape[1] - 1, len(is_open)
        mean, parts = np.empty((n, horizon)), []
        extended = block.extended(horizon)
        for start in range(0, horizon, stride):
            steps = slice(start, min(start + stride, horizon))
            rows = Rows.ahead(n, memory, steps.stop - start)
            seen = extended.seen_from(newest + start, memory)
            found = features_of(self.spec, seen, rows, least=self.scales.least, unseen=self.scales.unseen)
            raw = predict(self.boosters, self.objective, found, threads=threads).reshape(n, -1)
            mean[:, steps] = np.maximum(raw, self.errors.lowest)
            ahead = np.arange(newest + 1 + steps.start, newest + 1 + steps.stop)
            is_had = is_open[steps] & self._is_usual(extended.y, ahead)
            extended.y[:, ahead] = np.where(is_had, mean[:, steps], np.nan)
            parts.append(found)
        # the series' own size and deviation are those of its real history
        size, deviation = (each.reshape(n, -1)[:, :1] for each in (parts[0].scale, parts[0].deviation))
        return mean, error_unit(mean, size, np.nan_to_num(deviation), self.errors.lowest)

    def _is_usual(self, y: NDArray[np.float32], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Where a series had a value in one of the last seasons; days on which it never has one stay without.

        Shape ``(series, columns)``.
        """
        before = columns[None, :] - self.spec.season * np.arange(1, _SEASONS_SEEN + 1)[:, None]
        return np.asarray((~np.isnan(y[:, before])).any(axis=1))

    def errors_of(self, panel: Panel, origins: NDArray[np.int64], *, every: int = 1, threads: int = 1) -> PastErrors:
        """The errors of forecasts of a horizon from each origin, a grid index; of all series, or every such one."""
        memory, horizon = self.spec.memory, self.horizon
        columns = memory + int(panel.cutoff - origins.min(initial=panel.cutoff))
        step = np.arange(1, horizon + 1)
        asked = np.arange(0, panel.n_series, every)
        parts: list[tuple[NDArray[Any], ...]] = []
        for places in blocks(len(asked), columns):
            block = Block.cut(panel, self.spec, asked[places], columns=columns)
            for origin in (columns - 1 - panel.cutoff + origins).tolist():
                is_open = ~is_closed(panel, panel.cutoff - columns + 1 + origin + step)
                mean, unit = self.ahead(block.seen_from(origin, memory), is_open, threads=threads)
                truth = block.y[:, origin + 1 : origin + 1 + horizon]
                is_scored = ~np.isnan(truth) & is_open
                steps = np.broadcast_to(step, truth.shape)
                parts.append(tuple(each[is_scored] for each in (truth, mean, unit, steps)))
        return PastErrors.joined(parts)

    def errors_held_back(
        self, panel: Panel, held: HeldBack, without: Sequence[Predictor | None], *, threads: int = 1
    ) -> PastErrors:
        """The errors of trees grown without each part, on the windows of that part.

        Of very many series a part is asked, evenly spread.
        """
        every = max(1, panel.n_series * held.windows * self.horizon // _MOST_ERRORS)
        found = [
            replace(self, boosters=(booster,)).errors_of(panel, held.origins(part), every=every, threads=threads)
            for part, booster in enumerate(without)
            if booster is not None
        ]
        return PastErrors.joined([(each.truth, each.mean, each.spread, each.step) for each in found])

    def head(self) -> dict[str, Any]:
        """All but trees and errors, as JSON values."""
        return {
            "spec": self.spec.to_json(),
            "horizon": self.horizon,
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
        spec = FeatureSpec.from_json(head["spec"])
        return cls(
            spec,
            # trees of before strides saw all of their horizon
            head.get("horizon", spec.horizon),
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
