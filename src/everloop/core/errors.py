"""The one tree of errors that Everloop raises on purpose.

    EverloopError
    +-- UsageError          the caller asked for something that cannot be (exit status 2)
    |   +-- SettingsError   everloop.toml, the environment or a flag holds an unknown or wrong key
    |   +-- RequestError    an HTTP or Python request does not fit the model's signature
    +-- NotFoundError       a release, prediction, run, table or file that is not there (3)
    +-- DataError           the data breaks the contract, or cannot be read (4)
    +-- ModelError          a model cannot be fitted, loaded or asked (5)
    +-- GateError           a candidate did not pass its gates (6)
    +-- ConflictError       somebody else holds the lease, or changed the same thing (7)
    +-- UnavailableError    the store, a server or a library is away or overloaded (8)
    +-- IntegrityError      content does not match its digest (9)

Each error has a stable code, a sentence, a hint that says what to do next, and, where it helps, the path of
the offending key, field or file, and after how many seconds another try can succeed. The domain knows no HTTP
status: ``serve`` maps the classes to answers.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar

__all__ = [
    "ConflictError",
    "DataError",
    "EverloopError",
    "GateError",
    "IntegrityError",
    "ModelError",
    "NotFoundError",
    "RequestError",
    "SettingsError",
    "UnavailableError",
    "UsageError",
    "nearest",
]


class EverloopError(Exception):
    """A failure with a stable code, a sentence for a person, and a hint.

    >>> error = NotFoundError("release_unknown", "there is no release 'abc'", hint="see: everloop release --list")
    >>> error.to_dict()["error"]["code"]
    'release_unknown'
    """

    exit_status: ClassVar[int] = 1

    def __init__(
        self, code: str, message: str, *, hint: str = "", path: str = "", retry_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.path = path
        self.retry_seconds = retry_seconds

    def to_dict(self) -> dict[str, Any]:
        """The one error shape of the command line and of HTTP."""
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint, "path": self.path}}

    def __str__(self) -> str:
        return self.message


class UsageError(EverloopError):
    """The caller asked for something that cannot be."""

    exit_status = 2


class SettingsError(UsageError):
    """``everloop.toml``, the environment or a flag holds an unknown key or a wrong value."""


class RequestError(UsageError):
    """A request does not fit what the model takes."""


class NotFoundError(EverloopError):
    """What was named is not there."""

    exit_status = 3


class DataError(EverloopError):
    """Data break the contract, or cannot be read."""

    exit_status = 4


class ModelError(EverloopError):
    """A model cannot be fitted, loaded or asked."""

    exit_status = 5


class GateError(EverloopError):
    """A candidate did not pass its gates."""

    exit_status = 6


class ConflictError(EverloopError):
    """Somebody else holds the lease, or changed the same thing at the same time."""

    exit_status = 7


class UnavailableError(EverloopError):
    """The store, a server or an optional library is away, or overloaded."""

    exit_status = 8


class IntegrityError(EverloopError):
    """Content does not match the digest that names it."""

    exit_status = 9


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint "did you mean ...?" for a name that is not known, or what is known where nothing is near.

    >>> nearest("horizn", ["horizon", "levels"])
    "did you mean 'horizon'?"
    >>> nearest("zzz", ["horizon", "levels"])
    "known: 'horizon', 'levels'"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    shown = ", ".join(repr(each) for each in names[:12])
    return f"known: {shown}" + (" ..." if len(names) > 12 else "")
