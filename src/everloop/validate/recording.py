"""What an examination leaves in its MLflow run: metrics by window and step, evidence as files, plots and tags."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.validate.gates.result import blocking

if TYPE_CHECKING:
    # MLflow takes three seconds to import; whoever only reads the records need not pay them
    from everloop.experiment.mlflow_tracker import Measurement, Tracker
    from everloop.validate.examination import Examination

__all__ = ["record_examination"]


def record_examination(tracker: Tracker, project: Project, panel: Panel, examination: Examination) -> None:
    """Write an examination into its run, which is open.

    Raises:
        UnavailableError: MLflow is away.
    """
    from everloop.validate.plots import draw_plots  # matplotlib, which a reader of these records need not import

    tracker.log(examination.run_id, _measurements(examination))
    files: dict[str, str | bytes] = {
        "evidence/gates.json": _json([gate.to_dict() for gate in examination.gates]),
        "evidence/metrics.json": _json(examination.evaluation.scores.to_dict()),
        "evidence/baseline.json": _json(examination.evaluation.baseline.to_dict()),
        "options.json": _json(examination.options),
    }
    if examination.marks:
        files["evidence/marks.json"] = _json(examination.marks)
    if project.settings.tracking.plots:
        for name, figure in draw_plots(examination, panel).items():
            content = io.BytesIO()
            figure.savefig(content, format="png", dpi=80)
            files[f"plots/{name}.png"] = content.getvalue()
    tracker.log_files(examination.run_id, files)
    stopped = blocking(examination.gates)
    tracker.set_tags(
        examination.run_id,
        {
            "everloop.gates": "failed: " + ", ".join(gate.name for gate in stopped) if stopped else "passed",
            "everloop.metric": examination.metric,
        },
    )


def _measurements(examination: Examination) -> list[Measurement]:
    from everloop.experiment.mlflow_tracker import Measurement

    scores, baseline = examination.evaluation.scores, examination.evaluation.baseline
    found = []
    for prefix, measures, step in [
        ("", scores.overall, 0),
        ("baseline/", baseline.overall, 0),
        *[("fold/", each, number) for number, each in enumerate(scores.by_fold)],
        *[("horizon/", each, number + 1) for number, each in enumerate(scores.by_step)],
    ]:
        found += [
            Measurement(prefix + name, each.value, step) for name, each in measures.items() if each.value is not None
        ]
    found += [
        Measurement(f"skill/{name}", value) for name, value in examination.evaluation.skill.items() if value is not None
    ]
    found += [
        Measurement(f"marked/{kind}", float(each["periods"]))
        for kind, each in examination.marks.get("kinds", {}).items()
    ]
    found.append(Measurement("seconds/backtest", examination.backtest.seconds))
    return found


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
