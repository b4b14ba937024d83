"""The worker processes of a server that has several."""

from __future__ import annotations

import subprocess


def children(pid: int) -> list[int]:
    """The worker processes of a supervisor."""
    text = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, check=False
    ).stdout
    lines = [line.split(None, 1) for line in text.decode().splitlines()]
    return [int(parts[0]) for parts in lines if len(parts) == 2 and "spawn_main" in parts[1]]
