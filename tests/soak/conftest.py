"""The soak runs for minutes, so it is collected by ``make soak`` alone."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("EVERLOOP_SOAK") else ["test_*.py"]
