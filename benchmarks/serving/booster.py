"""The booster alone, through LightGBM's C API: what every server is measured against.

    python booster.py MODEL... ROWS SECONDS

prints the microseconds of one call with so many rows, by the faster of the library's two ways: one matrix, or the
prepared call for a single row, row by row. Several models have their turns call by call, as behind a split of the
traffic: each finds less of itself in the processor's caches then.
"""

from __future__ import annotations

import ctypes
import importlib.util
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Booster"]

_FLOAT64, _NORMAL = 1, 0


class Booster:
    """A model with buffers of fixed places, for one thread.

    Args:
        path: LightGBM's own file.
        rows: the most rows of a call.
    """

    def __init__(self, path: str, rows: int) -> None:
        library = ctypes.CDLL(str(_library()))
        library.LGBM_GetLastError.restype = ctypes.c_char_p
        self._library = library
        self._handle = ctypes.c_void_p()
        self._check(
            library.LGBM_BoosterCreateFromModelfile(
                path.encode(), ctypes.byref(ctypes.c_int()), ctypes.byref(self._handle)
            )
        )
        count = ctypes.c_int()
        self._check(library.LGBM_BoosterGetNumFeature(self._handle, ctypes.byref(count)))
        self.features = count.value
        self._rows = (ctypes.c_double * (rows * self.features))()
        self._out = (ctypes.c_double * rows)()
        written = ctypes.c_int64()
        self._written = written
        self._pack = struct.Struct(f"{self.features}d").pack_into
        config = ctypes.c_void_p()
        self._check(
            library.LGBM_BoosterPredictForMatSingleRowFastInit(
                self._handle, _NORMAL, 0, -1, _FLOAT64, self.features, b"num_threads=1", ctypes.byref(config)
            )
        )
        self._single = library.LGBM_BoosterPredictForMatSingleRowFast
        self._single.argtypes = [ctypes.c_void_p] * 4
        self._arguments = (
            config.value,
            ctypes.addressof(self._rows),
            ctypes.addressof(written),
            ctypes.addressof(self._out),
        )

    def one(self, row: Sequence[float]) -> float:
        """The prediction for one row."""
        self._pack(self._rows, 0, *row)
        if self._single(*self._arguments):
            raise RuntimeError(self._library.LGBM_GetLastError())
        return float(self._out[0])

    def fill(self, values: Sequence[float]) -> int:
        """Take rows, one after the other; gives how many there are."""
        struct.pack_into(f"{len(values)}d", self._rows, 0, *values)
        return len(values) // self.features

    def many(self, n: int) -> list[float]:
        """The predictions for the first ``n`` of the rows taken, as one matrix."""
        arguments = (
            self._handle, ctypes.byref(self._rows), _FLOAT64, ctypes.c_int32(n), ctypes.c_int32(self.features), 1,
            _NORMAL, 0, -1, b"num_threads=1", ctypes.byref(self._written), ctypes.byref(self._out),
        )  # fmt: skip
        self._check(self._library.LGBM_BoosterPredictForMat(*arguments))
        return self._out[:n]

    def each(self, n: int) -> list[float]:
        """The same, row by row."""
        config, first, written, out = self._arguments
        single, wide = self._single, 8 * self.features
        for place in range(n):
            if single(config, first + place * wide, written, out + 8 * place):
                raise RuntimeError(self._library.LGBM_GetLastError())
        return self._out[:n]

    def _check(self, status: int) -> None:
        if status:
            raise RuntimeError(self._library.LGBM_GetLastError())


def _library() -> Path:
    """The shared library of the installed wheel."""
    spec = importlib.util.find_spec("lightgbm")
    if spec is None or spec.origin is None:
        raise SystemExit("lightgbm is not installed")
    return Path(spec.origin).parent / "lib" / "lib_lightgbm.so"


def _measure(paths: Sequence[str], rows: int, seconds: float) -> float:
    """Microseconds of a call by the faster way; the rows differ from call to call."""
    import numpy as np  # only here: the bare application does without

    boosters = [Booster(path, rows) for path in paths]
    size = rows * boosters[0].features
    batches = [np.random.default_rng(seed).normal(size=size).tolist() for seed in range(64)]
    best = float("inf")
    for way in (Booster.many, Booster.each):
        spent, calls = 0.0, 0
        while spent < seconds / 2:
            booster = boosters[calls % len(boosters)]
            n = booster.fill(batches[calls // len(boosters) % len(batches)])
            started = time.perf_counter()
            way(booster, n)
            spent += time.perf_counter() - started
            calls += 1
        best = min(best, spent / calls * 1e6)
    return best


if __name__ == "__main__":
    print(_measure(sys.argv[1:-2], int(sys.argv[-2]), float(sys.argv[-1])))
