"""The model card: what a release is, how well it does beside the baseline, where it must not be trusted.

The order of sections follows Mitchell et al. (2019), "Model Cards for Model Reporting".
"""

from __future__ import annotations

from typing import Any

from everloop.release.manifest import Manifest
from everloop.validate.gates.result import in_words

__all__ = ["write_card"]

_NAMES = {
    "wape": "WAPE: sum of errors / sum of actuals",
    "bias": "bias: forecasts minus actuals / sum of actuals",
    "mase": "MASE: error / seasonal step of the past",
    "rmsse": "RMSSE: root squared error / squared step of the past",
    "pinball": "pinball loss / sum of actuals",
    "wrmsse": "WRMSSE: root squared errors of sums of series / their squared steps, by worth",
    "wspl": "WSPL: quantile losses of sums of series / their steps, by worth",
    "cost": "cost of orders by it: money for units left over and units missing / units sold",
    "cost_in_all": "the same money in all windows together",
    "in_stock": "share of orders that met all demand",
}


def write_card(manifest: Manifest, *, notes: tuple[str, ...] = ()) -> str:
    """The card as Markdown.

    Args:
        manifest: the release's manifest, complete but for the digests of its files.
        notes: what the forecaster said during the backtest.
    """
    dataset, provenance, columns = manifest.dataset, manifest.provenance, manifest.columns
    plan = manifest.metrics["plan"]
    dirty = ", with changes that lineage/diff.patch holds" if provenance.git_dirty else ""
    commit = f"git commit `{provenance.git_commit}`{dirty}" if provenance.git_commit else "not under git"
    sections = [
        f"# {manifest.project}: {manifest.candidate}",
        f"Forecasts `{columns.target}` of every series of {_listed(columns.series)}, up to {manifest.horizon} steps of "
        f"{columns.frequency} ahead, with intervals of {_listed([f'{level:g} %' for level in manifest.levels])}.",
        "## Model",
        f"- class `{manifest.model_class}`\n- options {_options(manifest.options)}\n"
        f"- model digest `{manifest.model_digest}`\n- made {manifest.created_at}, run `{manifest.run_id}`",
        "## Data",
        f"- dataset version {dataset.version}, digest `{dataset.digest}`, {dataset.rows} rows\n"
        f"- the last period it learnt from: {manifest.cutoff}\n"
        f"- known ahead: {_listed(columns.known_ahead)}; observed: {_listed(columns.observed)}; "
        f"static: {_listed(columns.static)}" + _marks(manifest.metrics.get("marks")),
        "## How well it does",
        f"Backtest of {plan['windows']} windows of {plan['horizon']} steps, cutoffs {plan['step']} steps apart, mode "
        f"{plan['mode']}; {manifest.metrics['n']} forecasts of {manifest.metrics['n_series']} series beside what "
        "happened.",
        _metric_table(manifest.metrics),
        "## Gates",
        _gate_table(manifest.gates),
        "## Limits",
        _limits(manifest, notes),
        "## Make it again",
        f"Check out {commit}; install `lock.txt` under Python {provenance.python} ({provenance.platform}); fit "
        f"candidate `{manifest.candidate}` on dataset version {dataset.version} with seed {provenance.seed}. The model "
        "digest must come out the same.",
    ]
    return "\n\n".join(sections) + "\n"


def _marks(marks: dict[str, Any] | None) -> str:
    """What of the data is no true picture of demand, and what became of it."""
    if not marks:
        return ""
    words = {"leave_out": "left out", "impute": "imputed, not scored", "keep": "kept"}
    kinds = [
        f"{kind.replace('_', ' ')} {each['periods']} ({words[each['treatment']]})"
        for kind, each in marks["kinds"].items()
    ]
    return f"\n- marked periods of {marks['looked_at']}: {_listed(kinds)}"


def _metric_table(metrics: dict[str, Any]) -> str:
    lines = ["| metric | this | seasonal naive | better by |", "| --- | ---: | ---: | ---: |"]
    for name, value in metrics["candidate"].items():
        skill = metrics["skill"].get(name)
        better = "" if skill is None else f"{skill:+.1%}"
        lines.append(f"| {_name(name)} | {_number(value)} | {_number(metrics['baseline'].get(name))} | {better} |")
    return "\n".join(lines)


def _name(name: str) -> str:
    kind, _, level = name.partition("_")
    if kind == "coverage":
        return f"share of actuals within the {level} % interval"
    if kind == "width":
        return f"width of the {level} % interval / sum of actuals"
    return _NAMES.get(name, name)


def _gate_table(gates: tuple[dict[str, Any], ...]) -> str:
    lines = ["| gate | verdict | why |", "| --- | --- | --- |"]
    for gate in gates:
        verdict, message = in_words(gate)
        lines.append(f"| {gate['name']} | {verdict} | {message} |")
    return "\n".join(lines)


def _limits(manifest: Manifest, notes: tuple[str, ...]) -> str:
    limits = [
        f"It was tried on the {manifest.metrics['plan']['windows']} windows above and on no other time.",
        "Series that began after a window's cutoff were not tried in that window.",
        "Intervals are for one series and one step; they say nothing of sums over series or steps.",
        *notes,
    ]
    return "\n".join(f"- {limit}" for limit in limits)


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"`{name}={value!r}`" for name, value in sorted(options.items())) or "none"


def _listed(names: Any) -> str:
    return ", ".join(names) or "none"


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4f}"
