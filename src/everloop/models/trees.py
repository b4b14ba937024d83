"""What a fit of boosted trees learns and an update keeps: features, sets of trees, and the errors they once made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from everloop.models.forecaster import Forecast
from everloop.models.held_back import HeldBack
from everloop.models.intervals import ErrorPools, PastErrors, error_unit
from everloop.models.sampling import Scales, blocks

__all__ = ["Trees"]

_MOST_ERRORS = 400_000
"""About how many past errors are measured: some thousands for each pool of the intervals."""
_MOST_STAND_IN_ERRORS = 100_000
_FEW_LAUNCHES = 30
"""With fewer series that began in the windows held back, others stand in for them, by forgetting their past."""
_LAUNCHES = "launches"
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
        launch_errors: likewise, of series that had no value yet.
    """

    spec: FeatureSpec
    horizon: int
    scales: Scales
    objective: str
    rows: int
    boosters: tuple[Predictor, ...]
    errors: ErrorPools
    launch_errors: ErrorPools

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

    def with_intervals(
        self, point: Forecast, unit: Doubles, is_unseen: NDArray[np.bool_], levels: tuple[float, ...]
    ) -> Forecast:
        """A forecast with intervals by the errors of the past.

        Args:
            point: the forecast.
            unit: what :meth:`ahead` gave beside it.
            is_unseen: which series had no value yet; theirs are wider.
            levels: in percent.
        """
        found = self.errors.forecast(point, unit, levels)
        rows = np.flatnonzero(is_unseen)
        if not len(rows):
            return found
        new = self.launch_errors.forecast(Forecast(rows, point.cutoff, point.mean[rows]), unit[rows], levels)
        for level in levels:
            found.lower[level][rows], found.upper[level][rows] = new.lower[level], new.upper[level]
        notes = found.notes if len(rows) < len(is_unseen) else point.notes
        return replace(found, notes=tuple(dict.fromkeys((*notes, *new.notes))))

    def errors_of(self, panel: Panel, origins: NDArray[np.int64], *, every: int = 1, threads: int = 1) -> PastErrors:
        """The errors of forecasts of a horizon from each origin, a grid index; of all series, or every such one."""
        columns = self._columns(panel, int(origins.min(initial=panel.cutoff)))
        asked = np.arange(0, panel.n_series, every)
        parts: list[PastErrors] = []
        for places in blocks(len(asked), columns):
            block = Block.cut(panel, self.spec, asked[places], columns=columns)
            parts += [self._errors_at(panel, block, origin, threads=threads) for origin in origins.tolist()]
        return PastErrors.joined(parts)

    def _errors_at(
        self, panel: Panel, block: Block, origin: int, *, is_forgotten: bool = False, threads: int = 1
    ) -> PastErrors:
        """The errors of a block's series from one origin, a grid index; maybe as if their past were not known."""
        newest = block.y.shape[1] - 1 - (panel.cutoff - origin)
        step = np.arange(1, self.horizon + 1)
        is_open = ~is_closed(panel, origin + step)
        seen = block.seen_from(newest, self.spec.memory)
        mean, unit = self.ahead(seen.forgotten() if is_forgotten else seen, is_open, threads=threads)
        truth = block.y[:, newest + 1 : newest + 1 + self.horizon]
        is_scored = ~np.isnan(truth) & is_open
        steps = np.broadcast_to(step, truth.shape)
        return PastErrors(truth[is_scored], mean[is_scored], unit[is_scored], steps[is_scored])

    def errors_held_back(
        self, panel: Panel, held: HeldBack, without: Sequence[Predictor | None], *, threads: int = 1
    ) -> PastErrors:
        """The errors of trees grown without each part, on the windows of that part.

        Of very many series a part is asked, evenly spread.
        """
        every = max(1, panel.n_series * held.windows * self.horizon // _MOST_ERRORS)
        return PastErrors.joined(
            [
                judged.errors_of(panel, held.origins(part), every=every, threads=threads)
                for part, judged in self._judged(without)
            ]
        )

    def launch_errors_held_back(
        self, panel: Panel, held: HeldBack, without: Sequence[Predictor | None], *, threads: int = 1
    ) -> PastErrors:
        """The errors of trees grown without each part, on series that began in that part, from just before they did.

        Where these are few, some of all series are asked as if their past were not known.
        """
        began = panel.cutoff + 1 - panel.lengths
        part_of = np.where(began + self.horizon <= panel.cutoff + 1, held.part_of(began), -1)
        launches, parts = 0, []
        for part, judged in self._judged(without):
            for start in np.unique(began[part_of == part]).tolist():
                series = np.flatnonzero(began == start)
                launches += len(series)
                block = Block.cut(panel, self.spec, series, columns=self._columns(panel, start - 1))
                parts.append(judged._errors_at(panel, block, start - 1, threads=threads))
        if launches >= _FEW_LAUNCHES:
            return PastErrors.joined(parts)
        every = max(1, panel.n_series * held.windows * self.horizon // _MOST_STAND_IN_ERRORS)
        series = np.arange(0, panel.n_series, every)
        for part, judged in self._judged(without):
            for origin in held.origins(part).tolist():
                block = Block.cut(panel, self.spec, series, columns=self._columns(panel, origin))
                parts.append(judged._errors_at(panel, block, origin, is_forgotten=True, threads=threads))
        return PastErrors.joined(parts)

    def _judged(self, without: Sequence[Predictor | None]) -> Iterator[tuple[int, Trees]]:
        """Each part that is held back, with the trees grown without it."""
        for part, booster in enumerate(without):
            if booster is not None:
                yield part, replace(self, boosters=(booster,))

    def _columns(self, panel: Panel, origin: int) -> int:
        """The columns of a block that holds all that is seen from an origin, and what came after it."""
        return self.spec.memory + panel.cutoff - origin

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
        self.launch_errors.save(folder / _LAUNCHES)

    @classmethod
    def load(cls, head: dict[str, Any], folder: Path) -> Self:
        """Read what :meth:`save` wrote, and :meth:`head` gave.

        Raises:
            ModelError: a file is missing or damaged.
        """
        spec = FeatureSpec.from_json(head["spec"])
        errors = ErrorPools.load(folder)
        # trees of before told launches' errors from no others
        launch_errors = ErrorPools.load(folder / _LAUNCHES) if (folder / _LAUNCHES).is_dir() else errors
        return cls(
            spec,
            # trees of before strides saw all of their horizon
            head.get("horizon", spec.horizon),
            Scales(**head["scales"]),
            head["objective"],
            head["rows"],
            tuple(Booster(_text_of(folder / _file(number))) for number in range(1, 1 + head["boosters"])),
            errors,
            launch_errors,
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
