"""LightGBM's own C library for predictions, without its Python package.

``import lightgbm`` also imports scikit-learn and pandas, which costs a server seconds and some 200 MB. The shared
library in the same wheel needs none of that. Every prediction, in training, in batch and over HTTP, is made by
:class:`Booster`, so that one model gives the same bits everywhere.

See https://lightgbm.readthedocs.io/en/stable/C-API.html for the functions called.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import threading
import weakref
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError, UnavailableError

__all__ = ["Booster", "OtherWay", "load_library"]

_FLOAT32, _FLOAT64 = 0, 1
_NORMAL, _RAW = 0, 1
_FEW = 16
"""Up to so many rows are asked one by one: asking for a matrix costs some 12 us before its first row."""


class OtherWay(Protocol):
    """Another way to the bits that the library gives, such as :class:`everloop.models.compiled.trees.CompiledTrees`."""

    def predict(
        self, rows: NDArray[np.float32] | NDArray[np.float64], *, raw: bool = False, threads: int = 1
    ) -> NDArray[np.float64] | None:
        """As :meth:`Booster.predict`; ``None`` where the library is the better way for these rows."""
        ...


class Booster:
    """A trained model that predicts; threads may share it.

    Args:
        text: the model as LightGBM writes it (``model_to_string``).

    Raises:
        ModelError: the text is no model of LightGBM.
        UnavailableError: LightGBM's shared library is missing.
    """

    def __init__(self, text: str) -> None:
        library = load_library()
        handle = ctypes.c_void_p()
        iterations = ctypes.c_int()
        # On a text that is no model the library's parser may end the process, so the head is looked at first.
        if not text.startswith("tree\n") or "\nend of trees" not in text:
            raise ModelError(
                "booster_text",
                "the text is no LightGBM model, or is cut short",
                hint="the model's files are damaged; make the release again",
            )
        _call(
            library,
            "LGBM_BoosterLoadModelFromString",
            text.encode(),
            ctypes.byref(iterations),
            ctypes.byref(handle),
        )
        self.text = text
        self.iterations = iterations.value
        self._library = library
        self._handle = handle
        weakref.finalize(self, library.LGBM_BoosterFree, handle)
        count = ctypes.c_int()
        _call(library, "LGBM_BoosterGetNumFeature", handle, ctypes.byref(count))
        self.features = count.value
        _call(library, "LGBM_BoosterGetNumClasses", handle, ctypes.byref(count))
        self.outputs = count.value
        self._local = threading.local()
        self._other: OtherWay | None = None

    def answer_by(self, other: OtherWay | None) -> None:
        """From now on ask another way first, which was shown to give the same bits; ``None`` asks the library alone."""
        self._other = other

    def predict(
        self, rows: NDArray[np.float32] | NDArray[np.float64], *, raw: bool = False, threads: int = 1
    ) -> NDArray[np.float64]:
        """Predictions for rows of features; the bits of a row depend neither on the others nor on the threads.

        Args:
            rows: shape ``(n, features)``, NaN where missing.
            raw: the score before the link function.
            threads: how many threads share the rows.

        Returns:
            Shape ``(n,)``, or ``(n, outputs)`` where the model has several outputs, such as classes.

        Raises:
            ModelError: the number of features is another, or the library reports an error.
        """
        if rows.ndim != 2 or rows.shape[1] != self.features:
            raise ModelError(
                "booster_features",
                f"the model takes {self.features} features, not an array of shape {rows.shape}",
                hint="features and model must come from the same release",
            )
        if self._other is not None and len(rows):
            found = self._other.predict(rows, raw=raw, threads=threads)
            if found is not None:
                return found
        return self.predict_by_library(rows, raw=raw, threads=threads)

    def predict_by_library(
        self, rows: NDArray[np.float32] | NDArray[np.float64], *, raw: bool = False, threads: int = 1
    ) -> NDArray[np.float64]:
        """As :meth:`predict`, by LightGBM's library in any case; the rows' shape must fit.

        Raises:
            ModelError: the library fails.
        """
        if 0 < len(rows) <= _FEW and not raw:
            few: _FewRows | None = getattr(self._local, "few", None)
            if few is None:
                few = self._local.few = _FewRows(self)
            return few.predict(rows)
        out = np.empty((len(rows), self.outputs) if self.outputs > 1 else len(rows), dtype=np.float64)
        if not len(rows):
            return out
        kind = _FLOAT64 if rows.dtype == np.float64 else _FLOAT32
        values = np.ascontiguousarray(rows, dtype=np.float64 if kind == _FLOAT64 else np.float32)
        written = ctypes.c_int64()
        _call(
            self._library,
            "LGBM_BoosterPredictForMat",
            self._handle,
            values.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int(kind),
            ctypes.c_int32(values.shape[0]),
            ctypes.c_int32(values.shape[1]),
            ctypes.c_int(1),
            ctypes.c_int(_RAW if raw else _NORMAL),
            ctypes.c_int(0),
            ctypes.c_int(-1),
            f"num_threads={threads}".encode(),
            ctypes.byref(written),
            out.ctypes.data_as(ctypes.c_void_p),
        )
        if written.value != out.size:
            raise ModelError(
                "booster_output",
                f"LightGBM gave {written.value} values for {len(out)} rows of {self.outputs}",
                hint="is the installed LightGBM as new as the one that made the model?",
            )
        return out


class _FewRows:
    """What one thread predicts a few rows with: the library's prepared call, and buffers whose addresses are known.

    Preparing saves LightGBM the reading of its parameters, and fixed buffers save NumPy's and ctypes' making of
    pointers: 0.6 us a call above the trees themselves.
    """

    def __init__(self, booster: Booster) -> None:
        library, handle = booster._library, booster._handle
        self._owner = handle
        self._library = library
        self._rows = np.empty((_FEW, booster.features), dtype=np.float64)
        self._out = np.empty((_FEW, booster.outputs) if booster.outputs > 1 else _FEW, dtype=np.float64)
        self._written = np.zeros(1, dtype=np.int64)
        self._config = ctypes.c_void_p()
        _call(
            library,
            "LGBM_BoosterPredictForMatSingleRowFastInit",
            handle,
            ctypes.c_int(_NORMAL),
            ctypes.c_int(0),
            ctypes.c_int(-1),
            ctypes.c_int(_FLOAT64),
            ctypes.c_int32(booster.features),
            b"num_threads=1",
            ctypes.byref(self._config),
        )
        weakref.finalize(self, library.LGBM_FastConfigFree, self._config)
        first, out, written = self._rows.ctypes.data, self._out.ctypes.data, self._written.ctypes.data
        wide, deep = self._rows.strides[0], self._out.strides[0]
        self._places = [(first + i * wide, written, out + i * deep) for i in range(_FEW)]
        self._function = library.LGBM_BoosterPredictForMatSingleRowFast

    def predict(self, rows: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Predictions of at most so many rows as the buffers hold."""
        n = len(rows)
        self._rows[:n] = rows
        for row, written, out in self._places[:n]:
            if self._function(self._config, row, written, out) != 0:
                raise _failure(self._library, "LGBM_BoosterPredictForMatSingleRowFast")
        return self._out[:n].copy()


def _call(library: ctypes.CDLL, function: str, *arguments: object) -> None:
    if getattr(library, function)(*arguments) != 0:
        raise _failure(library, function)


def _failure(library: ctypes.CDLL, function: str) -> ModelError:
    reason = library.LGBM_GetLastError().decode(errors="replace")
    return ModelError("booster_library", f"LightGBM: {reason}", hint=f"{function} failed; see LightGBM's C API")


@cache
def load_library() -> ctypes.CDLL:
    """The shared library of the installed wheel; finding it runs no code of the Python package.

    OpenMP is told to let waiting threads sleep, unless the environment says otherwise. Spinning ones, its default,
    take the cores from each other as soon as anything else runs: a fit of 40 s then took over five minutes. OpenMP
    reads this once, when it is loaded.

    Raises:
        UnavailableError: LightGBM is not installed, or its library cannot be loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    spec = importlib.util.find_spec("lightgbm")
    name = {"win32": "lib_lightgbm.dll", "darwin": "lib_lightgbm.dylib"}.get(sys.platform, "lib_lightgbm.so")
    folders = [Path(each) for each in (spec.submodule_search_locations or [])] if spec else []
    found = [path for folder in folders for path in (folder / "lib" / name, folder / "bin" / name) if path.is_file()]
    if not found:
        raise UnavailableError(
            "booster_missing", f"there is no {name} in the installed packages", hint="install it: pip install lightgbm"
        )
    try:
        library = ctypes.CDLL(str(found[0]))
    except OSError as error:
        raise UnavailableError(
            "booster_missing", f"cannot load {found[0].name}: {error}", hint="is OpenMP (libgomp) installed?"
        ) from error
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    library.LGBM_BoosterPredictForMatSingleRowFast.argtypes = [ctypes.c_void_p] * 4
    return library
