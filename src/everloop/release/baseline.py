"""What a release of rows answers with when its model does not: a constant for each output, kept in the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from everloop.core.digest import canonical_json
from everloop.core.errors import UsageError, nearest
from everloop.models.tabular.signature import Output, Signature

__all__ = ["BASELINE_FILE", "write_baseline"]

BASELINE_FILE = "baseline.json"


def write_baseline(folder: Path, signature: Signature, given: Mapping[str, str]) -> None:
    """Write the baseline of a bundle.

    Args:
        folder: the bundle.
        signature: what the model gives.
        given: the value of each output as text; for an output of several values, separated by commas.

    Raises:
        UsageError: an output is missing or unknown, or a value is not of its type.
    """
    known = {each.name: each for each in signature.outputs}
    for name in given:
        if name not in known:
            raise UsageError("baseline_output", f"the model has no output {name!r}", hint=nearest(name, list(known)))
    missing = [name for name in known if name not in given]
    if missing:
        raise UsageError(
            "baseline_output",
            f"the baseline says nothing of the output {missing[0]!r}",
            hint=f"give one value for each of {', '.join(known)}: --baseline {missing[0]}=VALUE",
        )
    outputs = {name: _value(each, given[name]) for name, each in known.items()}
    (folder / BASELINE_FILE).write_text(canonical_json({"outputs": outputs}) + "\n", encoding="utf-8")


def _value(output: Output, text: str) -> object:
    """The value of one row."""
    parts = text.split(",") if output.shape else [text]
    try:
        values = parts if output.dtype == "object" else np.array([float(part) for part in parts]).astype(output.dtype)
    except ValueError:
        raise UsageError(
            "baseline_value", f"{text!r} is no {output.dtype} for the output {output.name!r}", hint="NAME=1.5"
        ) from None
    plain = list(values) if output.dtype == "object" else np.asarray(values).tolist()
    if output.shape and len(plain) != int(np.prod(np.abs(output.shape))):
        raise UsageError(
            "baseline_value",
            f"the output {output.name!r} has {np.prod(output.shape)} values a row, not {len(plain)}",
            hint="separate them by commas",
        )
    return plain if output.shape else plain[0]
