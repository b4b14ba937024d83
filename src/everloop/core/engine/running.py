"""Running pieces: those that are finished already are read, the others computed where the settings say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from everloop.core.engine.cluster import perform_on_ray
from everloop.core.engine.pieces import Outcome, Piece, perform
from everloop.core.engine.processes import cores, perform_in_processes
from everloop.core.engine.shelf import Shelf
from everloop.core.settings.engine import EngineSettings

__all__ = ["run_pieces"]


def run_pieces(
    pieces: Sequence[Piece],
    engine: EngineSettings,
    *,
    home: Path,
    progress: Callable[[int, int], None] = lambda done, all_: None,
) -> list[Outcome]:
    """The outcomes of pieces, in their order; they are the same wherever they are computed.

    A result is kept as soon as it is there, so that a run that was killed does again only what had not ended. What
    failed is not kept.

    Args:
        pieces: what to compute; of equal ones the first counts.
        engine: where.
        home: the project's; results are kept in its folder ``pieces``.
        progress: told the pieces done and all of them.

    Raises:
        UnavailableError: Ray is missing or away, or workers die again and again.
    """
    shelf = Shelf(home / "pieces", keep_gb=engine.keep_gb)
    found = {key: outcome for key in {piece.key for piece in pieces} if (outcome := shelf.find(key)) is not None}
    left = list({piece.key: piece for piece in reversed(pieces) if piece.key not in found}.values())[::-1]
    total = len(found) + len(left)
    if found:
        progress(len(found), total)
    if engine.kind == "ray" and left:
        ended = perform_on_ray(left, engine.workers, engine.address)
    elif engine.workers == 1:
        ended = ((place, perform(piece.function, piece.arguments, cores())) for place, piece in enumerate(left))
    else:
        ended = perform_in_processes(left, engine.workers)
    for place, outcome in ended:
        key = left[place].key
        if outcome.error is None:
            shelf.put(key, outcome.value)
        found[key] = outcome
        progress(len(found), total)
    shelf.prune()
    return [found[piece.key] for piece in pieces]
