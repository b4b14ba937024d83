"""A release is signed over its manifest; who trusts keys loads nothing else."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from adopting import adopt, project_at, saved
from everloop.core.errors import IntegrityError, NotFoundError, UsageError
from everloop.core.project import Project
from everloop.release.bundle import open_release
from everloop.release.manifest import MANIFEST_FILE
from everloop.release.signing import SIGNATURE_FILE, make_key, sign_release
from everloop.store.engine import Store, open_store


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return project_at(tmp_path / "shop")


@pytest.fixture
def store(project: Project) -> Iterator[Store]:
    opened = open_store(project.store_url, fsync=False)
    yield opened
    opened.close()


@pytest.fixture
def bundle(project: Project, store: Store, tmp_path: Path) -> Path:
    return adopt(project, store, saved(tmp_path / "m")).folder


def test_a_signed_bundle_is_opened_and_keeps_its_digest(bundle: Path, tmp_path: Path) -> None:
    public = make_key(tmp_path / "key")
    with pytest.raises(IntegrityError, match="not signed") as caught:
        open_release(bundle, digest=bundle.name, trusted_keys=[public])
    assert caught.value.code == "bundle_signature"
    first = sign_release(bundle, tmp_path / "key")
    content = (bundle / SIGNATURE_FILE).read_bytes()
    assert sign_release(bundle, tmp_path / "key") == first
    assert (bundle / SIGNATURE_FILE).read_bytes() == content
    assert open_release(bundle, digest=bundle.name, trusted_keys=[public]).digest == bundle.name
    assert open_release(bundle, digest=bundle.name).digest == bundle.name


def test_another_key_does_not_do_and_several_may_sign(bundle: Path, tmp_path: Path) -> None:
    ours, theirs = make_key(tmp_path / "ours"), make_key(tmp_path / "theirs")
    sign_release(bundle, tmp_path / "theirs")
    with pytest.raises(IntegrityError, match="no trusted key"):
        open_release(bundle, trusted_keys=[ours])
    sign_release(bundle, tmp_path / "ours")
    for keys in ([ours], [theirs], [ours, theirs]):
        open_release(bundle, trusted_keys=keys)


def test_a_signature_fits_one_manifest_alone(project: Project, store: Store, bundle: Path, tmp_path: Path) -> None:
    public = make_key(tmp_path / "key")
    sign_release(bundle, tmp_path / "key")
    other = adopt(project, store, saved(tmp_path / "n", seed=1)).folder
    (other / SIGNATURE_FILE).write_bytes((bundle / SIGNATURE_FILE).read_bytes())
    with pytest.raises(IntegrityError, match="no trusted key"):
        open_release(other, trusted_keys=[public])
    # a manifest changed together with the file that it names
    path = bundle / MANIFEST_FILE
    path.write_bytes(path.read_bytes().replace(b'"task":"regression"', b'"task":"regressiom"'))
    with pytest.raises(IntegrityError, match="no trusted key"):
        open_release(bundle, trusted_keys=[public])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"signatures":[{"key":"x","value":"***"}]}'])
def test_damaged_signatures_are_refused(bundle: Path, tmp_path: Path, content: bytes) -> None:
    public = make_key(tmp_path / "key")
    (bundle / SIGNATURE_FILE).write_bytes(content)
    with pytest.raises(IntegrityError):
        open_release(bundle, trusted_keys=[public])


def test_a_damaged_value_under_a_trusted_key_is_refused(bundle: Path, tmp_path: Path) -> None:
    public = make_key(tmp_path / "key")
    sign_release(bundle, tmp_path / "key")
    path = bundle / SIGNATURE_FILE
    tree = json.loads(path.read_text())
    for value in ("", "***", tree["signatures"][0]["value"][::-1]):
        tree["signatures"][0]["value"] = value
        path.write_text(json.dumps(tree))
        with pytest.raises(IntegrityError):
            open_release(bundle, trusted_keys=[public])


def test_keys_are_secret_and_never_overwritten(tmp_path: Path) -> None:
    public = make_key(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert b"PRIVATE" not in public.read_bytes()
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(UsageError):
        make_key(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before


def test_wrong_files_are_told_without_their_content(bundle: Path, tmp_path: Path) -> None:
    public = make_key(tmp_path / "key")
    (tmp_path / "secret").write_text("hunter2")
    for path in (tmp_path / "secret", public):
        with pytest.raises(UsageError) as caught:
            sign_release(bundle, path)
        assert "hunter2" not in str(caught.value.to_dict())
    with pytest.raises(UsageError):
        open_release(bundle, trusted_keys=[tmp_path / "key"])
    with pytest.raises(NotFoundError):
        open_release(bundle, trusted_keys=[tmp_path / "none.pub"])
    with pytest.raises(NotFoundError):
        sign_release(tmp_path, tmp_path / "key")


def test_what_is_adopted_is_signed_where_a_key_is_set(tmp_path: Path, store: Store) -> None:
    signing = project_at(tmp_path / "shop", "release.signing_key='key'")
    public = make_key(signing.root / "key")
    release = adopt(signing, store, saved(tmp_path / "m"))
    assert open_release(release.folder, trusted_keys=[public]) == release
