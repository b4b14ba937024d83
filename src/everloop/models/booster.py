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
import weakref
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError, UnavailableError

__all__ = ["Booster", "load_library"]

_FLOAT32, _FLOAT64 = 0, 1
_NORMAL, _RAW = 0, 1


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

    def predict(
        self, rows: NDArray[np.float32] | NDArray[np.float64], *, raw: bool = False, threads: int = 1
    ) -> NDArray[np.float64]:
        """Predictions for rows of features.

        Args:
            rows: shape ``(n, features)``, NaN where missing.
            raw: the score before the link function.
            threads: how many threads share the rows; the bits do not depend on it.

        Returns:
            Shape ``(n,)``.

        Raises:
            ModelError: the number of features is another, or the library reports an error.
        """
        if rows.ndim != 2 or rows.shape[1] != self.features:
            raise ModelError(
                "booster_features",
                f"the model takes {self.features} features, not an array of shape {rows.shape}",
                hint="features and model must come from the same release",
            )
        out = np.empty(len(rows), dtype=np.float64)
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
        if written.value != len(out):
            raise ModelError(
                "booster_output",
                f"LightGBM gave {written.value} values for {len(out)} rows",
                hint="only models with one output are supported",
            )
        return out


def _call(library: ctypes.CDLL, function: str, *arguments: object) -> None:
    if getattr(library, function)(*arguments) != 0:
        reason = library.LGBM_GetLastError().decode(errors="replace")
        raise ModelError("booster_library", f"LightGBM: {reason}", hint=f"{function} failed; see LightGBM's C API")


@cache
def load_library() -> ctypes.CDLL:
    """The shared library of the installed wheel; finding it runs no code of the Python package.

    OpenMP is told to let waiting threads sleep, unless the environment says otherwise. Spinning ones, its default,
    take the cores from each other as soon as anything else runs: a fit of 40 s then took over five minutes. OpenMP
    reads this once, when it is loaded.
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
    return library
