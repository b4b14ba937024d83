"""TLS: a context from the settings, and a renewed certificate without a restart."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from everloop.core.errors import SettingsError
from everloop.core.settings.whole import Settings

__all__ = ["Certificate", "open_certificate"]

_log = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int], ...]


class Certificate:
    """The server's certificate, and the context that presents it.

    Args:
        chain: the file of the certificate and its chain, PEM.
        key: the file of its private key, PEM; may be the same.
        client_ca: the file of the authorities that must have signed a client's certificate; ``None`` asks for none.

    Raises:
        SettingsError: a file is missing or no PEM, the key is encrypted, or does not belong to the certificate.
    """

    def __init__(self, chain: Path, key: Path, client_ca: Path | None = None) -> None:
        self._chain = chain
        self._key = key
        self._stamp = self._look()
        self.context = _context(client_ca)
        _load(self.context, chain, key)

    def renew(self) -> bool:
        """Present the certificate that is in the files now, where they have changed; tells whether it did.

        Connections that are open keep the old one. A pair that cannot be used (it may be half-written) leaves the old
        one in place and is looked at again when its files change again. Nothing is raised. The authorities of clients
        are read at the start only.
        """
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return False
            # tried on a context that nobody uses first: a failed load may leave a context with half a pair
            _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self._chain, self._key)
            _load(self.context, self._chain, self._key)
        except SettingsError as error:
            _log.warning("the renewed certificate is not used, the old one stays: %s", error)
            return False
        self._stamp = stamp
        _log.info("the certificate %s was renewed", self._chain)
        return True

    def pem(self) -> tuple[bytes, bytes]:
        """The private key and the chain as they are on disk, for a server that takes no context."""
        return self._key.read_bytes(), self._chain.read_bytes()

    def _look(self) -> _Stamp:
        return tuple(_stamp_of(path, where) for path, where in _places(self._chain, self._key))


def open_certificate(settings: Settings, root: Path) -> Certificate | None:
    """The certificate that the settings name, ``None`` where they name none.

    Args:
        settings: the settings.
        root: the project's folder, which relative paths start from.

    Raises:
        SettingsError: see :class:`Certificate`; or a key or authorities are set without a certificate.
    """
    access = settings.access
    if not access.tls_certificate:
        for name in ("tls_key", "tls_client_ca"):
            if getattr(access, name):
                raise SettingsError(
                    "tls_settings",
                    f"access.{name} is set, but access.tls_certificate is not",
                    hint="set access.tls_certificate too: without it the server speaks plain HTTP",
                    path=f"access.{name}",
                )
        return None
    chain = root / access.tls_certificate
    client_ca = root / access.tls_client_ca if access.tls_client_ca else None
    return Certificate(chain, root / access.tls_key if access.tls_key else chain, client_ca)


def _context(client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    if client_ca is not None:
        _stamp_of(client_ca, "access.tls_client_ca")
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(client_ca)
        except (ssl.SSLError, OSError) as error:
            raise SettingsError(
                "tls_file",
                f"{client_ca} holds no certificates of authorities: {_reason(error)}",
                hint="it must be PEM: one or more BEGIN CERTIFICATE blocks",
                path="access.tls_client_ca",
            ) from error
    return context


def _load(context: ssl.SSLContext, chain: Path, key: Path) -> None:
    def no_password() -> str:
        # without this OpenSSL would ask at the terminal, and the server would wait there for ever
        raise SettingsError(
            "tls_key_encrypted",
            f"the private key {key} is encrypted",
            hint="store it unencrypted, readable by the server's user only",
            path="access.tls_key",
        )

    try:
        context.load_cert_chain(chain, key, password=no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SettingsError(
                "tls_mismatch",
                f"the private key {key} does not belong to the certificate {chain}",
                hint="the server's own certificate must be the first in its file; were both files renewed?",
                path="access.tls_key",
            ) from error
        raise SettingsError(
            "tls_file",
            f"{chain} and {key} hold no certificate with its key: {_reason(error)}",
            hint="both must be PEM: BEGIN CERTIFICATE blocks, the server's own first, and one BEGIN PRIVATE KEY",
            path="access.tls_certificate",
        ) from error
    except OSError as error:  # gone or closed to us since it was looked at
        raise _unreadable(chain, "access.tls_certificate", error) from error


def _places(chain: Path, key: Path) -> tuple[tuple[Path, str], ...]:
    return ((chain, "access.tls_certificate"), (key, "access.tls_key"))


def _stamp_of(path: Path, where: str) -> tuple[int, int, int]:
    """What changes when a file is written or replaced; a link's target counts, as certificate tools swap links."""
    try:
        with path.open("rb"):
            seen = path.stat()
    except OSError as error:
        raise _unreadable(path, where, error) from error
    return (seen.st_ino, seen.st_mtime_ns, seen.st_size)


def _unreadable(path: Path, where: str, error: OSError) -> SettingsError:
    return SettingsError(
        "tls_file",
        f"{path} cannot be read: {error.strerror or error}",
        hint="is the path right (it starts at the project's folder), and may the server's user read it?",
        path=where,
    )


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", "") or error.strerror or error).lower().replace("_", " ")
