"""A project: a folder with an ``everloop.toml``, its settings, and where Everloop keeps things for it.

Settings come from the file, then the environment (``EVERLOOP_SERVE__PORT=9000``), then flags
(``--set serve.port=9000``); the later one wins.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everloop.core.errors import NotFoundError, SettingsError
from everloop.core.settings.whole import Settings

__all__ = ["SETTINGS_FILE", "Project", "load_project", "parse_settings"]

SETTINGS_FILE = "everloop.toml"
_PREFIX = "EVERLOOP_"


@dataclass(frozen=True, slots=True)
class Project:
    """A project's root, its settings, and the paths of what Everloop keeps for it.

    ``home`` is ``.everloop`` below the root, or another folder where a replay keeps its own world.
    """

    root: Path
    settings: Settings
    home: Path

    @property
    def name(self) -> str:
        """The project's name."""
        return self.settings.project.name

    @property
    def table(self) -> Path:
        """The Delta table of observations."""
        return self.home / "data"

    @property
    def future_table(self) -> Path:
        """The Delta table of known-ahead values for times to come."""
        return self.home / "future"

    @property
    def quarantine(self) -> Path:
        """The folder of bad rows, a file for each ingestion."""
        return self.home / "quarantine"

    @property
    def releases(self) -> Path:
        """The folder of release bundles, each in a folder named by its digest."""
        return self.home / "releases"

    @property
    def states(self) -> Path:
        """The folder of serving states: releases brought up to date with new rows."""
        return self.home / "states"

    @property
    def store_url(self) -> str:
        """The store's URL, with a relative SQLite path made absolute."""
        return self._absolute(self.settings.store.url, "sqlite:///.everloop/everloop.db", "everloop.db")

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking URI."""
        return self.settings.tracking.uri or f"sqlite:///{self.home / 'mlflow.db'}"

    def _absolute(self, url: str, default: str, name: str) -> str:
        prefix = "sqlite:///"
        if url == default:
            return f"{prefix}{self.home / name}"
        if url.startswith(prefix) and not url.startswith(prefix + "/"):
            return f"{prefix}{self.root / url[len(prefix) :]}"
        return url


def load_project(
    start: Path | None = None,
    *,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    home: Path | None = None,
) -> Project:
    """The project that ``start`` (the working folder by default) lies in.

    Args:
        start: the project's folder, or any folder below it.
        overrides: flags of the form ``"serve.port=9000"``; values are read as TOML, else as text.
        environ: the environment; the process's own by default.
        home: where Everloop keeps its things, ``.everloop`` below the root by default.

    Raises:
        NotFoundError: there is no ``everloop.toml`` here or above.
        SettingsError: the file is no TOML, or holds an unknown or wrong key.
    """
    folder = (start or Path.cwd()).resolve()
    root = next((each for each in (folder, *folder.parents) if (each / SETTINGS_FILE).is_file()), None)
    if root is None:
        raise NotFoundError(
            "project_missing",
            f"there is no {SETTINGS_FILE} in {folder} or above it",
            hint="make one from a data file: everloop init DATA.csv, or try: everloop demo",
        )
    try:
        tree = tomllib.loads((root / SETTINGS_FILE).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            "settings_syntax",
            f"{SETTINGS_FILE} is no TOML: {error}",
            hint="see https://toml.io",
            path=str(root / SETTINGS_FILE),
        ) from error
    settings = parse_settings(tree, overrides=overrides, environ=os.environ if environ is None else environ)
    return Project(root=root, settings=settings, home=home or root / ".everloop")


def parse_settings(
    tree: Mapping[str, Any], *, overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> Settings:
    """The settings that a parsed file means, with environment and flags laid over it.

    >>> parse_settings({"project": {"nam": "x"}})
    Traceback (most recent call last):
    ...
    everloop.core.errors.SettingsError: project.nam is not a setting
    """
    merged = _copy(tree)
    for name, value in sorted((environ or {}).items()):
        if name.startswith(_PREFIX) and "__" in name:
            _put(merged, name.removeprefix(_PREFIX).lower().split("__"), _value(value), source=name)
    for text in overrides:
        path, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(
                "settings_flag",
                f"{text!r} is no setting",
                hint="write --set KEY=VALUE, such as --set serve.port=9000",
                path=text,
            )
        _put(merged, path.strip().split("."), _value(value.strip()), source=f"--set {path}")
    settings = Settings.model_validate(merged)
    _check_data(settings)
    return settings


def _check_data(settings: Settings) -> None:
    """What a forecasting project must say of its data; a model of rows may have been trained elsewhere."""
    if settings.project.task != "forecasting":
        return
    for name in ("source", "series", "time", "target"):
        if not getattr(settings.data, name):
            text = settings.data.model_fields[name].help
            raise SettingsError("settings_missing", f"data.{name} is not set", hint=text, path=f"data.{name}")


def _copy(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _copy(value) if isinstance(value, Mapping) else value for name, value in tree.items()}


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(tree: dict[str, Any], path: list[str], value: Any, *, source: str) -> None:
    node = tree
    for name in path[:-1]:
        child = node.setdefault(name, {})
        if not isinstance(child, dict):
            raise SettingsError(
                "settings_unknown",
                f"{'.'.join(path)} is not a setting",
                hint=f"{name} has no keys below it",
                path=source,
            )
        node = child
    node[path[-1]] = value
