from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import pieces as jobs
from everloop.core.engine.pieces import Piece
from everloop.core.engine.running import Engine, run_pieces
from everloop.core.engine.shelf import Shelf
from everloop.core.errors import ModelError, UnavailableError
from everloop.core.settings.engine import EngineSettings

DIED_DRIVER = "import sys; sys.path.insert(0, sys.argv[1]); import pieces; pieces.drive(*sys.argv[2:])"


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


def expected(n: int) -> list[bytes]:
    return [np.random.default_rng(number).standard_normal(1000).tobytes() for number in range(n)]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_order_and_do_not_depend_on_the_number_of_workers(tmp_path: Path, workers: int) -> None:
    told: list[tuple[int, int]] = []
    outcomes = run_pieces(
        jobs.pieces(jobs.draw, tmp_path, 5),
        EngineSettings(workers=workers),
        home=tmp_path,
        progress=lambda *each: told.append(each),
    )
    assert [each.take().tobytes() for each in outcomes] == expected(5)
    assert told == [(done, 5) for done in range(1, 6)]


def test_workers_stay_until_the_engine_is_closed(tmp_path: Path) -> None:
    with Engine(EngineSettings(workers=2), home=tmp_path) as engine:
        workers: list[set[int]] = []
        for part in range(3):
            # others each time, so that none is found finished
            pieces = [Piece(jobs.tell_process, (tmp_path, number), [part, number]) for number in range(4)]
            workers.append({each.take() for each in engine.run(pieces)})
        # one may have been quick enough for all
        assert len(set().union(*workers)) <= 2
        assert os.getpid() not in workers[0]
        assert all(map(jobs.is_alive, workers[-1]))
    wait_until(lambda: not any(map(jobs.is_alive, workers[-1])))
    assert Engine(EngineSettings(), home=tmp_path).width == 1
    assert Engine(EngineSettings(workers=3), home=tmp_path).width == 3


def test_finished_pieces_are_read_and_equal_ones_computed_once(tmp_path: Path) -> None:
    engine = EngineSettings(workers=1)
    run_pieces(jobs.pieces(jobs.draw, tmp_path, 2), engine, home=tmp_path)
    outcomes = run_pieces(jobs.pieces(jobs.draw, tmp_path, 3) * 2, engine, home=tmp_path)
    assert [each.take().tobytes() for each in outcomes] == expected(3) * 2
    assert sorted(jobs.calls(tmp_path)) == ["draw-0", "draw-1", "draw-2"]


def test_a_damaged_result_is_computed_again(tmp_path: Path) -> None:
    engine = EngineSettings(workers=1)
    run_pieces(jobs.pieces(jobs.draw, tmp_path, 1), engine, home=tmp_path)
    (path,) = (tmp_path / "pieces").glob("??/*")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    outcomes = run_pieces(jobs.pieces(jobs.draw, tmp_path, 1), engine, home=tmp_path)
    assert [each.take().tobytes() for each in outcomes] == expected(1)
    assert jobs.calls(tmp_path) == ["draw-0", "draw-0"]


def test_the_oldest_results_go_where_there_is_no_room(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, keep_gb=25e-6)
    for number, key in enumerate(("aa1", "bb2", "cc3")):
        shelf.put(key, bytes(10_000))
        os.utime(tmp_path / key[:2] / key, (number, number))
    shelf.prune()
    assert [shelf.find(key) is None for key in ("aa1", "bb2", "cc3")] == [True, False, False]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_is_told_whole_and_is_not_kept(tmp_path: Path, workers: int) -> None:
    outcomes = run_pieces(jobs.pieces(jobs.refuse, tmp_path, 2), EngineSettings(workers=workers), home=tmp_path)
    assert outcomes[0].take().tobytes() == expected(1)[0]
    with pytest.raises(ModelError, match="1 is odd") as raised:
        outcomes[1].take()
    assert (raised.value.code, raised.value.hint, raised.value.path) == ("odd", "take an even one", "number")
    assert len(list((tmp_path / "pieces").glob("??/*"))) == 1


def test_a_killed_worker_is_replaced_and_finished_pieces_are_not_done_again(tmp_path: Path) -> None:
    outcomes = run_pieces(jobs.pieces(jobs.die_once, tmp_path, 6), EngineSettings(workers=2), home=tmp_path)
    assert [each.take().tobytes() for each in outcomes] == expected(6)
    counts = [jobs.calls(tmp_path).count(f"draw-{number}") for number in range(6)]
    assert counts[:2] == [1, 1]
    assert max(counts) <= 2  # what was under way beside it when the pool broke


def test_a_piece_that_kills_each_worker_is_told_and_the_others_are_kept(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as raised:
        run_pieces(jobs.pieces(jobs.die, tmp_path, 4), EngineSettings(workers=2), home=tmp_path)
    assert raised.value.code == "engine_worker_lost"
    assert "engine.workers" in raised.value.hint


def test_a_killed_driver_goes_on_where_it_stood_and_leaves_no_workers(tmp_path: Path) -> None:
    tests = str(Path(jobs.__file__).parent)
    driver = subprocess.Popen([sys.executable, "-c", DIED_DRIVER, tests, str(tmp_path), "2"])
    try:
        begun = lambda: [each for each in jobs.calls(tmp_path) if each.startswith("begun")]  # noqa: E731
        wait_until(lambda: jobs.kept(tmp_path) == 2 and len(begun()) == 4)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    workers = {int(each.rpartition("-")[2]) for each in begun()}
    wait_until(lambda: not any(jobs.is_alive(pid) for pid in workers))
    (tmp_path / "gate").touch()
    outcomes = run_pieces(jobs.pieces(jobs.wait_for_gate, tmp_path, 6), EngineSettings(workers=2), home=tmp_path)
    assert [each.take().tobytes() for each in outcomes] == expected(6)
    assert [jobs.calls(tmp_path).count(f"draw-{number}") for number in range(6)] == [1] * 6
