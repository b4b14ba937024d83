"""Each gate has its page, and each page its gate."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from everloop.core.settings.training import GateSettings, ValidateSettings

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "reference" / "gates").glob("*.md"))
INDEX = (ROOT / "docs" / "reference" / "gates.md").read_text(encoding="utf-8")
SOURCE = "\n".join(
    path.read_text(encoding="utf-8") for path in sorted((ROOT / "src/everloop/validate/gates").glob("*.py"))
)


def title(page: Path) -> str:
    return page.read_text(encoding="utf-8").split(":", 1)[0].removeprefix("# ")


def test_every_code_has_a_page_and_a_row() -> None:
    codes = set(re.findall(r'"(G_[A-Z]+)"', SOURCE))
    assert {title(page) for page in PAGES} == codes
    assert set(re.findall(r"\[`(G_[A-Z]+)`\]\(gates/", INDEX)) == codes


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_a_reader_needs(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["What it checks", "Method", "Waive", "What to do when it fails"]
    assert f'{title(page)} = "' in text
    assert f"[`{title(page)}`](gates/{page.name})" in INDEX
    row = next(line for line in text.splitlines() if line.startswith("| gate |"))
    for name in re.findall(r"`([a-z_]+?)(?:_80)?`", row):
        assert f'"{name}"' in SOURCE or f'f"{name}_' in SOURCE, name
    for key in re.findall(r"`validate\.gates\.([a-z_]+)`", text):
        assert key in GateSettings.model_fields
    for key in re.findall(r"`validate\.([a-z]+)`", text):
        assert key in ValidateSettings.model_fields
