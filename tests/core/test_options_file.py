"""Options written into everloop.toml: all else stays as it was."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.core.errors import SettingsError
from everloop.core.options_file import options_lines, write_options

FILE = """# mine
[project]
name = "a"  # why

[train.options.lightgbm]  # first
trees = 60  # few

# how it is examined
[validate]
windows = 3
"""


def written(tmp_path: Path, text: str, candidate: str, options: dict[str, object]) -> str:
    path = tmp_path / "everloop.toml"
    path.write_text(text, encoding="utf-8")
    write_options(path, candidate, options)
    return path.read_text(encoding="utf-8")


def test_a_table_is_replaced_and_its_neighbours_keep_their_comments(tmp_path: Path) -> None:
    text = written(tmp_path, FILE, "lightgbm", {"trees": 90, "learning_rate": 0.05})
    table = "[train.options.lightgbm]\nlearning_rate = 0.05\ntrees = 90\n"
    assert text == FILE.replace("[train.options.lightgbm]  # first\ntrees = 60  # few\n", table)
    assert not list(tmp_path.glob(".making-*"))


def test_a_new_table_goes_to_the_end(tmp_path: Path) -> None:
    text = written(tmp_path, FILE, "toy:Mean", {"weeks": 4, "kind": 'a "b"', "deep": True, "none": None})
    assert text.startswith(FILE)
    options = tomllib.loads(text)["train"]["options"]
    assert options == {"lightgbm": {"trees": 60}, "toy:Mean": {"weeks": 4, "kind": 'a "b"', "deep": True}}
    assert written(tmp_path, text, "toy:Mean", {"weeks": 5}).count("toy:Mean") == 1


@pytest.mark.parametrize(
    "table",
    [
        "[train]\noptions.lightgbm.trees = 4\n",
        "[train]\noptions = {lightgbm = {trees = 4}}\n",
        "[train.options.lightgbm.x]\ny = 1\n",
    ],
)
def test_what_cannot_be_replaced_by_lines_is_left_alone_and_told(tmp_path: Path, table: str) -> None:
    with pytest.raises(SettingsError) as caught:
        written(tmp_path, table, "lightgbm", {"trees": 9})
    assert caught.value.code == "settings_write"
    assert "trees = 9" in caught.value.hint
    assert (tmp_path / "everloop.toml").read_text(encoding="utf-8") == table


VALUES = st.one_of(
    st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=9)
)


@given(st.text(min_size=1, max_size=9), st.dictionaries(st.text(min_size=1, max_size=5), VALUES, max_size=4))
def test_lines_mean_what_they_were_made_of(candidate: str, options: dict[str, object]) -> None:
    tree = tomllib.loads("\n".join(options_lines(candidate, options)))
    assert tree["train"]["options"][candidate] == options
