"""The files by which MLflow makes a model's environment again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["write_environment"]


def write_environment(folder: Path, name: str, python: str, pins: Sequence[str]) -> None:
    """Write ``requirements.txt``, ``conda.yaml`` and ``python_env.yaml`` into a model's folder.

    Args:
        folder: the model's folder.
        name: the environment's name.
        python: the interpreter's version.
        pins: the requirements, such as ``everloop==0.1.0``.
    """
    (folder / "requirements.txt").write_text("".join(f"{pin}\n" for pin in pins), encoding="utf-8")
    (folder / "python_env.yaml").write_text(
        f"python: {python}\nbuild_dependencies:\n- pip\ndependencies:\n- -r requirements.txt\n", encoding="utf-8"
    )
    inner = "".join(f"  - {pin}\n" for pin in pins)
    (folder / "conda.yaml").write_text(
        f"name: {name}\nchannels:\n- conda-forge\ndependencies:\n- python={python}\n- pip\n- pip:\n{inner}",
        encoding="utf-8",
    )
