"""The doorway: everything that a request passes before its route sees it."""

from __future__ import annotations

from everloop.core.errors import RequestError, UnavailableError
from everloop.core.settings.whole import Settings
from everloop.serve.doors.keyring import Caller, Keyring
from everloop.serve.doors.limits import Limiter, address_key, check_depth, check_rows
from everloop.serve.doors.rules import Exposure
from everloop.store.engine import Store
from everloop.store.records import Scope

__all__ = ["Doorway"]


class Doorway:
    """Keys, rates and bounds of one server process.

    Args:
        settings: the settings.
        store: where the keys are.
        exposure: who may ask, by :func:`everloop.serve.doors.rules.check_exposure`.
    """

    def __init__(self, settings: Settings, store: Store, *, exposure: Exposure) -> None:
        access = settings.access
        self.keyring = Keyring(store, settings.serve.poll_seconds, anonymous=exposure.anonymous)
        self._limiter = Limiter(access.rate, access.burst)
        self._rate = access.rate
        self._public = frozenset(path.encode() for path in access.public_paths)
        self._max_depth = access.max_depth
        self._max_rows = access.max_rows

    def start(self) -> None:
        """Read the keys, and follow them."""
        self.keyring.start()

    def stop(self) -> None:
        """Stop following."""
        self.keyring.stop()

    def is_public(self, path: bytes) -> bool:
        """Whether a path, without its query, needs no key."""
        return path in self._public

    def admit(self, headers: list[tuple[bytes, bytes]], scope: Scope, address: str = "") -> Caller:
        """Who asks, if they may, and not too often.

        Args:
            headers: names in lower case, and values.
            scope: what they want to do.
            address: where the request came from; those without a key are counted by it.

        Raises:
            RequestError: see :meth:`everloop.serve.doors.keyring.Keyring.admit`.
            UnavailableError: too many requests (``rate_limited``), or the keys cannot be checked
                (``keys_unavailable``).
        """
        authorization = api_key = None
        for name, value in headers:
            if name == b"authorization":
                authorization = value
            elif name == b"x-api-key":
                api_key = value
        try:
            caller = self.keyring.admit(authorization, api_key, scope)
        except RequestError:
            if self._rate:  # who tries keys is slowed down too
                self._count(address_key(address), None)
            raise
        if self._rate or caller.rate is not None:
            self._count(caller.id or address_key(address), caller.rate)
        return caller

    def check_body(self, body: bytes | bytearray) -> None:
        """Refuse a JSON body that is nested too deeply.

        Raises:
            RequestError: ``json_depth``.
        """
        check_depth(body, self._max_depth)

    def check_rows(self, count: int) -> None:
        """Refuse too many rows.

        Raises:
            RequestError: ``rows_many``.
        """
        check_rows(count, self._max_rows)

    def _count(self, name: str | bytes, rate: float | None) -> None:
        wait = self._limiter.take(name, rate=rate)
        if wait:
            raise UnavailableError(
                "rate_limited",
                f"too many requests; the next one may come in {wait:.3g} seconds",
                hint="ask more slowly, or several rows at once; see access.rate and everloop keys make --rate",
                retry_seconds=wait,
            )
