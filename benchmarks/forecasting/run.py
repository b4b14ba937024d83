"""How good forecasts are, how long they take, and what the steps on the way cost, beside others.

Accuracy is measured on real sales, where EVERLOOP_DATA names a folder that has them (``m5/``, ``rossmann/``); made
sales tell times only.

    python benchmarks/forecasting/run.py [--part m5]... [--quick] [--data DIR]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from measuring.parts import run_parts  # the folder of all benchmarks is their common root

if __name__ == "__main__":
    sys.exit(run_parts(Path(__file__).parent, __doc__))
