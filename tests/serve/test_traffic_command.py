"""``everloop traffic``, as a person calls it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from everloop.cli.main import main
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.store.events import list_events


class Shell:
    """Calls the command in a world with a champion and a challenger."""

    def __init__(self, world, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
        self.world = world
        self.capsys = capsys
        self.champion = world.champion()
        self.challenger = world.add(SeasonalNaiveForecaster(season=14))
        world.deploy("challenger", self.challenger)

    def __call__(self, *words: str) -> tuple[int, str, str]:
        status = main(["traffic", "--project", str(self.world.project.root), *words])
        seen = self.capsys.readouterr()
        return status, seen.out, seen.err

    def json(self, *words: str) -> Any:
        status, out, err = self(*words, "--json")
        assert status == 0, err
        return json.loads(out)


@pytest.fixture
def shell(world, capsys: pytest.CaptureFixture[str]) -> Shell:  # type: ignore[no-untyped-def]
    return Shell(world, capsys)


def test_set_show_change_and_end(shell: Shell) -> None:
    assert shell.json() is None
    status, out, err = shell()
    assert (status, out) == (0, "")
    assert "the champion answers all" in err
    made = shell.json("set", "champion=0.9", "challenger=0.1", "--unit", "store_id", "--reason", "canary")
    assert made["unit"] == "store_id"
    assert "salt" not in made
    changed = shell.json("set", "champion=0.5", f"{shell.challenger[:10]}=0.5")
    assert changed["experiment"] == made["experiment"]
    shown = shell.json()
    assert {arm["release"]: arm["weight"] for arm in shown["arms"]} == {shell.champion: 0.5, shell.challenger: 0.5}
    assert shown["roles"] == {"champion": shell.champion, "challenger": shell.challenger}
    assert len(shown["stages"]) == 2
    status, out, err = shell("show")
    assert status == 0
    assert shell.challenger[:12] in out
    assert "by store_id" in err
    assert shell.json("end", "--reason", "enough")["experiment"] == made["experiment"]
    assert shell.json("end") is None
    assert "ended at" in shell("show")[2]
    with shell.world.store.read() as tx:
        events = list_events(tx)
    assert [(event.kind, event.evidence["reason"]) for event in events] == [
        ("split_started", "canary"),
        ("split_changed", "asked for"),
        ("split_ended", "enough"),
    ]


def test_a_dry_run_changes_nothing(shell: Shell) -> None:
    status, _, err = shell("set", "champion=0.9", "challenger=0.1", "--dry-run")
    assert status == 0
    assert "would begin a split" in err
    assert shell.json() is None
    shell("set", "champion=0.9", "challenger=0.1")
    assert "would change" in shell("set", "champion=0.8", "challenger=0.2", "--dry-run")[2]
    assert "would not be split" in shell("end", "--dry-run")[2]
    assert shell.json()["arms"][0]["weight"] in (0.9, 0.1)
    assert shell.json()["ended_at"] is None


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("set",), 2, "no shares"),
        (("set", "champion"), 2, "no release and share"),
        (("set", "champion=x"), 2, "no release and share"),
        (("set", "champion=0.5", "champion=0.5"), 2, "no release and share"),
        (("set", "champion=0.5"), 2, "sum to"),
        (("set", "champion=0.5", "feedbeef=0.5"), 3, "no release"),
        (("show", "champion=1"), 2, "takes no shares"),
    ],
)
def test_what_does_not_fit_is_refused(shell: Shell, words: tuple[str, ...], status: int, said: str) -> None:
    found, _, err = shell(*words)
    assert found == status, err
    assert said in err
    assert shell.json() is None


def test_one_release_by_two_names_is_refused(shell: Shell) -> None:
    status, _, err = shell("set", "champion=0.5", f"{shell.champion[:12]}=0.5")
    assert status == 2
    assert "again" in err


def test_a_bundle_that_was_changed_gets_no_share(shell: Shell) -> None:
    array = next((shell.world.project.releases / shell.challenger / "model").rglob("*.npy"))
    array.write_bytes(array.read_bytes()[:-1])
    assert shell("set", "champion=0.9", "challenger=0.1")[0] == 9
    assert shell.json() is None


def test_another_unit_needs_another_split(shell: Shell) -> None:
    shell("set", "champion=0.9", "challenger=0.1")
    status, _, err = shell("set", "champion=0.8", "challenger=0.2", "--unit", "store_id")
    assert status == 2
    assert "draws by 'series'" in err
