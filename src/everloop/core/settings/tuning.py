"""How options of candidates are searched for."""

from __future__ import annotations

from typing import Any, Literal

from everloop.core.settings.section import Section, key

__all__ = ["TuneSettings"]


class TuneSettings(Section):
    """How `everloop tune` searches for better options of a candidate."""

    minutes: float = key(10.0, unit="minutes", help="How long one call may search and check what it found.", gt=0)
    trials: int = key(40, unit="trials", help="How many trials a study has in all, over all calls.", ge=1)
    windows: int = key(
        3,
        unit="windows",
        help="How many past windows a trial is judged on; they lie before those of `validate.windows`, which are held "
        "back for the check of the winner.",
        ge=1,
    )
    at_once: int = key(
        1,
        unit="trials",
        help="How many trials are begun together. They do not learn from each other, so one at a time finds most in a "
        "number of trials; with more of them `[engine]` has more windows to compute side by side.",
        ge=1,
    )
    pruner: Literal["median", "hyperband", "none"] = key(
        "median", help="Which trials are given up before their last window: those worse than half of the others so far."
    )
    margin: float = key(
        0.01,
        unit="share",
        help="How much worse than the present options those found may be on the windows held back, beyond doubt.",
        ge=0,
        lt=1,
    )
    alpha: float = key(
        0.05, unit="probability", help="Bound on keeping options that are worse by more than the margin.", gt=0, lt=0.5
    )
    space: dict[str, dict[str, list[Any]]] = key(
        {},
        help="Ranges by candidate and option instead of those that its class declares: two numbers are the ends of a "
        "range, other lists are values to choose from, an empty list leaves the option as it is.",
    )
    use: bool = key(False, help="Whether trainings use the options that were found and kept, without writing them.")
