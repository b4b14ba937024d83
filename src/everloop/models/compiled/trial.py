"""Whether compiled trees answer with the library's bits, and how much faster; only then a booster uses them."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import EverloopError
from everloop.models.booster import Booster
from everloop.models.compiled import machine
from everloop.models.compiled.conversion import converter_of
from everloop.models.compiled.memory import BLOCK
from everloop.models.compiled.text import Grown, read_trees, refused
from everloop.models.compiled.trees import CompiledTrees, Plan

__all__ = ["Verdict", "difference", "hasten", "odd_rows"]

_MOST_ROWS = 2048
_TIMES = 3
_GAIN = 0.9
_SINGLE = 16
_TINY = float(np.float32(1e-35))
_ODD = (0.0, -0.0, np.inf, -np.inf, np.nan, _TINY, -_TINY, 2 * _TINY, 1e-36, -1e-36, 5e-324, 1e300, -1e300, -0.3, -1.0)


_proven: WeakValueDictionary[bytes, CompiledTrees] = WeakValueDictionary()
"""What was tried and is used, by the digest of the model's text."""
_trying = threading.Lock()


@dataclass(frozen=True)
class Verdict:
    """What came of it.

    Attributes:
        is_used: whether the booster answers by the compiled trees now.
        note: why it does not, or how fast both are.
    """

    is_used: bool
    note: str


def hasten(booster: Booster, examples: Sequence[NDArray[np.float64]] = ()) -> Verdict:
    """Let a booster answer by compiled trees, where they give the same bits and are faster.

    It takes some tenths of a second, and the booster may be asked meanwhile. Boosters of the same text that live at
    the same time share what was made.

    Args:
        booster: the model.
        examples: rows to try besides made-up ones, each of shape ``(n, features)``.
    """
    if not machine.is_available():
        return Verdict(False, "not compiled: llvmlite is not installed, or this is not Linux on x86-64")
    key = hashlib.sha256(booster.text.encode()).digest()
    with _trying:
        trees = _proven.get(key)
        if trees is None:
            try:
                trees = _tried(booster, examples)
            except EverloopError as error:
                return Verdict(False, f"not compiled: {error.message}")
            _proven[key] = trees
    booster.answer_by(trees)
    return Verdict(True, f"compiled: {trees.plan.note}")


def _tried(booster: Booster, examples: Sequence[NDArray[np.float64]]) -> CompiledTrees:
    """The trees, with the plan that is best here.

    Raises:
        ModelError: they are not understood, give other bits, or are no faster.
        UnavailableError: there is no compiler.
    """
    grown = read_trees(booster.text)
    trees = CompiledTrees(grown, converter_of(grown))
    rows = np.concatenate([odd_rows(grown), *(each for each in examples if len(each))])
    if found := difference(booster, trees, rows):
        raise refused(found)
    trees.plan = _planned(booster, trees, rows)
    return trees


def odd_rows(grown: Grown, *, seed: int = 7, most: int = _MOST_ROWS) -> NDArray[np.float64]:
    """Rows of values at which trees can go wrong: thresholds, their neighbours, categories and what is near, NaN.

    Every such value of every feature is in one of the rows where there are no more than ``most`` of them.

    Returns:
        Shape ``(n, features)``, at least two blocks of rows.
    """
    random = np.random.default_rng(seed)
    pools: list[NDArray[np.float64]] = []
    is_number = (grown.decision & 1) == 0
    order = np.argsort(grown.feature, kind="stable")
    bounds = np.searchsorted(grown.feature[order], np.arange(grown.features + 1))
    for feature in range(grown.features):
        own = order[bounds[feature] : bounds[feature + 1]]
        cuts = np.unique(grown.threshold[own[is_number[own]]])
        with np.errstate(over="ignore"):
            parts = [np.array(_ODD), cuts, np.nextafter(cuts, -np.inf), np.nextafter(cuts, np.inf)]
        sets = [grown.members[node] for node in own.tolist() if node in grown.members]
        if sets:
            known = np.unique(np.concatenate(sets)).astype(np.float64)
            parts += [known, known + 0.5, known + 1, -known, np.nextafter(known, -np.inf), known + 2.0**32]
            parts.append(np.array([2.0**31 - 1, 2.0**31, 2.0**32, 2.0**63, -(2.0**31), -(2.0**32)]))
        pools.append(random.permutation(np.concatenate(parts)))
    n = min(most, max(2 * BLOCK, *(len(pool) for pool in pools)))
    return np.column_stack([np.resize(pool, n) for pool in pools])


def difference(booster: Booster, trees: CompiledTrees, rows: NDArray[np.float64]) -> str:
    """Where the answers differ in a bit; empty where they do not."""
    # an answer has the same bits whether rows are asked by one kernel, by the other, or by the library
    plans = (Plan(uses_blocks=False, alone=BLOCK), Plan(alone=0))
    for is_raw in (False, True):
        expected = booster.predict_by_library(rows, raw=is_raw)
        for plan in plans:
            trees.plan = plan
            found = trees.predict(rows, raw=is_raw)
            if found is not None and not _is_same(expected, found):
                return "the compiled trees give other bits than LightGBM"
    return ""


def _is_same(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    return first.shape == second.shape and bool((first.view(np.int64) == second.view(np.int64)).all())


def _planned(booster: Booster, trees: CompiledTrees, rows: NDArray[np.float64]) -> Plan:
    """Which kernel to use for how many rows, by how long they take here.

    Raises:
        ModelError: the library is faster.
    """
    ones = [rows[start : start + 1] for start in range(4 * _SINGLE)]
    full = [rows[start : start + BLOCK] for start in range(0, len(rows) - BLOCK + 1, BLOCK)][:4]
    library = _shortest(booster.predict_by_library, ones)
    several = _shortest(booster.predict_by_library, full) / BLOCK
    trees.plan = Plan(uses_blocks=False, alone=BLOCK)
    walk, walks = _shortest(trees.predict, ones), _shortest(trees.predict, full) / BLOCK
    trees.plan = Plan()
    block = _shortest(trees.predict, full)
    is_walked, is_blocked = walk < _GAIN * library, block < _GAIN * BLOCK * min(several, walks)
    note = (
        f"{walk * 1e6:.3g} us for a row and {min(block / BLOCK, walks) * 1e6:.3g} us each for many, "
        f"LightGBM {library * 1e6:.3g} and {several * 1e6:.3g}"
    )
    if is_walked and (is_blocked or walks < _GAIN * several):
        return Plan(alone=min(BLOCK - 1, int(block / walks)), uses_blocks=is_blocked, note=note)
    if is_blocked:
        return Plan(least=1 + int(block / min(library, several)), note=note)
    raise refused(f"that would not be faster ({note})")


def _shortest(predict: Callable[[NDArray[np.float64]], object], parts: Sequence[NDArray[np.float64]]) -> float:
    """Seconds of one call, of the fastest of a few rounds."""
    seconds = float("inf")
    for _ in range(_TIMES):
        started = time.perf_counter()
        for part in parts:
            predict(part)
        seconds = min(seconds, time.perf_counter() - started)
    return seconds / len(parts)
