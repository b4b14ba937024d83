"""``everloop tune``: search for better options of a candidate."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, actor, opened, refuse_rows
from everloop.cli.output import number, percent, print_json, print_table, progress, say
from everloop.core.clock import SystemClock
from everloop.core.errors import UsageError
from everloop.core.options_file import write_options
from everloop.core.project import SETTINGS_FILE, Project
from everloop.data.loading import load_panel
from everloop.experiment.lineage import collect_lineage
from everloop.experiment.tracking import open_tracker
from everloop.experiment.tuned import keep_tuned, with_tuned
from everloop.store.engine import Store
from everloop.store.events import record_event
from everloop.validate.tuning import Tuning, tunable, tune_candidate

_SHOWN = 8


def command(
    candidate: Annotated[
        str | None,
        typer.Argument(help="A built-in name, or 'module:Class'; by default every candidate that can be tuned."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="How long this call may take; tune.minutes by default.", min=0.01)
    ] = None,
    trials: Annotated[
        int | None, typer.Option("--trials", help="How many trials in all; tune.trials by default.", min=1)
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Put options that are kept into everloop.toml, as [train.options.NAME].")
    ] = False,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search for better options of a candidate, within a time; the same command goes on where it stopped.

    Trials are judged on windows before those of validate.windows. The best one is then compared with the present
    options on these, which the search has not seen, and kept only if it is not worse there. Options that are kept are
    used by the next trainings with --write, or with tune.use = true. Every trial is an MLflow run.

    Example: everloop tune lightgbm --minutes 10 --trials 40
    """
    overrides = [*(set_ or [])]
    overrides += [f"tune.minutes={minutes}"] if minutes is not None else []
    overrides += [f"tune.trials={trials}"] if trials is not None else []
    with opened(project, overrides) as (written, store):
        refuse_rows(written, "tune")
        found = with_tuned(written, store)
        names = [candidate] if candidate else tunable(found)
        if not names:
            raise UsageError(
                "tune_nothing",
                "no candidate of the settings declares anything that may be tuned",
                hint="name one, such as: everloop tune lightgbm",
                path="train.candidates",
            )
        tunings = _tune(found, names)
        for each in tunings:
            _keep(written, store, each, write=write)
    if as_json:
        print_json([each.to_dict() for each in tunings])
        return
    for each in tunings:
        _show(each)
        _say_next(each, write=write, is_used=found.settings.tune.use)


def _tune(project: Project, names: list[str]) -> list[Tuning]:
    """Tune each candidate in turn, with an equal share of the time that is left."""
    settings = project.settings
    ends_at = time.monotonic() + 60 * settings.tune.minutes
    panel, dataset = load_panel(project, history=settings.train.history, horizon=settings.forecast.horizon)
    tracker = open_tracker(project, clock=SystemClock())
    tracker.close_abandoned()
    lineage = collect_lineage(project)
    done = []
    for place, name in enumerate(names):
        share = (ends_at - time.monotonic()) / (len(names) - place)
        with progress(f"tuning {name}", settings.tune.trials) as advance:
            done.append(
                tune_candidate(
                    project,
                    panel,
                    dataset,
                    name,
                    tracker=tracker,
                    lineage=lineage,
                    seconds=max(share, 0.0),
                    progress=advance,
                )
            )
    return done


def _keep(project: Project, store: Store, tuning: Tuning, *, write: bool) -> None:
    """Keep what was found for the trainings to come, and write it down where that is asked for."""
    now, options = SystemClock().now(), tuning.kept
    with store.write() as tx:
        if options is not None:
            whole = {**project.settings.train.options.get(tuning.candidate, {}), **options}
            keep_tuned(tx, project, tuning.candidate, whole, study=tuning.study, at=now)
        held = {} if tuning.held_back is None else tuning.held_back.to_dict()
        evidence = {"study": tuning.study, "run_id": tuning.run_id, "trials": len(tuning.trials), "held_back": held}
        message = f"{tuning.candidate}: {'kept' if options is not None else 'nothing kept'}: {tuning.reason}"
        record_event(tx, now, "tuned", message, actor=actor(), subject=tuning.candidate, evidence=evidence)
    if write and options is not None:
        whole = {**project.settings.train.options.get(tuning.candidate, {}), **options}
        write_options(project.root / SETTINGS_FILE, tuning.candidate, whole)


def _show(tuning: Tuning) -> None:
    """The best trials, the present options among them, and the check of the winner."""
    complete = [each for each in tuning.trials if each.value is not None]
    present = next((each for each in complete if each.options == tuning.present), None)
    # drawn twice, options are shown once
    distinct = {str(each.options): each for each in reversed(complete)}.values()
    ranked = sorted(distinct, key=lambda each: (each.value, each.number))
    shown = ranked[:_SHOWN]
    if present is not None and present not in shown:
        shown = [*shown, present]
    rows = [
        (
            f"{each.number}" + (" (present)" if each is present else ""),
            number(each.value, digits=4),
            percent(None if not present or not present.value else 1 - (each.value or 0.0) / present.value, digits=2),
            *[each.options[name] for name in sorted(tuning.present)],
        )
        for each in shown
    ]
    metric = tuning.metric.upper()
    title = f"{tuning.candidate}: the best of {len(tuning.trials)} trials, on the windows searched"
    print_table(("trial", metric, "better by", *sorted(tuning.present)), rows, title=title)
    counts = {state: sum(each.state == state for each in tuning.trials) for state in ("pruned", "failed")}
    say(
        f"{tuning.new} new trials, {len(tuning.trials)} in all: {len(complete)} complete, {counts['pruned']} given up "
        f"early, {counts['failed']} failed; ended by {'the number of trials' if tuning.why == 'trials' else 'the time'}"
    )
    error = next((each.error for each in reversed(tuning.trials) if each.error), "")
    if error:
        say(f"the last failure: {error}")
    held = tuning.held_back
    if held is None:
        return
    rows = [(f"window {place + 1}", old, new) for place, (old, new) in enumerate(held.by_window)]
    print_table(
        ("held back", f"{metric} present", f"{metric} found"),
        [(name, number(old, digits=4), number(new, digits=4)) for name, old, new in [*rows, _overall(tuning)]],
        title="The options found beside the present ones, on windows that the search has not seen",
    )
    if held.lower is not None and held.upper is not None:
        say(
            f"their loss against the present one: {-(held.effect or 0.0):+.2%}, surely between {-held.upper:+.2%} and "
            f"{-held.lower:+.2%} (each end with an error of at most {held.alpha:.2g}; independent: each {held.unit})"
        )


def _overall(tuning: Tuning) -> tuple[str, float | None, float | None]:
    held = tuning.held_back
    return ("all", None, None) if held is None else ("all", held.present, held.found)


def _say_next(tuning: Tuning, *, write: bool, is_used: bool) -> None:
    if tuning.kept is None:
        say(f"nothing kept: {tuning.reason}")
    elif write:
        say(f"kept, and written into {SETTINGS_FILE}: {tuning.reason}; next: everloop run")
    elif is_used:
        say(f"kept: {tuning.reason}; trainings use them, since tune.use is true; next: everloop run")
    else:
        say(
            f"kept: {tuning.reason}; next: the same command with --write puts them into {SETTINGS_FILE}, or set "
            "tune.use = true"
        )
