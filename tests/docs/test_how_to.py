"""The forecaster of the how-to guide keeps every law, as the guide says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "own-forecaster.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_forecaster_of_the_guide_keeps_the_laws(tmp_path: Path) -> None:
    module, check = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))
    (tmp_path / "my_models.py").write_text(module, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", check],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
