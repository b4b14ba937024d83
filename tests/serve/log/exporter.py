"""A process that exports a store's predictions in many small commits.

Usage: python exporter.py STORE_URL TABLE
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from everloop.serve.log import export
from everloop.store.engine import open_store

if __name__ == "__main__":
    export._PER_PAGE = export._PER_COMMIT = 40
    store = open_store(sys.argv[1], fsync=False)
    print(export.export_predictions(store, sys.argv[2], now=datetime.now(UTC)).rows)
    store.close()
