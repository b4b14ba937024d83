from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from everloop import __version__
from everloop.core.digest import digest_bytes
from everloop.core.project import Project
from everloop.experiment.lineage import collect_lineage, installed_packages, settings_record

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(root: Path, *arguments: str) -> str:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    return subprocess.run(
        ["git", "-C", str(root), *who, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """A project under git with one committed file."""
    project = make_project()
    git(project.root, "init", "-q")
    (project.root / "model.py").write_text("ONE = 1\n")
    git(project.root, "add", "-A")
    git(project.root, "commit", "-qm", "First")
    return project


def test_a_clean_project(project: Project) -> None:
    lineage = collect_lineage(project)
    assert lineage.git_commit == git(project.root, "rev-parse", "HEAD")
    assert (lineage.git_dirty, lineage.git_diff, lineage.untracked, lineage.note) == (False, "", (), "")
    assert lineage.everloop == __version__
    assert lineage.lock_digest == digest_bytes(lineage.lock.encode())
    assert lineage.seed == 7


def test_changes_and_untracked_code_come_back_by_the_patch(project: Project, tmp_path: Path) -> None:
    (project.root / "model.py").write_text("ONE = 2\n")
    (project.root / "features été.py").write_text("TWO = 2\n")
    (project.root / "sales.parquet").write_bytes(b"data, not code")
    home = project.home / "releases"
    home.mkdir(parents=True)
    (home / "card.md").write_text("ours, not the user's")
    index = (project.root / ".git" / "index").read_bytes()

    lineage = collect_lineage(project)

    assert lineage.git_dirty
    assert lineage.untracked == ("features été.py",)
    assert (project.root / ".git" / "index").read_bytes() == index
    again = tmp_path / "again"
    git(tmp_path, "clone", "-q", str(project.root), str(again))
    (tmp_path / "diff.patch").write_text(lineage.git_diff)
    git(again, "apply", str(tmp_path / "diff.patch"))
    assert (again / "model.py").read_text() == "ONE = 2\n"
    assert (again / "features été.py").read_text() == "TWO = 2\n"
    assert not (again / "sales.parquet").exists()


def test_a_change_right_after_the_commit_is_seen(project: Project) -> None:
    """A file of the same size and time as when it was committed is looked into, as git itself does."""
    model, index = project.root / "model.py", project.root / ".git" / "index"
    git(project.root, "config", "core.trustctime", "false")  # which cannot be set; the clock stands still here
    before = (time.time_ns() - 10**10,) * 2
    os.utime(model, ns=before)
    git(project.root, "update-index", "--refresh")
    model.write_text("ONE = 2\n")
    (project.root / "other.py").write_text("TWO = 2\n")
    for path in (model, index):
        os.utime(path, ns=before)
    assert "+ONE = 2" in collect_lineage(project).git_diff


def test_without_git_it_says_so(make_project: Callable[..., Project]) -> None:
    lineage = collect_lineage(make_project())
    assert (lineage.git_commit, lineage.git_dirty) == ("", False)
    assert "not a git repository" in lineage.note


def test_a_repository_without_a_commit_says_so(make_project: Callable[..., Project]) -> None:
    project = make_project()
    git(project.root, "init", "-q")
    lineage = collect_lineage(project)
    assert lineage.git_commit == ""
    assert lineage.note.startswith("no git commit")


def test_without_a_git_program_it_says_so(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert collect_lineage(make_project()).note == "git is not installed; the code's version is unknown"


def test_packages_are_sorted_and_unique() -> None:
    packages = installed_packages()
    names = [package.split("==")[0] for package in packages]
    assert names == sorted(set(names))
    assert f"everloop=={__version__}" in packages


def test_packages_that_another_carries_within_itself_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = installed_packages()
    count = installed_packages.__wrapped__
    for folder in ("site-packages", "site-packages/ray/carried"):
        info = tmp_path / folder / f"of-{folder.count('/')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {info.stem[:4]}\nVersion: 1.0\n")
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    assert set(count()) - set(before) == {"of-0==1.0"}


def test_the_settings_digest_follows_the_settings_and_hides_passwords(make_project: Callable[..., Project]) -> None:
    url = "postgresql+psycopg://ann:secret@db/sales"
    project = make_project(f"store.url={url}", f"data.source={url}", "data.query=SELECT 1")
    record = settings_record(project)
    assert record["store"]["url"] == "postgresql+psycopg://ann:***@db/sales"
    assert "secret" not in str(record)
    one, two = collect_lineage(make_project()), collect_lineage(make_project("forecast.horizon=7"))
    assert one.settings_digest == collect_lineage(make_project()).settings_digest != two.settings_digest
