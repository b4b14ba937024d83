"""Admission: what is known of a request before its work begins, and what is noted when it ends."""

from __future__ import annotations

from collections.abc import Sequence

from everloop.serve.traffic import RELEASE_HEADER, UNIT_HEADER
from everloop.store.keys import Scope

__all__ = ["Admission", "Visit"]

_UNIT = UNIT_HEADER.lower().encode()
_RELEASE = RELEASE_HEADER.lower().encode()

Headers = Sequence[tuple[bytes, bytes]]


class Visit:
    """A request that was let in.

    Attributes:
        headers: by name in lower case; the last one where a name came twice.
    """

    __slots__ = ("headers",)

    def __init__(self, headers: Headers) -> None:
        self.headers = dict(headers)

    @property
    def unit(self) -> str | None:
        """What a split is to be drawn by, where the caller says so."""
        value = self.headers.get(_UNIT)
        return None if value is None else value.decode("latin-1")

    @property
    def named(self) -> str | None:
        """The release that the caller insists on."""
        value = self.headers.get(_RELEASE)
        return None if value is None else value.decode("latin-1")

    @property
    def request_id(self) -> str:
        """An id of the request's own, empty where it has none."""
        return ""

    @property
    def answer_headers(self) -> bytes:
        """Header lines for the answer."""
        return b""

    @property
    def answer_pairs(self) -> list[tuple[str, str]]:
        """The same by name and value."""
        lines = self.answer_headers.decode("latin-1").split("\r\n")
        return [(name, value) for name, _, value in (line.partition(": ") for line in lines if line)]


class Admission:
    """Lets requests in, and notes how they end."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End."""

    def is_public(self, path: bytes) -> bool:
        """Whether anybody may see a path."""
        return True

    def check_body(self, body: bytes | bytearray) -> None:
        """Refuse a body that is nested too deeply."""

    def admit(self, headers: Headers, scope: Scope | None, address: str) -> Visit:
        """Let a request in."""
        return Visit(headers)

    def leave(
        self,
        visit: Visit,
        status: int,
        seconds: float,
        *,
        route: str,
        method: str,
        prediction: str = "",
        release: str = "",
        error: str = "",
    ) -> None:
        """Note how a request ended."""
