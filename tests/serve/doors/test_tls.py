from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from certificates import Authority, Pair
from everloop.core.errors import SettingsError
from everloop.core.settings.whole import Settings
from everloop.serve.doors.tls import Certificate, open_certificate

Access = Callable[..., Settings]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def pair(authority: Authority, tmp_path: Path) -> Pair:
    made = authority.issue()
    made.write(tmp_path / "server.pem", tmp_path / "server.key")
    return made


@pytest.fixture
def certificate(pair: Pair, access: Access, tmp_path: Path) -> Certificate:
    made = open_certificate(access(tls_certificate="server.pem", tls_key="server.key"), tmp_path)
    assert made is not None
    return made


def trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def greet(
    certificate: Certificate, *clients: ssl.SSLContext, between: Callable[[], object] = int
) -> list[object]:
    """What each client sees of a server that says hello: its certificate's number, or the failure's name."""

    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"hello\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(hello, "127.0.0.1", 0, ssl=certificate.context)
    host, port = server.sockets[0].getsockname()
    seen: list[object] = []
    async with server:
        for client in clients:
            try:
                reader, writer = await asyncio.open_connection(host, port, ssl=client)
                writer.write(b"hi\n")
                if await reader.readline() == b"hello\n":
                    link = writer.get_extra_info("ssl_object")
                    assert link.version() in ("TLSv1.2", "TLSv1.3")
                    assert link.selected_alpn_protocol() in ("http/1.1", None)
                    seen.append(int(link.getpeercert()["serialNumber"], 16))
                else:
                    seen.append("closed")
                writer.close()
            except (ssl.SSLError, ConnectionError) as error:
                seen.append(type(error).__name__)
            between()
    return seen


def test_a_client_that_trusts_the_authority_is_served(
    certificate: Certificate, authority: Authority, pair: Pair
) -> None:
    assert asyncio.run(greet(certificate, trusting(authority))) == [pair.number]
    assert asyncio.run(greet(certificate, trusting(Authority()))) == ["SSLCertVerificationError"]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_are_refused(certificate: Certificate, authority: Authority, pair: Pair) -> None:
    old, new = trusting(authority), trusting(authority)
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    new.minimum_version = new.maximum_version = ssl.TLSVersion.TLSv1_2
    seen = asyncio.run(greet(certificate, old, new))
    assert seen[0] != pair.number
    assert seen[1] == pair.number


def test_a_renewed_certificate_is_presented_without_a_restart(
    certificate: Certificate, authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    assert certificate.renew() is False
    renewed = authority.issue()

    def renew() -> None:
        renewed.write(tmp_path / "new.pem", tmp_path / "new.key")
        (tmp_path / "new.pem").replace(tmp_path / "server.pem")
        assert certificate.renew() is False  # half of the pair is old: it does not fit
        (tmp_path / "new.key").replace(tmp_path / "server.key")
        assert certificate.renew() is True
        assert certificate.renew() is False

    client = trusting(authority)
    steps = iter([renew, int])
    seen = asyncio.run(greet(certificate, client, client, between=lambda: next(steps)()))
    assert seen == [pair.number, renewed.number]


@pytest.mark.parametrize("text", ["", "no PEM"])
def test_a_broken_renewal_leaves_the_old_certificate(
    certificate: Certificate,
    authority: Authority,
    pair: Pair,
    tmp_path: Path,
    text: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "server.pem").write_text(text)
    assert certificate.renew() is False
    assert "the old one stays" in caplog.text
    (tmp_path / "server.key").unlink()
    assert certificate.renew() is False
    assert asyncio.run(greet(certificate, trusting(authority))) == [pair.number]
    renewed = authority.issue()
    renewed.write(tmp_path / "server.pem", tmp_path / "server.key")
    assert certificate.renew() is True
    assert asyncio.run(greet(certificate, trusting(authority))) == [renewed.number]


def test_certificate_and_key_may_be_in_one_file(
    pair: Pair, authority: Authority, access: Access, tmp_path: Path
) -> None:
    (tmp_path / "both.pem").write_bytes(pair.certificate + pair.key)
    found = open_certificate(access(tls_certificate="both.pem"), tmp_path)
    assert found is not None
    assert asyncio.run(greet(found, trusting(authority))) == [pair.number]


def test_clients_may_have_to_show_a_certificate(
    pair: Pair, authority: Authority, access: Access, tmp_path: Path
) -> None:
    clients = Authority()
    (tmp_path / "clients.pem").write_bytes(clients.certificate)
    names = {"tls_certificate": "server.pem", "tls_key": "server.key", "tls_client_ca": "clients.pem"}
    found = open_certificate(access(**names), tmp_path)
    assert found is not None
    nobody, stranger, known = trusting(authority), trusting(authority), trusting(authority)
    for context, issuer in ((stranger, authority), (known, clients)):
        issuer.issue("client").write(tmp_path / "client.pem", tmp_path / "client.key")
        context.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
    seen = asyncio.run(greet(found, nobody, stranger, known))
    assert seen[2] == pair.number
    assert pair.number not in seen[:2]


def test_without_a_certificate_there_is_no_tls(access: Access, tmp_path: Path) -> None:
    assert open_certificate(access(), tmp_path) is None
    for name in ("tls_key", "tls_client_ca"):
        assert _refusal(access(**{name: "x.pem"}), tmp_path) == ("tls_settings", f"access.{name}")


def test_files_that_cannot_be_used_are_named(pair: Pair, access: Access, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    (tmp_path / "locked.key").write_bytes(pair.locked_key)
    (tmp_path / "other.key").write_bytes(Authority().key)
    good = {"tls_certificate": "server.pem", "tls_key": "server.key"}
    cases = {
        ("tls_certificate", "gone.pem"): "tls_file",
        ("tls_key", "gone.key"): "tls_file",
        ("tls_client_ca", "gone.pem"): "tls_file",
        ("tls_certificate", "."): "tls_file",
        ("tls_certificate", "empty.pem"): "tls_file",
        ("tls_key", "server.pem"): "tls_file",
        ("tls_client_ca", "server.key"): "tls_file",
        ("tls_client_ca", "empty.pem"): "tls_file",
        ("tls_key", "locked.key"): "tls_key_encrypted",
        ("tls_key", "other.key"): "tls_mismatch",
    }
    for (name, file), code in cases.items():
        found, path = _refusal(access(**(good | {name: file})), tmp_path)
        assert found == code, (name, file)
        assert path in (f"access.{name}", "access.tls_certificate"), (name, file)


def _refusal(settings: Settings, root: Path) -> tuple[str, str]:
    with pytest.raises(SettingsError) as caught:
        open_certificate(settings, root)
    return caught.value.code, caught.value.path
