"""XGBoost's own C library for predictions, without its Python package, which imports SciPy and pandas.

See https://xgboost.readthedocs.io/en/stable/c.html for the functions called.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import math
import os
import sys
import threading
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError, UnavailableError

__all__ = ["XgboostBooster"]

_FEW = 16


class XgboostBooster:
    """A trained model of XGBoost that predicts with one thread; threads may share it.

    Args:
        path: the file, JSON or UBJSON by its suffix.
        iterations: how many iterations count, 0 for all.

    Raises:
        ModelError: the file is no model of XGBoost.
        UnavailableError: XGBoost's shared library is missing.
    """

    def __init__(self, path: Path, *, iterations: int = 0) -> None:
        self._library = library = _load_library()
        self._handle = handle = ctypes.c_void_p()
        _call(library, "XGBoosterCreate", None, ctypes.c_uint64(0), ctypes.byref(handle))
        weakref.finalize(self, library.XGBoosterFree, handle)
        _call(library, "XGBoosterLoadModel", handle, str(path).encode())
        # the forests are small beside a request, and workers are processes: more threads only get in their way
        _call(library, "XGBoosterSetParam", handle, b"nthread", b"1")
        count = ctypes.c_uint64()
        _call(library, "XGBoosterGetNumFeature", handle, ctypes.byref(count))
        self.features = count.value
        request = {"type": 0, "training": False, "iteration_begin": 0, "iteration_end": iterations}
        self._request = json.dumps(request | {"missing": float("nan"), "strict_shape": False, "cache_id": 0}).encode()
        self._local = threading.local()
        self.kind = str(self.settings()["gradient_booster"]["name"])
        self.outputs: tuple[int, ...] = ()
        if self.kind != "gblinear":  # which predicts rows in another form only
            self.outputs = self.predict(np.full((1, self.features), np.nan)).shape[1:]

    def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float32]:
        """Predictions for rows of features.

        Args:
            rows: shape ``(n, features)``, NaN where missing; XGBoost rounds them to 32 bits.

        Returns:
            Shape ``(n,)``, or ``(n, outputs)``; read-only.

        Raises:
            ModelError: the number of features is another, or the library reports an error.
        """
        n = len(rows)
        if rows.ndim != 2 or rows.shape[1] != self.features:
            raise ModelError(
                "booster_features",
                f"the model takes {self.features} features, not an array of shape {rows.shape}",
                hint="features and model must come from the same release",
            )
        if not n:
            return np.empty((0, *self.outputs), dtype=np.float32)
        asking: _Asking | None = getattr(self._local, "asking", None)
        if asking is None:
            asking = self._local.asking = _Asking(self.features)
        if n <= _FEW:
            asking.rows[:n] = rows
            place = asking.places[n]
        else:
            many = np.ascontiguousarray(rows, dtype=np.float32)
            place = _place(many)
        failed = self._library.XGBoosterPredictFromDense(
            self._handle, place, self._request, None, asking.shape_at, asking.dimensions_at, asking.values_at
        )
        if failed:
            raise _failure(self._library, "XGBoosterPredictFromDense")
        return asking.answer()

    def attribute(self, name: str) -> str | None:
        """An attribute that training has stored with the model."""
        text, found = ctypes.c_char_p(), ctypes.c_int()
        _call(self._library, "XGBoosterGetAttr", self._handle, name.encode(), ctypes.byref(text), ctypes.byref(found))
        return text.value.decode() if found.value and text.value is not None else None

    def feature_info(self, field: str) -> list[str]:
        """The features' names (``"feature_name"``) or types (``"feature_type"``); empty where it keeps none."""
        count, texts = ctypes.c_uint64(), ctypes.POINTER(ctypes.c_char_p)()
        _call(
            self._library,
            "XGBoosterGetStrFeatureInfo",
            self._handle,
            field.encode(),
            ctypes.byref(count),
            ctypes.byref(texts),
        )
        return [(texts[i] or b"").decode() for i in range(count.value)]

    def settings(self) -> dict[str, Any]:
        """The ``learner`` part of the model's configuration, as the library writes it."""
        length, text = ctypes.c_uint64(), ctypes.c_char_p()
        _call(self._library, "XGBoosterSaveJsonConfig", self._handle, ctypes.byref(length), ctypes.byref(text))
        found: dict[str, Any] = json.loads(text.value or b"{}")["learner"]
        return found


class _Asking:
    """One thread's buffers: rows whose addresses are known, and where the library tells of its answer."""

    def __init__(self, features: int) -> None:
        self.rows = np.empty((_FEW, features), dtype=np.float32)
        self.places = [_place(self.rows[:n]) for n in range(_FEW + 1)]
        self._shape, self._dimensions, self._values = ctypes.c_void_p(), ctypes.c_uint64(), ctypes.c_void_p()
        self.shape_at = ctypes.addressof(self._shape)
        self.dimensions_at = ctypes.addressof(self._dimensions)
        self.values_at = ctypes.addressof(self._values)

    def answer(self) -> NDArray[np.float32]:
        """A copy of what the library has answered; the library keeps its own by thread until the next call."""
        shape = np.frombuffer(ctypes.string_at(self._shape.value or 0, 8 * self._dimensions.value), dtype=np.uint64)
        sizes = [int(size) for size in shape]
        content = ctypes.string_at(self._values.value or 0, 4 * math.prod(sizes))
        return np.frombuffer(content, dtype=np.float32).reshape(sizes)


def _place(rows: NDArray[np.float32]) -> bytes:
    """NumPy's array interface as the JSON text that XGBoost reads."""
    parts = {"data": [rows.ctypes.data, True], "typestr": "<f4", "shape": list(rows.shape), "version": 3}
    return json.dumps(parts | {"strides": None}).encode()


def _call(library: ctypes.CDLL, function: str, *arguments: object) -> None:
    if getattr(library, function)(*arguments) != 0:
        raise _failure(library, function)


def _failure(library: ctypes.CDLL, function: str) -> ModelError:
    lines = library.XGBGetLastError().decode(errors="replace").strip().splitlines()
    reason = lines[0] if lines else "no reason given"
    return ModelError("booster_library", f"XGBoost: {reason}", hint=f"{function} failed; see XGBoost's C API")


@cache
def _load_library() -> ctypes.CDLL:
    """The shared library of the installed wheel; see :func:`everloop.models.booster.load_library`."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    spec = importlib.util.find_spec("xgboost")
    name = {"win32": "xgboost.dll", "darwin": "libxgboost.dylib"}.get(sys.platform, "libxgboost.so")
    folders = [Path(each) for each in (spec.submodule_search_locations or [])] if spec else []
    found = [path for folder in folders for path in (folder / "lib" / name,) if path.is_file()]
    if not found:
        raise UnavailableError(
            "xgboost_missing",
            f"there is no {name} in the installed packages",
            hint="install it: pip install 'everloop[xgboost]'",
        )
    try:
        library = ctypes.CDLL(str(found[0]))
    except OSError as error:
        raise UnavailableError(
            "xgboost_missing", f"cannot load {found[0].name}: {error}", hint="is OpenMP (libgomp) installed?"
        ) from error
    library.XGBGetLastError.restype = ctypes.c_char_p
    pointer = ctypes.c_void_p
    library.XGBoosterPredictFromDense.argtypes = [pointer, ctypes.c_char_p, ctypes.c_char_p, *[pointer] * 4]
    return library
