"""A benchmark of several parts, each a module with ``measure(quick=...)`` that returns its table and its claims."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measuring.machine import describe_machine

__all__ = ["run_parts"]


def run_parts(folder: Path, description: str) -> int:
    """Measure the parts that are asked for, print them, and write them to the results.

    Parts that were not measured keep the results of before.

    Args:
        folder: the benchmark's; its name is that of the package and of the results.
        description: what ``--help`` says.
    """
    known = sorted(path.stem for path in folder.glob("*.py") if "def measure(" in path.read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=known, help="only this part; may be repeated")
    parser.add_argument("--quick", action="store_true", help="less of everything; nothing is written")
    parser.add_argument("--data", help="a folder with real sales; EVERLOOP_DATA by default")
    options = parser.parse_args()
    if options.data:
        os.environ["EVERLOOP_DATA"] = options.data
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    results = folder.parent / "results" / f"{folder.name}.json"
    load = os.getloadavg()[0]
    for name in options.part or known:
        started = time.monotonic()
        rows, claims = importlib.import_module(f"{folder.name}.{name}").measure(quick=options.quick)
        _tell(name, rows, claims)
        part = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started),
            "machine": describe_machine(load),
            "table": rows,
            "claims": claims,
        }
        if not options.quick:
            _write(results, name, part)
    return 0


def _write(results: Path, name: str, part: dict[str, Any]) -> None:
    """Put a part into the results as they are now: another part may have been measured meanwhile."""
    found = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {"parts": {}}
    found["parts"] = dict(sorted({**found["parts"], name: part}.items()))
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _tell(name: str, rows: list[dict[str, Any]], claims: list[dict[str, Any]]) -> None:
    print(f"# {name}")
    for row in rows:
        print("  " + "  ".join(f"{key}={value}" for key, value in row.items()))
    for claim in claims:
        word = "holds" if claim["holds"] else "FAILS"
        print(f"{word}: {claim['claim']}: {claim['measured']} {claim['interval']} (target {claim['target']})")
