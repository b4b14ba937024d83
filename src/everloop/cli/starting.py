"""How ``everloop serve`` starts, and its usual options read without Typer.

Typer and what it reads types with take as long to import as half of the rest of a start. Options that are written
plainly need neither; whatever is not plain, a mistake among it, is left to Typer, so that it is told as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from everloop.cli.output import say
from everloop.core.clock import Clock, OffsetClock, SystemClock
from everloop.core.project import load_project
from everloop.serve.address import Address
from everloop.serve.process import serve

__all__ = ["Start", "plain_start"]

_MOST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Start:
    """What the options of ``everloop serve`` come to; see there.

    Attributes:
        host: the address to listen on instead of ``serve.host``.
        port: likewise.
        workers: likewise.
        project: a folder of the project.
        overrides: settings that are overridden.
        is_json: whether the address is told in JSON.
        as_of: the instant that is pretended to be now.
        speed: seconds that pass then in a real one.
    """

    host: str | None = None
    port: int | None = None
    workers: int | None = None
    project: Path | None = None
    overrides: Sequence[str] = ()
    is_json: bool = False
    as_of: datetime | None = None
    speed: float = 1.0

    def run(self) -> None:
        """Serve until a signal comes."""
        project = load_project(self.project, overrides=self.overrides)

        def announce(address: Address) -> None:
            if self.is_json:
                import msgspec

                print(msgspec.json.encode(address).decode(), flush=True)
            say(f"serving {project.name} on {address.url} (see {address.url}/openapi.json)")

        serve(project, self._clock(), host=self.host, port=self.port, workers=self.workers, announce=announce)

    def _clock(self) -> Clock:
        if self.as_of is None:
            return SystemClock()
        return OffsetClock(self.as_of.replace(tzinfo=UTC), speed=self.speed)


_VALUES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "--host": ("host", str),
    "--port": ("port", int),
    "--workers": ("workers", int),
    "-w": ("workers", int),
    "--project": ("project", Path),
    "-p": ("project", Path),
    "--set": ("overrides", str),
    "-s": ("overrides", str),
}


def plain_start(arguments: Sequence[str]) -> Start | None:
    """What plain options mean: ``--name value``, ``--name=value``, ``--json``; ``None`` where there is anything else.

    >>> plain_start(["--port=8000", "--json"]) == Start(port=8000, is_json=True)
    True
    >>> plain_start(["--prot", "8000"]) is None
    True
    """
    found: dict[str, Any] = {}
    overrides: list[str] = []
    left = list(reversed(arguments))
    while left:
        said = left.pop()
        if said == "--json":
            found["is_json"] = True
            continue
        option, equals, text = said.partition("=") if said.startswith("--") else (said, "", "")
        name, read = _VALUES.get(option, ("", str))
        if not name or not (equals or left):
            return None
        text = text if equals else left.pop()
        if not text or text.startswith("-") or (read is int and not (text.isascii() and text.isdigit())):
            return None
        if name == "overrides":
            overrides.append(text)
        else:
            found[name] = read(text)
    if found.get("port", 0) > _MOST_PORT or found.get("workers", 1) < 1:
        return None
    return Start(overrides=tuple(overrides), **found)
