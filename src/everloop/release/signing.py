"""Signatures of releases: Ed25519 over the manifest, which holds the digest of every file.

``signature.json`` lies beside the manifest and is no part of the release's digest, so that a release can be signed
after it was made, and by several people. Private keys are PEM files without a password, as are the public ones.

See RFC 8032 for the algorithm.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from everloop.core.digest import digest_bytes
from everloop.core.errors import IntegrityError, NotFoundError, UsageError
from everloop.core.project import Project
from everloop.release.manifest import MANIFEST_FILE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["SIGNATURE_FILE", "key_id", "make_key", "sign_release", "signing_key", "trusted_keys", "verify_signature"]

SIGNATURE_FILE = "signature.json"
_PURPOSE = b"everloop release manifest\n"
"""Goes before the manifest, so that no signature made for another purpose fits."""


class _Signature(msgspec.Struct, frozen=True):
    key: str
    value: str


class _Signatures(msgspec.Struct, frozen=True):
    algorithm: str = "ed25519"
    signatures: tuple[_Signature, ...] = ()


def make_key(path: Path) -> Path:
    """Write a new private key, readable by its owner alone, and its public key beside it.

    Returns:
        The public key's file: the private one's name with ``.pub``.

    Raises:
        UsageError: a file of that name is there already.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(
            "key_exists", f"{path} is there already", hint="a key is never overwritten; name another file"
        ) from None
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    public = path.with_name(f"{path.name}.pub")
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return public


def sign_release(folder: Path, key: Path) -> str:
    """Add a signature to a bundle; signing twice with one key changes nothing.

    Args:
        folder: the bundle.
        key: the file of the private key.

    Returns:
        The id of the key.

    Raises:
        NotFoundError: the key's file, or the bundle, is not there.
        UsageError: the file holds no Ed25519 private key.
        IntegrityError: the bundle's present signatures cannot be read.
    """
    private = _private_key(key)
    try:
        content = (folder / MANIFEST_FILE).read_bytes()
    except FileNotFoundError:
        raise NotFoundError(
            "bundle_missing", f"there is no release bundle in {folder}", hint="list releases: everloop release --list"
        ) from None
    own = _Signature(key_id(private.public_key()), base64.b64encode(private.sign(_PURPOSE + content)).decode())
    others = tuple(each for each in _read(folder).signatures if each.key != own.key)
    path = folder / SIGNATURE_FILE
    # beside the bundle, since a file that does not belong into it would make a server refuse it
    making = folder.parent / f".signing-{os.getpid()}"
    making.write_bytes(msgspec.json.format(msgspec.json.encode(_Signatures(signatures=(*others, own)))) + b"\n")
    making.replace(path)
    return own.key


def verify_signature(folder: Path, content: bytes, keys: Sequence[Path]) -> str:
    """Check that a bundle is signed with one of some keys; nothing of it but its signatures is read.

    Args:
        folder: the bundle.
        content: the bytes of its manifest.
        keys: the files of the public keys.

    Returns:
        The id of the key that signed it.

    Raises:
        IntegrityError: no valid signature is by one of the keys.
        NotFoundError: a key's file is not there.
        UsageError: a file holds no Ed25519 public key.
    """
    from cryptography.exceptions import InvalidSignature  # a server without trusted keys does without it

    trusted = {key_id(public): public for public in map(_public_key, keys)}
    found = _read(folder).signatures
    for each in found:
        public = trusted.get(each.key)
        if public is None:
            continue
        try:
            public.verify(base64.b64decode(each.value, validate=True), _PURPOSE + content)
        except (InvalidSignature, ValueError):
            continue
        return each.key
    reason = "is not signed" if not found else "is signed by no trusted key, or was changed after it was signed"
    raise IntegrityError(
        "bundle_signature",
        f"the bundle in {folder.name[:12]} {reason}",
        hint="sign it: everloop release DIGEST --sign KEYFILE; trusted keys are named in release.trusted_keys",
        path=str(folder / SIGNATURE_FILE),
    )


def key_id(key: Ed25519PublicKey) -> str:
    """The name of a public key: the beginning of its bytes' digest."""
    return digest_bytes(key.public_bytes_raw())[:16]


def signing_key(project: Project) -> Path | None:
    """The file of the key that releases are signed with, as the settings name it."""
    name = project.settings.release.signing_key
    return project.root / name if name else None


def trusted_keys(project: Project) -> tuple[Path, ...]:
    """The files of the keys that the settings trust; empty where signatures are not asked for."""
    return tuple(project.root / name for name in project.settings.release.trusted_keys)


def _read(folder: Path) -> _Signatures:
    path = folder / SIGNATURE_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Signatures)
    except FileNotFoundError:
        return _Signatures()
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise IntegrityError(
            "bundle_signature", f"{SIGNATURE_FILE} cannot be read: {error}", hint="delete it and sign again"
        ) from error


def _private_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_content(path), None)
    except (ValueError, TypeError) as error:
        raise _no_key(path, "private") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "private")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_content(path))
    except (ValueError, TypeError) as error:
        raise _no_key(path, "public") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "public")
    return key


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError(
            "key_missing",
            f"cannot read the key {path}: {error.strerror}",
            hint="make one: everloop release --new-key FILE",
            path=str(path),
        ) from error


def _no_key(path: Path, kind: str) -> UsageError:
    # nothing of the file's content may be told
    return UsageError(
        "key_unreadable",
        f"{path} holds no Ed25519 {kind} key in PEM form without a password",
        hint="make one: everloop release --new-key FILE",
        path=str(path),
    )
