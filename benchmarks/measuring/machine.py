"""The machine that a benchmark ran on, and how busy it was with other things."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

__all__ = ["busy_seconds", "describe_machine"]

_TICKS = os.sysconf("SC_CLK_TCK")


def describe_machine(load_before: float) -> dict[str, Any]:
    """The machine, for the results.

    Args:
        load_before: the load average when the benchmark began.
    """
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": platform.platform(),
        "load_before_and_after": [round(load_before, 1), round(os.getloadavg()[0], 1)],
    }


def busy_seconds() -> float:
    """CPU seconds that all cores together have worked since the machine started, stolen ones among them."""
    fields = [int(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _wait, irq, soft_irq, steal = fields
    return (user + nice + system + irq + soft_irq + steal) / _TICKS


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
