"""A batch computed in parts: workers load the release that answers, and forecast some thousand series each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from everloop.core.engine.pieces import Piece
from everloop.core.engine.running import run_pieces
from everloop.core.project import Project
from everloop.experiment.identity import code_identity
from everloop.models.asking import ask
from everloop.models.forecaster import Forecast, ForecastRequest
from everloop.serve.loading import hasten_for_many
from everloop.serve.query import Resolved
from everloop.serve.served import Served, Wanted, load_served
from everloop.store.engine import open_store
from everloop.store.values import ForecastValues

__all__ = ["EngineBatch", "forecast_part"]

_PART_SERIES = 5_000
"""So many series a part: what a worker does with them takes longer than what it is told and tells."""


class EngineBatch:
    """The base scenario of all series by the settings' engine, in place of numbers that were computed ahead.

    Args:
        project: the project; ``engine`` says where parts are computed.
        served: who answers.
        part_series: how many series a part has.
    """

    def __init__(self, project: Project, served: Served, *, part_series: int = _PART_SERIES) -> None:
        self._project = project
        self._served = served
        self._part_series = part_series

    def values(self, resolved: Resolved) -> ForecastValues | None:
        """The numbers that the model itself gives, bit for bit; ``None`` where some series or a what-if are asked.

        Raises:
            ModelError: the model fails.
            UnavailableError: Ray is missing or away, or workers die again and again.
        """
        request, project = resolved.request, self._project
        if request.series is not None or request.future:
            return None
        pieces = self._pieces(request, len(resolved.keys))
        parts = [outcome.take() for outcome in run_pieces(pieces, project.settings.engine, home=project.home)]
        return ForecastValues(
            series=resolved.keys,
            times=self._served.times[: request.horizon],
            mean=np.concatenate([part.mean for part in parts]),
            lower={level: np.concatenate([part.lower[level] for part in parts]) for level in parts[0].lower},
            upper={level: np.concatenate([part.upper[level] for part in parts]) for level in parts[0].upper},
            notes=tuple(sorted({note for part in parts for note in part.notes})),
        )

    def _pieces(self, request: ForecastRequest, n: int) -> list[Piece]:
        project, wanted, levels = self._project, self._served.wanted, tuple(request.levels)
        shared = [wanted.release, wanted.state, request.horizon, list(levels), project.settings.data.missing_ahead]
        code = code_identity(project.root)
        # the size of a part does not follow from the workers, so what others finished is found
        size = self._part_series
        parts = [range(start, min(start + size, n)) for start in range(0, max(n, 1), size)]
        return [
            Piece(
                forecast_part, (project, wanted, request.horizon, levels, part), [*shared, part.start, part.stop, code]
            )
            for part in parts
        ]


def forecast_part(
    project: Project, wanted: Wanted, horizon: int, levels: tuple[float, ...], series: Sequence[int], *, threads: int
) -> Forecast:
    """The forecasts of some series by their numbers; a worker calls it.

    A forecast uses one core, whatever ``threads`` says.

    Raises:
        NotFoundError: the bundle or the state is not to be seen from here.
        IntegrityError: a file is not what its digest says.
        ModelError: the model cannot be loaded, or fails.
    """
    served = _loaded(project, wanted)
    hasten_for_many(project, served)
    request = ForecastRequest(horizon, levels, np.array(series, dtype=np.int64))
    return ask(served.model, request, missing_ahead=project.settings.data.missing_ahead)


def _loaded(project: Project, wanted: Wanted) -> Served:
    """The release in its state; the one that was loaded last is kept."""
    key = (str(project.root), wanted)
    if key not in _last:
        _last.clear()  # first, so that there is room for the next
        store = open_store(project.store_url, fsync=project.settings.log.fsync)
        try:
            _last[key] = load_served(project, store, wanted)
        finally:
            store.close()
    return _last[key]


_last: dict[tuple[str, Wanted], Served] = {}
