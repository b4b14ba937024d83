"""The buffer on disk: what was appended comes back, also where its file ends early or is damaged."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from everloop.core.clock import ManualClock
from everloop.serve.log.records import Record, instant_text
from everloop.serve.log.spool import Spool, _framed, is_damaged, read_records
from everloop.store.schema import Instant

texts = st.text(max_size=20)
records = st.lists(
    st.tuples(*[texts] * 6, st.none() | texts, texts, texts, st.binary(max_size=60), st.binary(max_size=60), texts),
    max_size=8,
)


def framed(rows: list[Record]) -> bytes:
    return b"".join(map(_framed, rows))


@given(records, st.data())
def test_any_cut_gives_a_beginning(rows: list[Record], data: st.DataObject) -> None:
    content = framed(rows)
    cut = data.draw(st.integers(0, len(content)))
    found = list(read_records(content[:cut]))
    whole = [number for number in range(len(rows) + 1) if len(framed(rows[:number])) <= cut][-1]
    assert found == rows[:whole]


@given(records, st.data())
def test_a_changed_byte_is_seen(rows: list[Record], data: st.DataObject) -> None:
    content = bytearray(framed([*rows, ("last",)]))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    found = list(read_records(bytes(content)))
    assert found == [*rows, ("last",)][: len(found)]
    assert len(found) <= len(rows)


@given(records, st.binary(max_size=40))
def test_rubbish_behind_does_not_matter(rows: list[Record], rubbish: bytes) -> None:
    assert list(read_records(framed(rows) + b"\xff\xff\xff\x7f" + rubbish)) == rows


@given(st.datetimes(timezones=st.just(UTC)))
def test_instants_are_written_as_the_store_writes_them(instant: datetime) -> None:
    written = Instant().process_bind_param(instant, None)  # type: ignore[arg-type]
    if instant.year >= 1000:  # the C library writes fewer digits before
        assert instant_text(instant) == written
        assert instant.year == 9999 or instant_text(instant.astimezone(timezone(timedelta(hours=-7)))) == written


def spool(folder: Path, most: int = 10_000) -> Spool:
    return Spool(folder, ManualClock(datetime(2026, 3, 1, tzinfo=UTC)), most=most)


def row(number: int) -> Record:
    return (f"id-{number}", *["x"] * 8, b"request", b"response", None, None)


def test_segments_in_use_are_left_alone(tmp_path: Path) -> None:
    first, second = spool(tmp_path), spool(tmp_path)
    assert first.append([row(1), row(2)], fsync=True)
    assert list(second.waiting()) == []
    first.turn()
    found = list(second.waiting())
    assert [list(each.records()) for each in found] == [[row(1), row(2)]]
    assert list(first.waiting()) == []  # the second holds it now
    found[0].delete()
    assert list(first.waiting()) == []
    assert first.size == 0


def test_a_torn_end_is_cut(tmp_path: Path) -> None:
    first = spool(tmp_path)
    first.append([row(1), row(2)], fsync=False)
    first.turn()
    path = next(tmp_path.glob("*.spool"))
    os.truncate(path, path.stat().st_size - 1)
    assert [list(each.records()) for each in spool(tmp_path).waiting()] == [[row(1)]]


def test_the_bound_holds_for_all_segments_together(tmp_path: Path) -> None:
    first, second = spool(tmp_path, most=1_000), spool(tmp_path, most=1_000)
    taken = [each.append([row(number)], fsync=False) for number in range(20) for each in (first, second)]
    assert taken[0]
    assert not taken[-1]
    assert first.size == second.size <= 1_000


def test_zeros_behind_the_last_write_are_an_end() -> None:
    assert list(read_records(framed([row(1)]) + bytes(100))) == [row(1)]
    assert not is_damaged(framed([row(1)]) + bytes(100))


@given(records, st.data())
def test_a_torn_end_is_no_damage(rows: list[Record], data: st.DataObject) -> None:
    content = framed([*rows, ("last",)])
    assert not is_damaged(content[: data.draw(st.integers(0, len(content)))])


def test_damage_in_the_middle_is_kept_aside(tmp_path: Path) -> None:
    first = spool(tmp_path)
    first.append([row(1), row(2), row(3)], fsync=False)
    first.turn()
    path = next(tmp_path.glob("*.spool"))
    content = bytearray(path.read_bytes())
    content[len(framed([row(1)])) + 20] ^= 1
    path.write_bytes(content)
    segment = next(spool(tmp_path).waiting())
    assert list(segment.records()) == [row(1)]
    aside = segment.put_aside()
    assert aside is not None
    assert aside.read_bytes() == content
    assert list(spool(tmp_path).waiting()) == []


def test_a_segment_is_never_seen_unlocked(tmp_path: Path) -> None:
    mine, other = spool(tmp_path), spool(tmp_path)
    is_over = threading.Event()
    stolen = []

    def look() -> None:
        while not is_over.is_set():
            for segment in other.waiting():
                stolen.append(segment.path)
                segment.delete()

    thread = threading.Thread(target=look)
    thread.start()
    for number in range(300):
        assert mine.append([row(number)], fsync=False)
        assert mine._current is not None
        path = mine._current.path
        assert path not in stolen
        assert path.exists()
        mine.turn()
        while path.exists():  # the other takes it as soon as it is let go
            pass
    is_over.set()
    thread.join()
    assert len(stolen) == 300
