from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from everloop.core.clock import SystemClock
from everloop.serve.served import load_served, wanted_in
from everloop.serve.service import Service


def thread_name() -> str:
    return threading.current_thread().name


@pytest.mark.parametrize(
    ("seconds", "count", "is_inline"), [(0.001, 1, True), (0.001, 16, True), (0.001, 17, False), (0.5, 1, False)]
)
def test_only_short_work_is_done_on_the_event_loop(world, seconds: float, count: int, is_inline: bool) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    wanted = wanted_in(world.store, "champion")
    served = load_served(world.project, world.store, wanted)
    assert 0 < served.series_seconds < 5
    service = Service(world.project, world.store, SystemClock())
    name = asyncio.run(service.place(thread_name, served=replace(served, series_seconds=seconds), count=count))
    assert (name == thread_name()) == is_inline
    service.stop()
