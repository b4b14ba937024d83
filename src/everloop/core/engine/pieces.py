"""Pieces: pure functions of small arguments, which any process that sees the project's folder can compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from everloop.core.digest import digest_json
from everloop.core.errors import EverloopError

__all__ = ["Outcome", "Piece", "perform"]


@dataclass(frozen=True)
class Piece:
    """A part of a computation that depends on no other part.

    Attributes:
        function: of a module, so that it can be found by name; called with ``arguments`` and by name with
            ``threads``, how many cores it may use. Its result must be picklable and must not depend on ``threads``.
        arguments: small and picklable; data are read by the function itself.
        identity: JSON values that say all that the result follows from: data, options, seed and code.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    identity: Any = field(repr=False)

    @cached_property
    def key(self) -> str:
        """The digest of what the result follows from."""
        return digest_json([self.function.__module__, self.function.__qualname__, self.identity])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a piece: its result, or an error of Everloop as its class and its parts.

    An error is taken apart since its constructor has more parameters than exceptions are pickled with.
    """

    value: Any = None
    error: tuple[type[EverloopError], str, str, str, str] | None = None

    def take(self) -> Any:
        """The result.

        Raises:
            EverloopError: the piece failed so.
        """
        if self.error is None:
            return self.value
        kind, code, message, hint, path = self.error
        raise kind(code, message, hint=hint, path=path)


def perform(function: Callable[..., Any], arguments: tuple[Any, ...], threads: int) -> Outcome:
    """Compute a piece; what fails by an error of Everloop is an outcome too, others are raised."""
    try:
        return Outcome(function(*arguments, threads=threads))
    except EverloopError as error:
        return Outcome(error=(type(error), error.code, error.message, error.hint, error.path))
