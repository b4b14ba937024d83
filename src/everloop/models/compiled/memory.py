"""What the parts of the machine code share: how a model lies in memory, and how much is taken at once."""

from __future__ import annotations

__all__ = ["BLOCK", "FIELDS", "LANES", "loads"]

BLOCK = 64
"""Rows of a block."""
LANES = 16
"""Trees that one row walks through at once; their number is a multiple."""
FIELDS = (
    "trees",
    "outputs",
    "columns",
    "features",
    "nodes",
    "values",
    "table",
    "cuts",
    "sources",
    "sets",
    "set_bytes",
    "numeric",
    "masks",
    "scores",
    "ids",
)
"""The model as the kernels see it: whole numbers of 64 bits, some of them addresses; see ``Forest``."""


def loads(*names: str) -> str:
    """Loads of fields of the model ``%m`` into values of their names; addresses are told by the field's name."""
    lines = []
    for name in names:
        kind = "ptr" if name in ("nodes", "values", "table", "cuts", "sources", "sets") else "i64"
        lines.append(f"  %{name}.at = getelementptr i64, ptr %m, i64 {FIELDS.index(name)}")
        lines.append(f"  %{name} = load {kind}, ptr %{name}.at")
    return "\n".join(lines)
