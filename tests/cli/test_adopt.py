"""``everloop adopt``, and what ``release`` and ``promote`` say of an adopted model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adopting import saved
from everloop.cli.main import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "everloop.toml").write_text('[project]\nname = "prices"\ntask = "regression"\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_adopt_promote_show_and_sign(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(folder / "model")
    assert main(["adopt", "model", "--json"]) == 0
    adopted = json.loads(capsys.readouterr().out)
    digest = adopted["release"]
    assert adopted["manifest"]["flavor"] == "lightgbm"
    assert main(["adopt", "model"]) == 0
    told = capsys.readouterr()
    assert digest in told.out
    assert f"everloop promote {digest[:12]}" in told.err
    assert main(["promote", digest[:12]]) == 0
    assert "is champion" in capsys.readouterr().err
    assert main(["release"]) == 0
    assert digest[:12] in capsys.readouterr().out
    assert main(["release", "champion"]) == 0
    shown = capsys.readouterr().out
    assert "price, stock, age" in shown
    assert "prediction (float64)" in shown
    assert main(["release", "--new-key", "key"]) == 0
    assert main(["release", "champion", "--sign", "key", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["release"] == digest
    assert (folder / ".everloop" / "releases" / digest / "signature.json").is_file()


def test_several_models_and_wrong_ways_to_name_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place, name in enumerate(("food", "toys")):
        saved(folder / name, seed=place)
    assert main(["adopt", "--by", "dept", "F=food", "T=toys", "--json"]) == 0
    options = json.loads(capsys.readouterr().out)["manifest"]["options"]
    assert [part["value"] for part in options["parts"]] == ["F", "T"]
    for wrong in (["food", "toys"], ["--by", "dept", "food"], ["--by", "dept", "F=food", "F=toys"]):
        assert main(["adopt", *wrong]) == 2
        assert "VALUE=SOURCE" in capsys.readouterr().err
    assert main(["adopt", "nowhere"]) == 3
    assert main(["release", "--sign", "key"]) == 2
