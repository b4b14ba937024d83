"""The tutorial's shell blocks run, one after the other, as they stand."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IN_FOREGROUND = ("everloop serve", "everloop loop")
START_SECONDS = 60
BLOCK_SECONDS = 300


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(block: str, folder: Path, environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A block that stays in the foreground, started beside the others and ended by SIGTERM."""
    process = subprocess.Popen(block.split(), cwd=folder, env=environ)
    try:
        yield process
    finally:
        process.terminate()
        status = process.wait(timeout=START_SECONDS)
    assert status == 0, f"{block} ended with {status}"


def wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail("the server did not become ready")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_tutorial_runs(tmp_path: Path) -> None:
    port = free_port()
    environ = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "EVERLOOP_SERVE__PORT": str(port),
        "EVERLOOP_LOOP__POLL_SECONDS": "0.5",
    }
    blocks = [
        block.strip().replace("127.0.0.1:8000", f"127.0.0.1:{port}") for block in BLOCK.findall(TUTORIAL.read_text())
    ]
    assert len(blocks) > 10
    folder = tmp_path
    with ExitStack() as stack:
        for block in blocks:
            if block in IN_FOREGROUND:
                process = stack.enter_context(running(block, folder, environ))
                if block == "everloop serve":
                    wait_until_ready(port, process)
                continue
            began = time.monotonic()
            done = subprocess.run(
                ["sh", "-euc", block], cwd=folder, env=environ, capture_output=True, text=True, timeout=BLOCK_SECONDS
            )
            print(f"$ {block}\n{done.stdout}{done.stderr}({time.monotonic() - began:.1f} s)\n")
            assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
            folder = tmp_path / "shop"
