"""The numbers of a forecast as the store keeps them: packed, exact, and readable without the model."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import IntegrityError

__all__ = ["ForecastValues"]

_PLAIN, _ZLIB = b"\x00", b"\x01"
_COMPRESS_FROM_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ForecastValues:
    """What was answered, for ``n`` series and ``h`` instants.

    Attributes:
        series: the series' texts (``join_key``), length ``n``.
        times: shape ``(h,)``, microseconds since 1970 in UTC, ascending.
        mean: shape ``(n, h)``.
        lower: by level in percent, shape ``(n, h)``; NaN where no interval was given.
        upper: likewise.
        notes: what the reader was told beside the numbers.

    >>> values = ForecastValues(("a",), np.array([0]), np.array([[1.5]]))
    >>> ForecastValues.unpack(values.pack()).mean
    array([[1.5]])
    """

    series: tuple[str, ...]
    times: NDArray[np.int64]
    mean: NDArray[np.float64]
    lower: dict[float, NDArray[np.float64]] = field(default_factory=dict)
    upper: dict[float, NDArray[np.float64]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def pack(self) -> bytes:
        """The bytes to store."""
        levels = sorted(self.lower)
        content = msgspec.msgpack.encode(
            {
                "series": self.series,
                "times": self.times.astype("<i8").tobytes(),
                "mean": self.mean.astype("<f8").tobytes(),
                "levels": [float(level) for level in levels],
                "lower": [self.lower[level].astype("<f8").tobytes() for level in levels],
                "upper": [self.upper[level].astype("<f8").tobytes() for level in levels],
                "notes": self.notes,
            }
        )
        if len(content) < _COMPRESS_FROM_BYTES:
            return _PLAIN + content
        return _ZLIB + zlib.compress(content, 1)

    @classmethod
    def unpack(cls, stored: bytes) -> ForecastValues:
        """The values that :meth:`pack` stored, bit for bit.

        Raises:
            IntegrityError: the bytes are not such values.
        """
        try:
            raw = zlib.decompress(stored[1:]) if stored[:1] == _ZLIB else stored[1:]
            tree = msgspec.msgpack.decode(raw)
            shape = (len(tree["series"]), len(tree["times"]) // 8)

            def floats(data: bytes) -> NDArray[np.float64]:
                return np.frombuffer(data, "<f8").reshape(shape)

            return cls(
                series=tuple(tree["series"]),
                times=np.frombuffer(tree["times"], "<i8"),
                mean=floats(tree["mean"]),
                lower={level: floats(data) for level, data in zip(tree["levels"], tree["lower"], strict=True)},
                upper={level: floats(data) for level, data in zip(tree["levels"], tree["upper"], strict=True)},
                notes=tuple(tree["notes"]),
            )
        except (KeyError, ValueError, TypeError, zlib.error, msgspec.DecodeError) as error:
            raise IntegrityError("prediction_values", f"stored forecast values cannot be read: {error}") from error

    def equals(self, other: ForecastValues) -> bool:
        """Whether every number of both is the same, bit for bit."""
        return self.pack() == other.pack()
