"""How often decisions are wrong, and how soon they are taken, each with its interval.

Every part simulates its decision thousands of times, on streams that the methods were not made on, and on real sales
where EVERLOOP_DATA names a folder that has them (``m5/``, ``rossmann/``).

    python benchmarks/decisions/run.py [--part paired]... [--quick] [--data DIR]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from measuring.machine import describe_machine  # the folder of all benchmarks is their common root

RESULTS = Path(__file__).parents[1] / "results" / "decisions.json"


def main() -> int:
    """Measure, print, and write the results; parts that were not measured keep those of before."""
    known = sorted(
        path.stem for path in Path(__file__).parent.glob("*.py") if "def measure(" in path.read_text(encoding="utf-8")
    )
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=known, help="only this part; may be repeated")
    parser.add_argument("--quick", action="store_true", help="few runs, wide intervals; nothing is written")
    parser.add_argument("--data", help="a folder with real sales; EVERLOOP_DATA by default")
    options = parser.parse_args()
    if options.data:
        os.environ["EVERLOOP_DATA"] = options.data
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    load = os.getloadavg()[0]
    for name in options.part or known:
        started = time.monotonic()
        rows, claims = importlib.import_module(f"decisions.{name}").measure(quick=options.quick)
        _tell(name, rows, claims)
        part = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started),
            "machine": describe_machine(load),
            "table": rows,
            "claims": claims,
        }
        if not options.quick:
            _write(name, part)
    return 0


def _write(name: str, part: dict[str, Any]) -> None:
    """Put a part into the results as they are now: another part may have been measured meanwhile."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"parts": {}}
    results["parts"] = dict(sorted({**results["parts"], name: part}.items()))
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _tell(name: str, rows: list[dict[str, Any]], claims: list[dict[str, Any]]) -> None:
    print(f"# {name}")
    for row in rows:
        print("  " + "  ".join(f"{key}={value}" for key, value in row.items()))
    for claim in claims:
        word = "holds" if claim["holds"] else "FAILS"
        print(f"{word}: {claim['claim']}: {claim['measured']} {claim['interval']} (target {claim['target']})")


if __name__ == "__main__":
    sys.exit(main())
