"""Certificates for tests: real ones, made anew, of authorities that nobody else trusts."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Authority", "Pair"]

PRIVATE = serialization.PrivateFormat.PKCS8
PEM = serialization.Encoding.PEM


class Pair:
    """A certificate and its private key, both PEM."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.number = certificate.serial_number
        self.certificate = certificate.public_bytes(PEM)
        self.key = key.private_bytes(PEM, PRIVATE, serialization.NoEncryption())
        self.locked_key = key.private_bytes(PEM, PRIVATE, serialization.BestAvailableEncryption(b"secret"))

    def write(self, certificate: Path, key: Path) -> None:
        certificate.write_bytes(self.certificate)
        key.write_bytes(self.key)


class Authority(Pair):
    """Signs certificates of servers on loopback, and of clients."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Everloop tests")])
        builder = self._builder(self._name, self._private)
        extension = x509.BasicConstraints(ca=True, path_length=0)
        super().__init__(
            builder.add_extension(extension, critical=True).sign(self._private, hashes.SHA256()), self._private
        )

    def issue(self, name: str = "server") -> Pair:
        """A certificate for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = self._builder(subject, key).add_extension(names, critical=False)
        return Pair(certificate.sign(self._private, hashes.SHA256()), key)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
        )
