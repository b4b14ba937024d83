"""A confidence sequence in letters, a line for each day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["draw"]

_WIDTH = 64
_MOST_LINES = 20


def draw(
    days: Sequence[Any], effect: Sequence[float | None], lower: Sequence[float | None], upper: Sequence[float | None]
) -> str:
    """The chart; empty where no day has bounds.

    ``o`` is the effect, ``[`` and ``]`` its bounds, ``|`` zero; ``<`` and ``>`` go beyond the edge. Of many days some
    are shown, the last always.

    >>> print(draw(["mon", "tue"], [0.5, 0.6], [-0.5, 0.1], [1.0, 0.9]))
         -0.53                0                                     +1.03
    mon   [-------------------|--------------------o-------------------]
    tue                       |   [--------------------o-----------]
    """
    known = [place for place, value in enumerate(effect) if value is not None and lower[place] is not None]
    if not known:
        return ""
    step = -(-len(known) // _MOST_LINES)
    shown = known[::-1][::step][::-1]
    ends = [value for place in shown for value in (lower[place], upper[place]) if value is not None]
    # wide bounds of the first days would leave the last ones no room
    last = [value for place in shown[len(shown) // 3 :] for value in (lower[place], upper[place]) if value is not None]
    reach = max(abs(value) for value in last)
    low = min(0.0, max(min(ends), -1.5 * reach))
    high = max(0.0, min(max(ends), 1.5 * reach))
    if high <= low:
        return ""
    pad = 0.02 * (high - low)
    low, high = low - pad, high + pad

    def column(value: float) -> int:
        return round((min(max(value, low), high) - low) / (high - low) * (_WIDTH - 1))

    name = max(len(str(days[place])) for place in shown)
    zero = column(0.0)
    lines = [" " * (name + 2) + _axis(low, high, zero)]
    for place in shown:
        value, below, above = effect[place], lower[place], upper[place]
        assert value is not None
        line = [" "] * _WIDTH
        begin = 0 if below is None else column(below)
        end = _WIDTH - 1 if above is None else column(above)
        line[begin : end + 1] = "-" * (end + 1 - begin)
        line[zero] = "|"
        line[begin] = "<" if below is None or below < low else "["
        line[end] = ">" if above is None or above > high else "]"
        line[column(value)] = "o"
        lines.append(f"{days[place]!s:{name}}  {''.join(line).rstrip()}")
    return "\n".join(lines)


def _axis(low: float, high: float, zero: int) -> str:
    left, right = f"{low:+.3g}", f"{high:+.3g}"
    line = list(left.ljust(_WIDTH - len(right)) + right)
    if len(left) < zero < _WIDTH - len(right):
        line[zero] = "0"
    return "".join(line)
