"""``everloop trace``: where a prediction came from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened
from everloop.cli.output import print_json, print_record, say
from everloop.core.digest import canonical_json
from everloop.loop.trace import Trace, repeat_prediction, trace_prediction

_SHOWN = 160
_CASES = 3


def command(
    prediction: Annotated[str, typer.Argument(metavar="PREDICTION_ID", help="The id that stands in every answer.")],
    repeat: Annotated[bool, typer.Option("--repeat", help="Compute it again and compare bit for bit.")] = False,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """From one prediction back to its release, run, git commit, data version, environment, inputs, and what came of it.

    With --repeat it is computed again from those; the exit status is 1 where the numbers are not equal bit for bit.

    Example: everloop trace 019b76da-a800-7000-8000-000000000000 --repeat
    """
    with opened(project, set_) as (found, store):
        trace = trace_prediction(found, store, prediction)
        again = repeat_prediction(found, store, trace) if repeat else None
    if as_json:
        print_json({**trace.to_dict(), "repeated": asdict(again) if again else None})
    else:
        print_record(_lines(trace))
        if again is not None:
            say(f"computed again: {'equal' if again.is_equal else 'NOT EQUAL'}: {again.reason}")
    return 0 if again is None or again.is_equal else 1


def _lines(trace: Trace) -> dict[str, str]:
    record = trace.to_dict()
    served = record["served_from"]
    request = canonical_json(record["request"])
    state = "as it was fitted"
    if served is not None:
        version = f"dataset version {served['version']} ({served['digest'][:12]})"
        state = f"{version}, until {served['until']:%Y-%m-%d %H:%M}Z, state {served['state'][:12]}"
    commit = record["git_commit"] or "not under git"
    return {
        "prediction": record["prediction"],
        "answered": f"{record['at']:%Y-%m-%d %H:%M:%S}Z as {record['kind']} ({record['role']})",
        "release": record["release"],
        "model": f"{record['candidate']} ({record['model_class']}), files {record['model_digest'][:12]}",
        "run": record["run"],
        "git commit": commit + (" with uncommitted changes (kept in the bundle)" if record["git_dirty"] else ""),
        "trained on": _trained_on(record),
        "served from": state,
        "environment": f"python {record['environment']['python']}, everloop {record['environment']['everloop']}, "
        f"lock {record['environment']['lock'][:12]}, {record['environment']['platform']}",
        "request": request if len(request) <= _SHOWN else request[:_SHOWN] + " ...",
        "answer": _answer(record["answer"]),
        "outcomes": _outcomes(record["outcomes"]),
    }


def _answer(answer: dict[str, Any]) -> str:
    """What was answered, in a line."""
    if "rows" in answer:
        return f"{answer['rows']} rows: {', '.join(answer['outputs'])}"
    days = f"{answer['first']:%Y-%m-%d} to {answer['last']:%Y-%m-%d}"
    return f"{answer['series']} series, {answer['steps']} steps, {days}" + "".join(
        f"; {note}" for note in answer["notes"]
    )


def _outcomes(truth: dict[str, Any]) -> str:
    """What is known of it, in a line: how much, and the first cases."""
    text = f"{truth['known']} of {truth['expected']} known"
    if truth["hindsight"]:
        text += f", {truth['hindsight']} were known beforehand"
    return "; ".join([text, *map(_case, truth["cases"][:_CASES])]) + (" ..." if truth["known"] > _CASES else "")


def _case(case: dict[str, Any]) -> str:
    said = case["predicted"]
    if "row" in case:
        value = next(iter(said.values()))
        earlier = f" (before: {', '.join(map(_short, case['earlier']))})" if case["earlier"] else ""
        return f"row {case['row']}: said {_short(value)}, was {_short(case['actual'])}{earlier}"
    return (
        f"{case['series']} {case['time'].removesuffix('T00:00:00Z')}: said {_short(said)}, was {_short(case['actual'])}"
    )


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _trained_on(record: dict[str, Any]) -> str:
    if not record["trained_on"]["version"]:
        return "data that this project does not know: the model was adopted"
    version, digest = record["trained_on"]["version"], record["trained_on"]["digest"]
    return f"dataset version {version} ({digest[:12]}), until {record['trained_until']}, seed {record['seed']}"
