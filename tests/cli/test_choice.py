"""What a reader of the main job's table is told: who was chosen, who failed and why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from everloop.cli.main import main
from everloop.core.project import Project

BROKEN = """

class Broken(MeanOfWeeks):
    def fit(self, panel, context):
        raise ValueError("no fit today")
"""


def test_the_chosen_and_the_failed_are_told(
    make_kiosk: Callable[..., Project], capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_kiosk(name="choice").root
    with (root / "choice_toy.py").open("w", encoding="utf-8") as file:
        file.write((root / "toy.py").read_text(encoding="utf-8") + BROKEN)
    names = '["seasonal_naive", "choice_toy:MeanOfWeeks", "choice_toy:Broken"]'
    assert main(["run", "-p", str(root), "--set", f"train.candidates={names}"]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0] == "3 candidates on 2 past windows of 7 steps, 84 forecasts each; less WAPE is better"
    cells = {line.split()[0]: line for line in lines[1:]}
    assert " chosen " in cells["choice_toy:MeanOfWeeks"]
    assert "2 of 2" in cells["choice_toy:MeanOfWeeks"]
    assert " passed " in cells["seasonal_naive"]
    assert "failed: choice_toy:Broken cannot be fitted: ValueError: no fit today" in cells["choice_toy:Broken"]
    assert "1 of the candidates failed" in shown.err
    assert "everloop explain choice_toy:MeanOfWeeks" in shown.err
    assert "everloop tune" not in shown.err
