"""A batch with series that are in no data yet beside it: a prediction of their own, and rows after the others'.

The batch of known series stays what it is without them, and is made and stored once for both. What is told of new
series is kept apart, since they err more than others do, and what is learnt from the batch's errors is not about them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from everloop.core.clock import Clock
from everloop.core.project import Project
from everloop.serve.answers import About, Answerer
from everloop.serve.batch.making import Batch, batch_id, make_batch, stored_answer
from everloop.serve.batch.plan import LaunchPlan
from everloop.serve.batch.rows import BatchRows
from everloop.serve.query import ForecastQuery, fitting_horizon, resolve
from everloop.serve.served import Served, Wanted, load_served
from everloop.store.engine import Store
from everloop.store.facts import has_prediction
from everloop.store.records import Prediction
from everloop.store.values import ForecastValues

__all__ = ["GrownRows", "make_with_new"]

_KIND = "batch_new"


def make_with_new(
    project: Project, store: Store, clock: Clock, query: ForecastQuery, table: pl.DataFrame, *, path: str
) -> tuple[Batch, Batch]:
    """The champion's forecast of every series, and of those that a table describes, from the same release and state.

    Args:
        project: the project.
        store: its store.
        clock: the time that new predictions carry.
        query: horizon and levels.
        table: what is planned, see :class:`~everloop.serve.batch.plan.LaunchPlan`.
        path: the table's, for errors.

    Returns:
        The batch of known series, and that of new ones; each is stored under its own id, which is the same where the
        same is asked again.

    Raises:
        DataError: the table does not fit; nothing was stored.
        RequestError: horizon or levels do not fit the release, or its model takes up no new series; likewise.
        UnavailableError: there is no champion, or the store does not answer.
        ModelError: the model fails.
    """
    answerer = Answerer(project, store, clock)
    asking = _Asking(project, store, answerer, query, table, path)
    served = answerer.served()
    new, record = asking.answer(served)
    batch = make_batch(project, store, clock, query, answerer=answerer)
    if served.wanted != Wanted(batch.release, batch.state):
        # somebody else was put in charge meanwhile
        new, record = asking.answer(load_served(project, store, Wanted(batch.release, batch.state)))
    if record is not None:
        answerer.keep(record)
    return batch, new


@dataclass(frozen=True, slots=True)
class _Asking:
    """A question about new series, which any release can be asked."""

    project: Project
    store: Store
    answerer: Answerer
    query: ForecastQuery
    table: pl.DataFrame
    path: str

    def answer(self, served: Served) -> tuple[Batch, Prediction | None]:
        """The answer, and what is to be stored of it: nothing where it is stored."""
        settings = self.project.settings
        ahead = settings.forecast
        steps = fitting_horizon(self.query.horizon, default=ahead.horizon, most=served.release.manifest.horizon)
        plan = LaunchPlan.of(self.table, served, time=settings.data.time, horizon=steps, path=self.path)
        asked = replace(self.query, series=plan.series)
        record = resolve(asked, served, horizon=ahead.horizon, levels=ahead.levels).record
        release, state = served.wanted.release, served.wanted.state
        name = batch_id(release, state, _KIND, record)
        stored = stored_answer(self.store, (name,), record)
        if stored is not None:
            values = _noted(stored[1], plan.notes)
            return Batch(stored[0], release, state, served.cutoff, values, is_stored=True), None
        with self.store.read() as tx:
            # an id is taken where what is stored cannot be read
            about = About(_KIND, prediction_id=None if has_prediction(tx, name) else name)
        answer, prediction = self.answerer.compute(asked, served, about)
        values = _noted(answer.values, plan.notes)
        return Batch(prediction.id, release, state, served.cutoff, values, is_stored=False), prediction


def _noted(values: ForecastValues, notes: tuple[str, ...]) -> ForecastValues:
    return replace(values, notes=(*values.notes, *notes))


@dataclass(frozen=True, slots=True)
class GrownRows(BatchRows):
    """The rows of a batch, and those of new series after them, which a table tells apart by their prediction.

    Attributes:
        parts: the rows of the known series, and of the new ones.
    """

    parts: tuple[BatchRows, BatchRows]

    @classmethod
    def joined(cls, project: Project, batch: Batch, new: Batch) -> GrownRows:
        """The rows of what :func:`make_with_new` gave; bounds that one of both lacks are empty there."""
        levels = list(dict.fromkeys((*batch.values.lower, *new.values.lower)))
        known, others = (
            BatchRows.of(project, replace(each, values=_levelled(each.values, levels))) for each in (batch, new)
        )
        return cls(known.batch, known.series, known.time, known.has_dates, (known, others))

    @property
    def height(self) -> int:
        """How many rows there are."""
        return sum(part.height for part in self.parts)

    @property
    def held(self) -> dict[str, int]:
        """How many rows there are of each prediction."""
        return {part.batch.prediction_id: part.height for part in self.parts}

    def plain(self, series: slice = slice(None)) -> pl.DataFrame:
        """The rows as :meth:`BatchRows.plain` has them.

        Args:
            series: which series, by number; new ones come after the others.
        """
        known, new = (len(part.batch.values.series) for part in self.parts)
        first, last, _ = series.indices(known + new)
        slices = (slice(min(first, known), min(last, known)), slice(max(first - known, 0), max(last - known, 0)))
        return pl.concat([part.plain(chosen) for part, chosen in zip(self.parts, slices, strict=True)])

    def blocks(self) -> Iterator[pl.DataFrame]:
        """All of :meth:`plain`, in blocks of about 200,000 rows."""
        for part in self.parts:
            yield from part.blocks()

    def keyed_blocks(self) -> Iterator[pl.DataFrame]:
        """The blocks of a table that holds many batches, each with the id of its own prediction."""
        for part in self.parts:
            yield from part.keyed_blocks()


def _levelled(values: ForecastValues, levels: list[float]) -> ForecastValues:
    nothing = np.full(values.mean.shape, np.nan)
    lower, upper = ({level: ends.get(level, nothing) for level in levels} for ends in (values.lower, values.upper))
    return replace(values, lower=lower, upper=upper)
