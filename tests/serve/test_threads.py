"""Threads that may be abandoned: bounded, replaced, and said when too many are lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from everloop.core.errors import UnavailableError
from everloop.serve.threads import AbandoningPool


class Gate:
    """Work that hangs until it is let go."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.opened = threading.Event()

    def __call__(self) -> str:
        self.began.set()
        self.opened.wait(30)
        return "late"


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


async def until(look: Callable[[], bool]) -> None:
    """Let the loop turn until something holds."""
    async with asyncio.timeout(10):
        while not look():
            await asyncio.sleep(0.001)


before: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def own_threads() -> None:
    """Other tests' pools may have threads that are about to end."""
    before.clear()
    before.update(threading.enumerate())


def lost() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "everloop-guarded" and each not in before]


def test_it_gives_what_the_work_gives() -> None:
    async def play() -> None:
        pool = AbandoningPool(2)
        assert await asyncio.gather(*[pool.run(lambda n=n: n * n, 5.0) for n in range(50)]) == [  # type: ignore[misc]
            n * n for n in range(50)
        ]
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 / 0, 5.0)
        pool.close()

    asyncio.run(play())


@pytest.mark.parametrize("error", [StopIteration("x"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_is_raised_reaches_the_caller_as_an_error_and_costs_no_thread(error: BaseException) -> None:
    async def play() -> None:
        pool = AbandoningPool(1)

        def work() -> None:
            raise error

        for _ in range(3):
            with pytest.raises(RuntimeError, match=type(error).__name__):
                await pool.run(work, 5.0)
        assert await pool.run(lambda: "fine", 5.0) == "fine"
        pool.close()

    asyncio.run(play())


def test_what_hangs_is_abandoned_and_others_go_on(gate: Gate) -> None:
    async def play() -> None:
        pool = AbandoningPool(1, most_abandoned=3)
        with pytest.raises(TimeoutError):
            await pool.run(gate, 0.02)
        assert pool.abandoned == 1
        assert await pool.run(lambda: "fine", 5.0) == "fine"  # by a thread in its place
        gate.opened.set()
        await until(lambda: pool.abandoned == 0)
        assert await pool.run(lambda: "fine", 5.0) == "fine"
        pool.close()
        await until(lambda: not lost())  # neither the one that came back nor the one in its place is left

    asyncio.run(play())


def test_waiting_for_a_thread_is_not_held_against_the_work(gate: Gate) -> None:
    async def play() -> None:
        pool = AbandoningPool(1)
        first = asyncio.ensure_future(pool.run(gate, 5.0))
        second = asyncio.ensure_future(pool.run(lambda: "fine", 0.02))
        await asyncio.sleep(0.06)
        assert not second.done()
        gate.opened.set()
        assert await first == "late"
        assert await second == "fine"
        assert pool.abandoned == 0
        pool.close()

    asyncio.run(play())


def test_too_many_lost_threads_exhaust_it(gate: Gate) -> None:
    async def play() -> None:
        told: list[str] = []
        pool = AbandoningPool(2, most_abandoned=3, on_exhausted=lambda: told.append("now"))
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await pool.run(gate, 0.02)
        assert pool.is_exhausted
        assert told == ["now"]
        assert len(lost()) <= 2 + 3
        with pytest.raises(UnavailableError, match="hang"):
            await pool.run(lambda: "fine", 5.0)
        pool.close()

    asyncio.run(play())


def test_more_than_may_wait_is_refused(gate: Gate) -> None:
    async def play() -> None:
        pool = AbandoningPool(1, most_waiting=2)
        going = [asyncio.ensure_future(pool.run(gate, 5.0)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError, match="wait"):
            await pool.run(lambda: "fine", 5.0)
        gate.opened.set()
        assert await asyncio.gather(*going) == ["late"] * 3
        pool.close()

    asyncio.run(play())


def test_a_caller_who_goes_away_leaves_no_work_behind(gate: Gate) -> None:
    async def play() -> None:
        pool = AbandoningPool(1)
        done: list[str] = []
        running = asyncio.ensure_future(pool.run(gate, 0.05))
        waiting = asyncio.ensure_future(pool.run(lambda: done.append("waited"), 5.0))
        await until(gate.began.is_set)
        running.cancel()
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        await until(lambda: pool.abandoned == 1)  # it hangs, whoever waits for it
        assert await pool.run(lambda: "fine", 5.0) == "fine"
        assert done == []
        pool.close()

    asyncio.run(play())
