"""Environments of the peers that we are measured beside: each has its own, made once and kept in a cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["CACHE", "Environment", "make_environment"]

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "everloop-benchmarks"
_LONGEST_INSTALL_SECONDS = 900


@dataclass(frozen=True)
class Environment:
    """A Python with packages.

    Attributes:
        python: its interpreter; ``None`` where it could not be made.
        versions: what is installed, by package.
        reason: why it could not be made.
    """

    python: Path | None
    versions: dict[str, str] = field(default_factory=dict)
    reason: str = ""

    def command(self, name: str) -> str:
        """The path of a command that one of its packages brings."""
        if self.python is None:
            raise ValueError(f"there is no environment: {self.reason}")
        return str(self.python.parent / name)


def make_environment(name: str, requirements: Sequence[str]) -> Environment:
    """The environment that holds pinned packages, from the cache where it was made before.

    Args:
        name: for people: the beginning of its folder's name.
        requirements: what is installed; other requirements make another environment.
    """
    digest = hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:8]
    folder = CACHE / f"{name}-{digest}"
    python = folder / "bin" / "python"
    complete = folder / ".complete"
    if not complete.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            _install(folder, python, requirements)
        except subprocess.CalledProcessError as error:
            lines = (error.stderr or "").strip().splitlines()
            return Environment(None, reason=f"cannot be installed: {lines[-1] if lines else error}")
        except (OSError, subprocess.TimeoutExpired) as error:
            return Environment(None, reason=f"cannot be installed: {error}")
        complete.write_text(json.dumps(_versions(python)), encoding="utf-8")
    return Environment(python, json.loads(complete.read_text(encoding="utf-8")))


def _install(folder: Path, python: Path, requirements: Sequence[str]) -> None:
    uv = Path(sys.executable).parent / "uv"
    found = str(uv) if uv.is_file() else shutil.which("uv")
    if found:
        steps = [
            [found, "venv", "--quiet", "--python", sys.executable, str(folder)],
            [found, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *requirements],
        ]
    else:
        steps = [
            [sys.executable, "-m", "venv", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", *requirements],
        ]
    for step in steps:
        subprocess.run(step, check=True, capture_output=True, text=True, timeout=_LONGEST_INSTALL_SECONDS)


def _versions(python: Path) -> dict[str, str]:
    code = (
        "import json; from importlib.metadata import distributions; "
        "print(json.dumps({each.name.lower(): each.version for each in distributions()}))"
    )
    done = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True, timeout=60)
    versions: dict[str, str] = json.loads(done.stdout)
    return dict(sorted(versions.items()))
