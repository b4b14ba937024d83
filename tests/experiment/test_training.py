from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from everloop.core.errors import ModelError, UsageError
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.experiment.training import fit_candidate, fit_context, make_candidate
from everloop.models.state import save_panel

SCRIPT = """
import sys
from pathlib import Path
from everloop.core.project import Project, parse_settings
from everloop.experiment.training import fit_candidate
from everloop.models.state import load_panel

root = Path(sys.argv[1])
tree = {"project": {"name": "demand"}, "forecast": {"horizon": 14}, "train": {"threads": int(sys.argv[2])},
        "data": {"source": "x.csv", "series": ["store", "item"], "time": "date", "target": "units"}}
project = Project(root, parse_settings(tree), root / ".everloop")
print(fit_candidate(project, load_panel(root / "panel"), "lightgbm", options={"trees": 20}).model_digest)
"""


def test_two_processes_make_the_same_model_to_the_byte(tmp_path: Path, make_panel: Callable[..., Panel]) -> None:
    """Even with another number of threads, and another order of hashes."""
    (tmp_path / "panel").mkdir()
    save_panel(tmp_path / "panel", make_panel())

    def digest(threads: int, seed: str) -> str:
        command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(threads)]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": seed}
        ).stdout.strip()

    first, second = digest(1, "1"), digest(2, "2")
    assert len(first) == 64
    assert first == second


def test_what_is_fitted_is_told(make_project: Callable[..., Project], make_panel: Callable[..., Panel]) -> None:
    project = make_project("train.options={seasonal_naive={season=3}}")
    fitted = fit_candidate(project, make_panel(), "seasonal_naive")
    assert fitted.options == {"season": 3}
    assert fitted.context.horizon == 14
    assert fitted.context.levels == (80.0, 95.0)
    assert fitted.context.threads == 1
    assert fitted.seconds > 0
    assert fitted.peak_bytes is None or fitted.peak_bytes > 1_000_000
    other = fit_candidate(project, make_panel(), "seasonal_naive", options={})
    assert other.options == {"season": None}
    assert other.model_digest != fitted.model_digest


@pytest.mark.parametrize(
    ("candidate", "own"),
    [
        ("ensemble", "members=['lightgbm', 'theta']"),
        ("partitioned", "by='dept', models={shoes='theta'}"),
    ],
)
def test_what_a_candidate_is_made_of_has_its_own_options_of_the_settings(
    make_project: Callable[..., Project], candidate: str, own: str
) -> None:
    options = f"lightgbm={{trees=20}}, theta={{theta=1.0}}, seasonal_naive={{season=3}}, {candidate}={{{own}}}"
    made = make_candidate(make_project(f"train.options={{{options}}}"), candidate)
    assert made.parameters()["options"] == {"lightgbm": {"trees": 20}, "theta": {"theta": 1.0}}
    other = make_candidate(make_project(), candidate, options={})
    assert not other.parameters()["options"]


def test_the_data_decide_the_digest(make_project: Callable[..., Project], make_panel: Callable[..., Panel]) -> None:
    project = make_project()

    def digest(seed: int) -> str:
        return fit_candidate(project, make_panel(seed=seed), "seasonal_naive").model_digest

    assert digest(1) == digest(1) != digest(2)


def test_seeds_follow_from_the_project_and_further_names(make_project: Callable[..., Project]) -> None:
    project, other = make_project(), make_project("project.seed=8")
    seeds = [
        fit_context(project).seed,
        fit_context(project, seed_names=("bag", "1")).seed,
        fit_context(project, seed_names=("bag", "2")).seed,
        fit_context(other).seed,
    ]
    assert len(set(seeds)) == 4
    assert fit_context(project).seed == seeds[0]


def test_an_unknown_candidate_and_a_failing_fit_are_our_errors(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel]
) -> None:
    project = make_project()
    (project.root / "broken_forecasters.py").write_text(
        "from everloop.models.pickled import PickledForecaster\n"
        "class Broken(PickledForecaster):\n"
        "    def fit(self, panel, context):\n"
        "        raise KeyError('price')\n"
    )
    with pytest.raises(UsageError):
        fit_candidate(project, make_panel(), "lightgmb")
    with pytest.raises(ModelError, match=r"broken_forecasters:Broken cannot be fitted: KeyError: 'price'"):
        fit_candidate(project, make_panel(), "broken_forecasters:Broken")
