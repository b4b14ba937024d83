"""A PostgreSQL server that a test may stop and start."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

__all__ = ["Postgres", "free_port"]

SEARCH = os.pathsep.join(
    [os.environ.get("PATH", ""), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))]
)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postgres:
    """An empty cluster in a folder of its own; skips the test where PostgreSQL is not installed."""

    def __init__(self) -> None:
        found = {name: shutil.which(name, path=SEARCH) for name in ("initdb", "postgres", "pg_ctl")}
        if not all(found.values()):
            pytest.skip("PostgreSQL is not installed")
        pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
        self._binaries = {name: str(path) for name, path in found.items()}
        is_root = os.getuid() == 0
        self._as_owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if is_root else []
        self._folder = Path(tempfile.mkdtemp(prefix="everloop-postgres-"))
        if is_root:
            shutil.chown(self._folder, "postgres", "postgres")
        self._port = free_port()
        self._run("initdb", "-D", f"{self._folder}/data", "-A", "trust", "-U", "everloop", "-E", "UTF8", "--no-sync")
        self.start()

    @property
    def url(self) -> str:
        """Its URL for a store."""
        return f"postgresql+psycopg://everloop@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = (
            f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder} -p {self._port} -c fsync=off"
        )
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-o", options, "-w", "-l", f"{self._folder}/log", "start")

    def kill(self) -> None:
        """End it at once, without a checkpoint, as a crash would."""
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-m", "immediate", "stop")

    def delete(self) -> None:
        """End it and remove its files."""
        subprocess.run(
            [*self._as_owner, self._binaries["pg_ctl"], "-D", f"{self._folder}/data", "-m", "immediate", "stop"],
            capture_output=True,
            cwd=self._folder,
            check=False,
        )
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, name: str, *arguments: str) -> None:
        command = [*self._as_owner, self._binaries[name], *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder)
