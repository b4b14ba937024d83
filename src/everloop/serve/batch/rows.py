"""A batch as rows, one for each series and instant, a block of series at a time.

The numbers of a batch lie in arrays; rows with the texts of their series take many times their room. So rows are made
for some thousand series, written, and forgotten, and memory does not grow with the number of series.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC

import numpy as np
import polars as pl
import pyarrow as pa

from everloop.core.errors import UsageError
from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.data.panel import split_key
from everloop.serve.batch.making import Batch
from everloop.serve.query import level_labels
from everloop.store.values import ForecastValues

__all__ = ["CUTOFF", "PREDICTION", "BatchRows"]

CUTOFF, PREDICTION = "cutoff", "prediction"
_FORECAST = "forecast"
_DAYS = ("d", "w", "mo", "q", "y")
_BLOCK_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class BatchRows:
    """The rows of a batch.

    Attributes:
        batch: the batch.
        series: the names of the series' columns.
        time: the name of the time's column.
        has_dates: whether instants are dates, since no step is shorter than a day.
    """

    batch: Batch
    series: tuple[str, ...]
    time: str
    has_dates: bool

    @classmethod
    def of(cls, project: Project, batch: Batch) -> BatchRows:
        """The rows of a project's batch."""
        data = project.settings.data
        return cls(batch, tuple(data.series), data.time, Frequency.parse(data.frequency).unit in _DAYS)

    @property
    def height(self) -> int:
        """How many rows there are."""
        return int(self.batch.values.mean.size)

    @property
    def held(self) -> dict[str, int]:
        """How many rows there are of each prediction."""
        return {self.batch.prediction_id: self.height}

    @property
    def bounds(self) -> list[str]:
        """The columns of the intervals' ends."""
        return [name for level in self.batch.values.lower for name in level_labels(level)]

    @property
    def cutoff(self) -> pl.Series:
        """The cutoff as a series of one, of the type of the column."""
        naive = self.batch.cutoff.astimezone(UTC).replace(tzinfo=None)
        return self._instants(CUTOFF, pl.Series([naive], dtype=pl.Datetime("us")))

    def plain(self, series: slice = slice(None)) -> pl.DataFrame:
        """Series columns, time, ``forecast``, and the bounds of each level (null where unknown), in rows.

        Args:
            series: which series, by number.
        """
        values = self.batch.values
        keys = [split_key(key) for key in values.series[series]]
        n, steps = len(keys), len(values.times)
        place = np.repeat(np.arange(n), steps)
        columns = [
            pl.Series(name, [key[part] for key in keys], dtype=pl.String).gather(place)
            for part, name in enumerate(self.series)
        ]
        columns.append(self._instants(self.time, pl.Series(np.tile(values.times, n)).cast(pl.Datetime("us"))))
        columns.append(pl.Series(_FORECAST, values.mean[series].ravel()))
        columns += [pl.Series(name, ends[series].ravel()).fill_nan(None) for name, ends in _ends(values)]
        return pl.DataFrame(columns)

    def blocks(self) -> Iterator[pl.DataFrame]:
        """All of :meth:`plain`, in blocks of about 200,000 rows."""
        n, steps = self.batch.values.mean.shape
        size = max(1, _BLOCK_ROWS // max(1, steps))
        for first in range(0, max(n, 1), size):
            yield self.plain(slice(first, first + size))

    def keyed_blocks(self) -> Iterator[pl.DataFrame]:
        """The blocks of a table that holds many batches: cutoff in front, the id of the prediction at the end."""
        cutoff = self.cutoff
        told = pl.lit(self.batch.prediction_id).alias(PREDICTION)
        for block in self.blocks():
            yield block.select(pl.lit(cutoff.item(), dtype=cutoff.dtype).alias(CUTOFF), pl.all(), told)

    def check_names(self) -> None:
        """Make sure that the series' columns can stand beside those that a table of batches has.

        Raises:
            UsageError: one has the name of one of these.
        """
        own = {CUTOFF, PREDICTION, _FORECAST, *self.bounds}
        for name in (*self.series, self.time):
            if name in own:
                raise UsageError(
                    "forecast_column",
                    f"the column {name!r} has the name of one that a table of forecasts has of its own",
                    hint="write a .parquet or .csv file, or rename it in the source",
                    path="data.series",
                )

    def stream(self) -> pa.RecordBatchReader:
        """The keyed blocks as one stream of Arrow's."""
        blocks = (block.to_arrow(compat_level=pl.CompatLevel.oldest()) for block in self.keyed_blocks())
        first = next(blocks)

        def batches() -> Iterator[pa.RecordBatch]:
            yield from first.to_batches()
            for block in blocks:
                yield from block.to_batches()

        return pa.RecordBatchReader.from_batches(first.schema, batches())

    def _instants(self, name: str, times: pl.Series) -> pl.Series:
        return times.cast(pl.Date if self.has_dates else pl.Datetime("us")).alias(name)


def _ends(values: ForecastValues) -> Iterator[tuple[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]]:
    for level in values.lower:
        low, high = level_labels(level)
        yield low, values.lower[level]
        yield high, values.upper[level]
