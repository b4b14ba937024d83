"""Where a project's server listens: announced by the server, read by the commands that call it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from everloop.core.errors import UnavailableError
from everloop.core.project import Project

__all__ = ["Address", "forget_address", "is_alive", "read_address", "write_address"]

_FILE = "serve.json"


class Address(msgspec.Struct, frozen=True):
    """A server's address.

    Attributes:
        url: what to put before ``/v1/forecast``.
        host: the host it listens on.
        port: the port.
        pid: the process, the supervisor where there are several.
        workers: how many processes answer.
        started_at: when, ISO.
    """

    url: str
    host: str
    port: int
    pid: int
    workers: int
    started_at: str


def write_address(project: Project, address: Address) -> None:
    """Announce a server, whole or not at all."""
    path = _path(project)
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_name(f".{_FILE}.{os.getpid()}")
    making.write_bytes(msgspec.json.encode(address))
    making.replace(path)


def read_address(project: Project) -> Address:
    """The address of the project's running server.

    Raises:
        UnavailableError: none runs on this machine.
    """
    try:
        address = msgspec.json.decode(_path(project).read_bytes(), type=Address)
        os.kill(address.pid, 0)
    except PermissionError:  # it runs, as another user
        return address
    except (OSError, msgspec.DecodeError) as error:
        raise UnavailableError(
            "server_away", "no server of this project runs here", hint="start one: everloop serve"
        ) from error
    return address


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs here."""
    try:
        os.kill(pid, 0)
    except PermissionError:  # it runs, as another user
        return True
    except OSError:
        return False
    return True


def forget_address(project: Project) -> None:
    """Take an announcement back, if it is still this process's own."""
    path = _path(project)
    try:
        if msgspec.json.decode(path.read_bytes(), type=Address).pid == os.getpid():
            path.unlink()
    except (OSError, msgspec.DecodeError):
        return


def _path(project: Project) -> Path:
    return project.home / _FILE
