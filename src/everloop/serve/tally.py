"""Counters and histograms that cost tens of nanoseconds, and are right across several workers.

Each worker counts in a file of its own that is mapped into memory, so a count is one addition to a float there: no
lock (only the event loop's thread and short bookkeeping threads write, each to its own cells), no formatting, no
system call. A scrape by any worker adds up the files of all of them, also of those that have died, so that counters
never fall. A dead worker's gauges are set to zero by the supervisor.

The layout is told by a second file: one JSON line for each labelled series, in the order of its cells.
"""

from __future__ import annotations

import json
import mmap
import operator
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["Cell", "Family", "HistogramCell", "Tally", "forget_gauges"]

_CELLS = 16_384
_VALUES, _LABELS = ".tally", ".labels"


@dataclass(frozen=True, slots=True)
class Family:
    """A metric.

    Attributes:
        name: its name, without ``_total``.
        help: its help text.
        kind: ``"counter"``; ``"gauge"``, added up over the workers that live; ``"highest"``, a gauge of which the
            workers' highest counts; ``"info"``, likewise, and left out where it is zero; or ``"histogram"``.
        labels: the label names.
        buckets: the upper bounds of a histogram's buckets.
    """

    name: str
    help: str
    kind: str = "counter"
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """How many cells one labelled series takes: buckets, the one above all of them, and the sum."""
        return len(self.buckets) + 2 if self.kind == "histogram" else 1


class Cell:
    """One counter or gauge."""

    __slots__ = ("_place", "_view")

    def __init__(self, view: Any, place: int) -> None:
        self._view = view
        self._place = place

    def add(self, amount: float = 1.0) -> None:
        """Add to it."""
        self._view[self._place] += amount

    def set(self, value: float) -> None:
        """Set it; for a gauge."""
        self._view[self._place] = value

    @property
    def value(self) -> float:
        """What it holds in this process."""
        return float(self._view[self._place])


class HistogramCell:
    """One histogram."""

    __slots__ = ("_buckets", "_place", "_sum", "_view")

    def __init__(self, view: Any, place: int, buckets: tuple[float, ...]) -> None:
        self._view = view
        self._place = place
        self._buckets = buckets
        self._sum = place + len(buckets) + 1

    def observe(self, value: float) -> None:
        """Count a value; bounds are inclusive."""
        view = self._view
        view[self._place + bisect_left(self._buckets, value)] += 1.0
        view[self._sum] += value


class Tally:
    """The numbers of one process, and a collector of those of all, as a registry of prometheus-client takes it.

    Args:
        families: what is counted.
        folder: where all workers keep their files; ``None`` for a process alone.
        process: the name of this one's files, its number by default.

    >>> served = Family("served", "Served.", labels=("code",))
    >>> tally = Tally([served])
    >>> tally.cell(served, "200").add()
    >>> [sample.value for metric in tally.collect() for sample in metric.samples]
    [1.0]
    """

    def __init__(self, families: Iterable[Family], *, folder: Path | None = None, process: str | None = None) -> None:
        self._families = {family.name: family for family in families}
        self._folder = folder
        self._next = 0
        self._series: list[tuple[str, tuple[str, ...], int]] = []
        self._cells: dict[tuple[str, tuple[str, ...]], Cell | HistogramCell] = {}
        self._labels: Path | None = None
        size = _CELLS * 8
        if folder is None:
            self._map = mmap.mmap(-1, size)
        else:
            name = process or str(os.getpid())
            self._labels = folder / (name + _LABELS)
            self._labels.write_text("", encoding="utf-8")
            with (folder / (name + _VALUES)).open("w+b") as file:
                file.truncate(size)
                self._map = mmap.mmap(file.fileno(), size)
        self._view: Any = memoryview(self._map).cast("d")

    def cell(self, family: Family, *labels: str) -> Cell:
        """The counter or gauge of a labelled series; keep it where it is used often.

        Raises:
            MemoryError: there are more series than any bounded set of labels gives.
        """
        key = (family.name, labels)
        found = self._cells.get(key)
        if found is None:
            found = self._cells[key] = Cell(self._view, self._place(family, labels))
        assert isinstance(found, Cell)
        return found

    def histogram(self, family: Family, *labels: str) -> HistogramCell:
        """The histogram of a labelled series; keep it where it is used often.

        Raises:
            MemoryError: as for :meth:`cell`.
        """
        key = (family.name, labels)
        found = self._cells.get(key)
        if found is None:
            found = self._cells[key] = HistogramCell(self._view, self._place(family, labels), family.buckets)
        assert isinstance(found, HistogramCell)
        return found

    def collect(self) -> Iterator[Metric]:
        """All metrics, added up over the workers."""
        sums: dict[str, dict[tuple[str, ...], list[float]]] = {name: {} for name in self._families}
        for name, labels, values in self._all():
            if name in sums:
                join: Any = max if self._families[name].kind in ("highest", "info") else operator.add
                before = sums[name].get(labels)
                sums[name][labels] = values if before is None else list(map(join, before, values))
        for name, series in sums.items():
            yield _metric(self._families[name], series)

    def _place(self, family: Family, labels: tuple[str, ...]) -> int:
        if len(labels) != len(family.labels):
            raise ValueError(f"{family.name} has the labels {family.labels}, not {labels}")
        place = self._next
        if place + family.width > _CELLS:
            raise MemoryError(f"there is no room for another series of {family.name}")
        self._next += family.width
        self._series.append((family.name, labels, place))
        if self._labels is not None:
            line = json.dumps([family.name, list(labels), place, family.width]) + "\n"
            with self._labels.open("a", encoding="utf-8") as file:
                file.write(line)
        return place

    def _all(self) -> Iterator[tuple[str, tuple[str, ...], list[float]]]:
        if self._folder is None:
            for name, labels, place in self._series:
                yield name, labels, self._view[place : place + self._families[name].width].tolist()
            return
        for path in sorted(self._folder.glob("*" + _LABELS)):
            yield from _read(path)


def forget_gauges(folder: Path, process: str, families: Iterable[Family]) -> None:
    """Set the gauges of a worker that has died to zero."""
    gauges = {family.name for family in families if family.kind not in ("counter", "histogram")}
    labels = folder / (process + _LABELS)
    if not labels.is_file():
        return
    with labels.with_suffix(_VALUES).open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        view: Any = memoryview(mapped).cast("d")
        for name, _, place, _ in _lines(labels):
            if name in gauges:
                view[place] = 0.0
        view.release()


def _read(labels: Path) -> Iterator[tuple[str, tuple[str, ...], list[float]]]:
    content = labels.with_suffix(_VALUES).read_bytes()
    view: Any = memoryview(content).cast("d")
    for name, values, place, width in _lines(labels):
        yield name, tuple(values), view[place : place + width].tolist()


def _lines(path: Path) -> Iterator[tuple[str, list[str], int, int]]:
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):  # the last one may be half-written at this moment
            name, values, place, width = json.loads(line)
            yield name, values, place, width


def _metric(family: Family, series: dict[tuple[str, ...], list[float]]) -> Metric:
    # a server's start need not wait for what is asked for by scrapes alone
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for labels, values in series.items():
            *counts, total = values
            running, buckets = 0.0, []
            for bound, count in zip((*map(_bound, family.buckets), "+Inf"), counts, strict=True):
                running += count
                buckets.append((bound, running))
            histogram.add_metric(list(labels), buckets, total)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for labels, values in series.items():
        if values[0] or family.kind != "info":
            metric.add_metric(list(labels), values[0])
    return metric


def _bound(value: float) -> str:
    return repr(float(value))
