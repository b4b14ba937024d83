"""Lineage: the code, environment and settings that a run was made with."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import everloop
from everloop.core.digest import digest_bytes, digest_json
from everloop.core.project import Project

__all__ = ["Lineage", "collect_lineage", "installed_packages", "settings_record"]

_CODE = (".py", ".toml", ".sql", ".cfg", ".ini", ".yaml", ".yml", ".json", ".txt", ".md")
_MOST_PATCH_BYTES = 20_000_000
_MOST_UNTRACKED_BYTES = 1_000_000
_GIT_TIMEOUT_SECONDS = 30
_PASSWORD = re.compile(r"(?<=://)([^/@:]*):([^/@]*)@")


@dataclass(frozen=True, slots=True)
class Lineage:
    """Enough to find the same code and environment again.

    Attributes:
        git_commit: the commit of the project's folder; empty where it is not under git.
        git_dirty: whether the code differed from that commit, by changed files or by untracked code.
        git_diff: a patch from the commit to the code as it was, untracked code included (``git apply`` takes it).
        untracked: the code files that git does not know, relative to the project's root.
        packages: ``name==version`` of the running environment, sorted.
        lock_digest: the digest of :attr:`lock`.
        settings_digest: the digest of :func:`settings_record`.
        python: the interpreter's version.
        platform: the operating system and machine.
        everloop: this package's version.
        seed: the project's seed.
        note: what could not be found out, such as that there is no git.
    """

    git_commit: str
    git_dirty: bool
    git_diff: str
    untracked: tuple[str, ...]
    packages: tuple[str, ...]
    lock_digest: str
    settings_digest: str
    python: str
    platform: str
    everloop: str
    seed: int
    note: str = ""

    @property
    def lock(self) -> str:
        """The environment as the text of a requirements file."""
        return lock_text(self.packages)


@dataclass(frozen=True, slots=True)
class _Git:
    commit: str = ""
    is_dirty: bool = False
    diff: str = ""
    untracked: tuple[str, ...] = ()
    note: str = ""


def collect_lineage(project: Project) -> Lineage:
    """What the running code, environment and settings of a project are at this moment."""
    git = _read_git(project.root)
    packages = installed_packages()
    return Lineage(
        git_commit=git.commit,
        git_dirty=git.is_dirty,
        git_diff=git.diff,
        untracked=git.untracked,
        packages=packages,
        lock_digest=digest_bytes(lock_text(packages).encode()),
        settings_digest=digest_json(settings_record(project)),
        python=platform.python_version(),
        platform=f"{platform.system()}-{platform.machine()}".lower(),
        everloop=everloop.__version__,
        seed=project.settings.project.seed,
        note=git.note,
    )


def lock_text(packages: tuple[str, ...]) -> str:
    """Packages as the lines of a requirements file."""
    return "".join(f"{package}\n" for package in packages)


@cache
def installed_packages() -> tuple[str, ...]:
    """``name==version`` of every distribution of the running environment, by normalised name, sorted.

    What a package carries within itself and puts on the path when it is imported (Ray does) is not counted: the
    packages of an environment are the same whatever the process has imported.
    """
    found = {}
    for distribution in metadata.distributions(path=[each for each in sys.path if not _is_within_a_package(each)]):
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        if name and name not in found:  # the first on the path is the one that imports take
            found[name] = distribution.version
    return tuple(f"{name}=={version}" for name, version in sorted(found.items()))


def _is_within_a_package(folder: str) -> bool:
    return any(each.name in {"site-packages", "dist-packages"} for each in Path(folder).parents)


def settings_record(project: Project) -> dict[str, Any]:
    """The project's settings as JSON values, with passwords in URLs hidden."""
    tree = project.settings.model_dump()
    return {name: _hide(value) for name, value in tree.items()}


def _hide(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _hide(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_hide(each) for each in value]
    return _PASSWORD.sub(r"\1:***@", value) if isinstance(value, str) else value


def _read_git(root: Path) -> _Git:
    if shutil.which("git") is None:
        return _Git(note="git is not installed; the code's version is unknown")
    try:
        commit = _git(root, "rev-parse", "HEAD").strip()
        listed = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", ".", ":(exclude).everloop")
        untracked = tuple(sorted(name for name in listed.split("\0") if _is_code(root / name)))
        diff = _patch(root, untracked)
    except (subprocess.SubprocessError, OSError) as error:
        reason = getattr(error, "stderr", "") or str(error)
        return _Git(note=f"no git commit: {reason.strip().splitlines()[0] if reason.strip() else 'git failed'}")
    if len(diff) > _MOST_PATCH_BYTES:
        note = f"the changes since the commit are {len(diff) // 1_000_000} MB; they are not kept"
        return _Git(commit, True, "", untracked, note)
    return _Git(commit, bool(diff), diff, untracked)


def _is_code(path: Path) -> bool:
    return path.suffix in _CODE and path.is_file() and path.stat().st_size <= _MOST_UNTRACKED_BYTES


def _patch(root: Path, untracked: tuple[str, ...]) -> str:
    """The changes since the commit, untracked code among them, without touching the user's index."""
    if not untracked:
        return _git(root, "diff", "--binary", "--no-ext-diff", "HEAD", "--", ".")
    index = Path(_git(root, "rev-parse", "--absolute-git-dir").strip()) / "index"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "index"
        if index.is_file():
            shutil.copy2(index, copy)  # with its time, by which git tells which files it must look into
        environ = {"GIT_INDEX_FILE": str(copy)}
        _git(root, "add", "--intent-to-add", "--", *untracked, environ=environ)
        return _git(root, "diff", "--binary", "--no-ext-diff", "HEAD", "--", ".", environ=environ)


def _git(root: Path, *arguments: str, environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), "-c", "core.quotepath=false", *arguments],
        check=True,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=_GIT_TIMEOUT_SECONDS,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", **(environ or {})},
    )
    return done.stdout
