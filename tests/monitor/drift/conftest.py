"""Worlds that change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drifting import World, make_world


@pytest.fixture
def new_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes worlds; see :func:`drifting.make_world`."""
    made: list[World] = []

    def make(*arguments: object, **options: object) -> World:
        made.append(make_world(tmp_path / f"world{len(made)}", *arguments, **options))
        return made[-1]

    yield make
    for world in made:
        world.store.close()
