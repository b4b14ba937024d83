"""``everloop explain``: what the features of a model bring."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened, refuse_rows
from everloop.cli.output import number, percent, print_json, print_table, progress, say
from everloop.core.clock import SystemClock
from everloop.core.errors import NotFoundError
from everloop.core.project import Project
from everloop.data.loading import load_panel
from everloop.experiment.lineage import collect_lineage
from everloop.experiment.tracking import DatasetVersion, open_tracker
from everloop.experiment.tuned import with_tuned
from everloop.models.catalog import BUILT_IN
from everloop.release.bundle import open_release
from everloop.store.deployments import find_release
from everloop.store.engine import Store
from everloop.validate.explanation import Explanation, Recipe, explain

if TYPE_CHECKING:
    # MLflow takes three seconds to import; opening a tracker does it
    from everloop.experiment.mlflow_tracker import Tracker
    from everloop.validate.gates.pairing import Estimate

_SHOWN = 12


def command(
    what: Annotated[
        str, typer.Argument(help="'champion', a release, a run, or a candidate: a built-in name or 'module:Class'.")
    ] = "champion",
    group: Annotated[
        list[str] | None, typer.Option("--group", "-g", help="A group to look at; may be repeated. All by default.")
    ] = None,
    by_column: Annotated[
        bool, typer.Option("--by-column", help="Take each column of the data for a group of its own.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave nothing out, which takes a backtest for each group.")
    ] = False,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """What groups of features bring: each left out, and shuffled, on past windows; with intervals.

    The recipe is fitted anew at each window of the backtest, so all of them are unseen. Groups are lags, windows,
    calendar, price, events, static and so on. The result is an MLflow run.

    Example: everloop explain lightgbm --group price --group events
    """
    with opened(project, set_) as (written, store):
        refuse_rows(written, "explain")
        found = with_tuned(written, store)
        settings = found.settings
        tracker = open_tracker(found, clock=SystemClock())
        tracker.close_abandoned()
        recipe = _recipe(found, store, tracker, what)
        panel, dataset = load_panel(found, history=settings.train.history, horizon=settings.forecast.horizon)
        with progress(f"explaining {recipe.candidate}", 1) as advance:
            explanation = explain(
                found,
                panel,
                recipe,
                only=group or (),
                by_column=by_column,
                leaving_out=not quick,
                progress=lambda done, total, word: advance(done, f"of {total} backtests: {word}" if word else ""),
            )
        run_id = _record(found, tracker, dataset, explanation)
    if as_json:
        print_json({**explanation.to_dict(), "run_id": run_id})
        return
    _show(explanation, quick=quick)
    say(f"run {run_id[:12]}")


def _recipe(project: Project, store: Store, tracker: Tracker, what: str) -> Recipe:
    """The recipe that a word means."""
    if what in BUILT_IN or ":" in what:
        return Recipe(what, project.settings.train.options.get(what, {}))
    try:
        with store.read() as tx:
            row = find_release(tx, what)
    except NotFoundError as error:
        run = next((each for each in tracker.runs() if len(what) >= 6 and each.info.run_id.startswith(what)), None)
        candidate = "" if run is None else run.data.tags.get("everloop.candidate", "")
        if run is None or not candidate:
            error.hint = f"{error.hint}; or name a candidate, such as: everloop explain lightgbm"
            raise
        with tempfile.TemporaryDirectory(prefix="everloop-") as folder:
            path = tracker.client.download_artifacts(run.info.run_id, "options.json", folder)
            return Recipe(candidate, json.loads(Path(path).read_text(encoding="utf-8")))
    manifest = open_release(project.releases / row.digest, digest=row.digest).manifest
    return Recipe(manifest.candidate, manifest.options)


def _record(project: Project, tracker: Tracker, dataset: DatasetVersion, explanation: Explanation) -> str:
    """A run with the numbers of each group, and all of it as an artefact."""
    from everloop.experiment.mlflow_tracker import Measurement

    run_id = tracker.start(
        f"explain {explanation.candidate}",
        dataset=dataset,
        lineage=collect_lineage(project),
        params={"candidate": explanation.candidate},
        tags={"everloop.explained": explanation.candidate},
    )
    with tracker.failing(run_id):
        found: list[tuple[str, float | None]] = [(explanation.metric, explanation.value)]
        for each in explanation.groups:
            name = "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in each.group)
            found.append((f"gain/{name}", each.gain))
            for kind, estimate in (("left_out", each.left_out), ("shuffled", each.shuffled)):
                if estimate is not None:
                    found += [(f"{kind}/{name}", estimate.value), (f"{kind}_lower/{name}", estimate.lower)]
                    found.append((f"{kind}_upper/{name}", estimate.upper))
        tracker.log(run_id, [Measurement(name, value) for name, value in found if value is not None])
        record = json.dumps(explanation.to_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        tracker.log_files(run_id, {"evidence/explanation.json": record})
        tracker.finish(run_id)
    return run_id


def _show(explanation: Explanation, *, quick: bool) -> None:
    metric = explanation.metric.upper()
    rows = []
    for each in explanation.groups:
        left_out = () if quick else (number(each.without, digits=4), _interval(each.left_out), each.verdict)
        rows.append((each.group, len(each.features), *left_out, _interval(each.shuffled), percent(each.gain, digits=1)))
    columns = () if quick else (f"{metric} without", "left out: the loss grows by", "so it")
    title = (
        f"{explanation.candidate}: {metric} {number(explanation.value, digits=4)} over {explanation.windows} windows; "
        "what its groups of features bring"
    )
    print_table(("group", "features", *columns, "shuffled: the loss grows by", "gain"), rows, title=title)
    if explanation.features:
        top = [(name, percent(share)) for name, share in list(explanation.features.items())[:_SHOWN]]
        print_table(("feature", "gain"), top, title=f"The {len(top)} features whose splits gained the most")
    say(
        f"in brackets: where it surely lies; all of these hold together but for an error of {explanation.alpha:g} at "
        "each end. What is not sure may be sure on more windows: --set validate.windows=6"
    )


def _interval(estimate: Estimate | None) -> str:
    """By which share the loss grows, from the share that the whole saves of it."""
    if estimate is None or estimate.value is None:
        return "-"
    shown = _growth(estimate.value)
    if estimate.lower is None or estimate.upper is None:
        return f"{shown} (no bounds)"
    return f"{shown} ({_growth(estimate.lower)} to {_growth(estimate.upper)})"


def _growth(saved: float) -> str:
    """Saving a half of a loss means that without it the loss would double; saving all of it has no measure."""
    return f"{saved / (1 - saved):+.1%}" if saved < 1 else "any"
