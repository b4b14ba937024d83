"""The reference pages follow from the code, and no link of the documentation leads nowhere."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from everloop.cli.commands import COMMANDS
from everloop.core.project import parse_settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "scripts" / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its records look up their own module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["settings.md", "commands.md", "errors.md", "http.md", "server-metrics.md"])
def test_the_page_is_up_to_date(reference: ModuleType, page: str) -> None:
    written = (DOCS / "reference" / page).read_text(encoding="utf-8")
    assert written == reference.pages()[page], "run: make docs"


def test_every_command_is_described() -> None:
    text = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    assert [each.name for each in COMMANDS if f"## everloop {each.name}\n" not in text] == []


def test_error_codes_are_found_where_they_are_raised(reference: ModuleType) -> None:
    found = {(each.kind, each.code, each.where) for each in reference.find_raised()}
    assert ("ConflictError", "lease_held", "store/leases") in found
    # raised through a function that is given the code
    assert ("RequestError", "outcome_time", "serve/outcomes") in found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{target} is not there"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{path.name} has no heading #{anchor}"


def test_every_decision_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (DOCS / "decisions").glob("*.md") if f"decisions/{page.name}" not in index] == []


TOML = [
    pytest.param(block, id=f"{page.stem} {number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```toml\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S))
]


@pytest.mark.parametrize("block", TOML)
def test_settings_in_the_text_are_settings(block: str) -> None:
    tree = tomllib.loads(block)
    tree["project"] = {"name": "x"} | tree.get("project", {})
    tree["data"] = {"source": "x.csv", "series": ["s"], "time": "t", "target": "y"} | tree.get("data", {})
    parse_settings(tree)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
