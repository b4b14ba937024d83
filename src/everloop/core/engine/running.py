"""Running pieces: those that are finished already are read, the others computed where the settings say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from everloop.core.engine.cluster import RayWorkers
from everloop.core.engine.pieces import Outcome, Piece, perform
from everloop.core.engine.processes import ProcessWorkers, cores
from everloop.core.engine.shelf import Shelf
from everloop.core.settings.engine import EngineSettings

__all__ = ["Engine", "run_pieces"]


class Workers(Protocol):
    """Those who compute pieces; they are called together when the first piece comes."""

    @property
    def width(self) -> int:
        """How many pieces are computed at once."""

    def perform(self, pieces: Sequence[Piece]) -> Iterator[tuple[int, Outcome]]:
        """The place and the outcome of each piece, as they end."""

    def close(self) -> None:
        """Let them go."""


class Engine:
    """Computes pieces as the settings say, with workers that stay until it is closed: what they read they keep.

    Args:
        settings: where pieces are computed.
        home: the project's; results are kept in its folder ``pieces``.
    """

    def __init__(self, settings: EngineSettings, *, home: Path) -> None:
        self._shelf = Shelf(home / "pieces", keep_gb=settings.keep_gb)
        self._workers: Workers
        if settings.kind == "ray":
            self._workers = RayWorkers(settings.most_workers, settings.address)
        elif settings.most_workers == 1:
            self._workers = _Here()
        else:
            self._workers = ProcessWorkers(settings.most_workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.close()

    @property
    def width(self) -> int:
        """How many pieces are computed at once.

        Raises:
            UnavailableError: Ray is missing or away.
        """
        return self._workers.width

    def run(
        self, pieces: Sequence[Piece], *, progress: Callable[[int, int], None] = lambda done, all_: None
    ) -> list[Outcome]:
        """The outcomes of pieces, in their order; they are the same wherever they are computed.

        A result is kept as soon as it is there, so that a run that was killed does again only what had not ended.
        What failed is not kept.

        Args:
            pieces: what to compute; of equal ones the first counts.
            progress: told the pieces done and all of them.

        Raises:
            UnavailableError: Ray is missing or away, or workers die again and again.
        """
        keys = {piece.key for piece in pieces}
        found = {key: outcome for key in keys if (outcome := self._shelf.find(key)) is not None}
        left = list({piece.key: piece for piece in reversed(pieces) if piece.key not in found}.values())[::-1]
        total = len(found) + len(left)
        if found:
            progress(len(found), total)
        for place, outcome in self._workers.perform(left) if left else ():
            key = left[place].key
            if outcome.error is None:
                self._shelf.put(key, outcome.value)
            found[key] = outcome
            progress(len(found), total)
        self._shelf.prune()
        return [found[piece.key] for piece in pieces]


def run_pieces(
    pieces: Sequence[Piece],
    engine: EngineSettings,
    *,
    home: Path,
    progress: Callable[[int, int], None] = lambda done, all_: None,
) -> list[Outcome]:
    """What :meth:`Engine.run` gives, by an engine for this call alone."""
    with Engine(engine, home=home) as opened:
        return opened.run(pieces, progress=progress)


class _Here:
    """This very process."""

    width = 1

    def perform(self, pieces: Sequence[Piece]) -> Iterator[tuple[int, Outcome]]:
        for place, piece in enumerate(pieces):
            yield place, perform(piece.function, piece.arguments, cores())

    def close(self) -> None:
        pass
