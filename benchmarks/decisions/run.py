"""How often decisions are wrong, and how soon they are taken, each with its interval.

Every part simulates its decision thousands of times, on streams that the methods were not made on, and on real sales
where EVERLOOP_DATA names a folder that has them (``m5/``, ``rossmann/``).

    python benchmarks/decisions/run.py [--part paired]... [--quick] [--data DIR]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from measuring.parts import run_parts  # the folder of all benchmarks is their common root

if __name__ == "__main__":
    sys.exit(run_parts(Path(__file__).parent, __doc__))
