"""Secure by default: what a server may be open to, decided before it listens."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from everloop.core.errors import SettingsError
from everloop.core.settings.whole import Settings
from everloop.store.records import SCOPES

__all__ = ["Exposure", "check_exposure", "is_loopback"]

_CALLERS = frozenset[str]({"predict", "outcomes", "read"})
_EVERYTHING = frozenset[str](SCOPES)
_NOTHING = frozenset[str]()
_MAKE_KEY = "everloop keys make --name NAME --scope predict"
_ALLOW = "everloop serve --set access.allow_anonymous=true"


@dataclass(frozen=True, slots=True)
class Exposure:
    """Who may ask a server that listens on an address.

    Attributes:
        anonymous: what a caller without a key may do; empty where a key is required.
        warnings: what a person should know of it, sentences.
        host: the address that the server listens on.
    """

    anonymous: frozenset[str]
    warnings: tuple[str, ...] = ()
    host: str = "127.0.0.1"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server on ``host``; a name that is not ``localhost`` counts as reachable.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "", "shop.internal")]
    [True, True, True, False, False, False, False]
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def check_exposure(settings: Settings, host: str, has_keys: bool) -> Exposure:
    """What a server on ``host`` lets callers do, or a refusal to start it.

    On loopback a key is needed where ``access.keys`` is ``"required"``. Elsewhere one is needed unless
    ``access.allow_anonymous`` is set; and then a caller without one may still not administer the server.

    Args:
        settings: the settings.
        host: the address it will listen on, ``serve.host`` or a flag instead.
        has_keys: whether the store holds a key that is not revoked.

    Raises:
        SettingsError: it would be open to everybody, or to nobody, without having been told so.
    """
    access = settings.access
    if access.keys == "required" and access.allow_anonymous:
        raise SettingsError(
            "access_keys",
            'access.keys = "required" and access.allow_anonymous = true exclude each other',
            hint="keep one of them",
            path="access.allow_anonymous",
        )
    if is_loopback(host):
        anonymous = _NOTHING if access.keys == "required" else _EVERYTHING
    elif access.allow_anonymous:
        anonymous = _CALLERS
    else:
        anonymous = _NOTHING
        _check_open(host, access.keys == "off", has_keys)
    return Exposure(anonymous, tuple(_warnings(settings, host, anonymous, has_keys)), host)


def _check_open(host: str, is_off: bool, has_keys: bool) -> None:
    if is_off:
        raise SettingsError(
            "access_open",
            f"{host or 'every address'} can be reached by others, and access.keys is off",
            hint=f"drop access.keys and make a key: {_MAKE_KEY}; or let everybody in: {_ALLOW}",
            path="access.keys",
        )
    if not has_keys:
        raise SettingsError(
            "access_open",
            f"{host or 'every address'} can be reached by others, and there is no API key yet",
            hint=f"make one: {_MAKE_KEY}; or let everybody in: {_ALLOW}",
            path="access.allow_anonymous",
        )


def _warnings(settings: Settings, host: str, anonymous: frozenset[str], has_keys: bool) -> list[str]:
    found = []
    if not anonymous and not has_keys:
        found.append(f"a key is required and there is none yet, so nobody gets in; make one: {_MAKE_KEY}")
    if is_loopback(host):
        return found
    if anonymous:
        found.append(f"anybody who reaches {host or 'this machine'} may predict, read and tell outcomes without a key")
    if has_keys and not settings.access.tls_certificate:
        found.append(
            f"API keys travel to {host or 'this machine'} in clear text: set access.tls_certificate, "
            "or end TLS at a proxy on this machine and listen on loopback"
        )
    return found
