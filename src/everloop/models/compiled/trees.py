"""Asking compiled trees: buffers, the choice of the kernel, and what becomes of the sums."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everloop.models.booster import Booster
from everloop.models.compiled.forest import Forest, lay_out
from everloop.models.compiled.machine import kernels
from everloop.models.compiled.memory import BLOCK
from everloop.models.compiled.text import Grown

__all__ = ["CompiledTrees", "Plan"]

_BUFFERED, _BUFFER_BYTES = 512, 4 << 20
"""The most rows that a thread's buffers hold, and how many bytes they should not exceed."""
_SHARED = 4096
"""From so many rows on threads share them."""
_ALIGNED = 128
_TINY = 1.1e-35


@dataclass(frozen=True)
class Plan:
    """Which kernel takes how many rows.

    Attributes:
        least: fewer rows than this are left to the model's own library.
        alone: of what is left of full blocks, up to so many rows are walked one by one.
        uses_blocks: whether blocks are used at all.
        note: how fast this was, for people.
    """

    least: int = 1
    alone: int = 0
    uses_blocks: bool = True
    note: str = ""


class CompiledTrees:
    """A model's trees, ready for the kernels; threads may share it.

    Args:
        grown: the trees.
        converter: what turns sums into answers, see :func:`everloop.models.compiled.conversion.converter_of`;
            ``None`` where sums are the answers.
        plan: which kernel takes how many rows.

    Raises:
        ModelError: the trees are too large.
        UnavailableError: there is no compiler, or its code does not run here.
    """

    def __init__(self, grown: Grown, converter: Booster | None, plan: Plan | None = None) -> None:
        self.grown = grown
        self.forest: Forest = lay_out(grown)
        self.plan = plan or Plan()
        self._kernels = kernels(self.forest.bits, has_categories=self.forest.has_categories)
        self._converter = converter
        self._iterations = len(grown.leaves) // grown.outputs
        self._model = self.forest.model.ctypes.data
        self._local = threading.local()

    def predict(
        self, rows: NDArray[np.float32] | NDArray[np.float64], *, raw: bool = False, threads: int = 1
    ) -> NDArray[np.float64] | None:
        """What the library would answer, or ``None`` where it is asked faster itself.

        Args:
            rows: shape ``(n, features)``.
            raw: the score before the link function.
            threads: how many threads share many rows.
        """
        n = len(rows)
        if n < self.plan.least:
            return None
        if threads > 1 and n >= _SHARED:
            size = -(-n // threads // BLOCK) * BLOCK
            parts = [rows[start : start + size] for start in range(0, n, size)]
            with ThreadPoolExecutor(len(parts)) as pool:
                sums = np.concatenate(list(pool.map(self._sums, parts)))
        else:
            sums = self._sums(rows)
        if self.grown.outputs == 1:
            sums = sums[:, 0]
        return sums if raw else self._answers(sums)

    def _sums(self, rows: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.float64]:
        """The sums of the leaves, shape ``(n, outputs)``."""
        buffers: _Buffers | None = getattr(self._local, "buffers", None)
        if buffers is None:
            buffers = self._local.buffers = _Buffers(self.forest, self.grown)
        n, most = len(rows), len(buffers.rows)
        if n <= most:
            buffers.rows[:n] = rows
            self._run(n, buffers.rows_at, buffers.out_at, buffers.scratch_at)
            return buffers.out[:n].copy()
        out = np.empty((n, self.grown.outputs))
        for start in range(0, n, most):
            part = rows[start : start + most]
            buffers.rows[: len(part)] = part
            self._run(len(part), buffers.rows_at, buffers.out_at, buffers.scratch_at)
            out[start : start + len(part)] = buffers.out[: len(part)]
        return out

    def _run(self, n: int, rows: int, out: int, scratch: int) -> None:
        plan = self.plan
        walked = n if not plan.uses_blocks or n <= plan.alone else n % BLOCK
        if walked <= plan.alone or not plan.uses_blocks:
            n -= walked
        else:
            walked = 0
        if n:
            self._kernels.block(self._model, rows, n, out, scratch)
        if walked:
            rows, out = rows + n * self.grown.features * 8, out + n * self.grown.outputs * 8
            self._kernels.walk(self._model, rows, walked, out, scratch)

    def _answers(self, sums: NDArray[np.float64]) -> NDArray[np.float64] | None:
        if self.grown.is_averaged:
            sums /= self._iterations
        if self._converter is None or not len(sums):
            return sums
        if ((np.abs(sums) < _TINY) & (sums != 0)).any():
            return None  # the library takes such features for zero, so that it cannot convert them
        return self._converter.predict(sums if sums.ndim == 2 else sums[:, None])


class _Buffers:
    """What one thread works in, at addresses that are known."""

    def __init__(self, forest: Forest, grown: Grown) -> None:
        wide = _BUFFER_BYTES // (8 * (grown.features + grown.outputs))
        most = max(BLOCK, min(_BUFFERED, wide // BLOCK * BLOCK))
        self.rows = np.zeros((most, grown.features))
        self.out = np.zeros((most, grown.outputs))
        self._scratch = np.zeros(forest.scratch + _ALIGNED, dtype=np.uint8)
        self.rows_at, self.out_at = self.rows.ctypes.data, self.out.ctypes.data
        self.scratch_at = -(-self._scratch.ctypes.data // _ALIGNED) * _ALIGNED
