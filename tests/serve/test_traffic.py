"""Drawing by unit: sticky, keyed, in proportion, and moving no unit without need."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from everloop.core.clock import ManualClock
from everloop.core.errors import NotFoundError, UnavailableError
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.serve.host import Host
from everloop.serve.metrics import Metrics
from everloop.serve.serving import Serving
from everloop.serve.traffic import Split, kept_unit, lay_out
from everloop.store.splits import MILLION, Stage, TrafficSplit, change_split, fitting_weights, start_split

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
NAMES = ("a", "b", "c", "d")


def split(*history: dict[str, float], salt: str = "salt", unit: str = "series") -> Split:
    return Split.compile(TrafficSplit("e", salt, unit, tuple(Stage(weights, NOW, "") for weights in history)))


weights_of_arms = (
    st.lists(st.integers(0, 50), min_size=4, max_size=4)
    .filter(any)
    .map(lambda shares: fitting_weights(dict(zip(NAMES, (each / sum(shares) for each in shares), strict=True))))
)


def owner_by_point(history: list[dict[str, float]]) -> list[tuple[int, int, str]]:
    owned = lay_out(history)
    return sorted((start, end, arm) for arm, intervals in owned.items() for start, end in intervals)


@given(st.lists(weights_of_arms, min_size=1, max_size=6))
def test_the_line_is_covered_once_and_each_release_owns_its_share(history: list[dict[str, float]]) -> None:
    line = owner_by_point(history)
    assert line[0][0] == 0
    assert line[-1][1] == MILLION
    assert all(first[1] == second[0] for first, second in itertools.pairwise(line))
    for name in NAMES:
        assert sum(end - start for start, end, arm in line if arm == name) == round(history[-1][name] * MILLION)


@given(st.lists(weights_of_arms, min_size=2, max_size=6))
def test_a_change_moves_the_least_share_and_none_between_untouched_releases(history: list[dict[str, float]]) -> None:
    before, after = owner_by_point(history[:-1]), owner_by_point(history)
    old, new = history[-2], history[-1]
    moved: dict[tuple[str, str], int] = {}
    for start, end, arm in before:
        for first, last, owner in after:
            overlap = min(end, last) - max(start, first)
            if overlap > 0 and owner != arm:
                moved[arm, owner] = moved.get((arm, owner), 0) + overlap
    least = sum(max(0, round(new[name] * MILLION) - round(old[name] * MILLION)) for name in NAMES)
    assert sum(moved.values()) == least
    for loser, winner in moved:
        assert new[loser] < old[loser]
        assert new[winner] > old[winner]


@given(st.lists(st.integers(0, MILLION), min_size=1, max_size=5))
def test_between_two_releases_a_share_that_is_raised_and_lowered_gives_every_unit_back(shares: list[int]) -> None:
    start = {"a": 0.7, "b": 0.3}
    path = [{"a": 1 - share / MILLION, "b": share / MILLION} for share in sorted(shares)]
    rising = [each for each in path if each["b"] >= 0.3]
    walk = [start, *rising, *reversed(rising), start]
    assert merged(owner_by_point(walk)) == merged(owner_by_point([start]))


def merged(line: list[tuple[int, int, str]]) -> list[tuple[int, str]]:
    """Where the owner changes, and who owns from there on."""
    return [(start, arm) for place, (start, _, arm) in enumerate(line) if place == 0 or line[place - 1][2] != arm]


def test_every_version_draws_the_same() -> None:
    """Workers of two versions answer side by side while one replaces the other; these values never change."""
    history = [
        {"a": 0.6, "b": 0.3, "c": 0.1},
        {"a": 0.5, "b": 0.2, "c": 0.3},
        {"a": 0.55, "b": 0.2, "c": 0.05, "d": 0.2},
    ]
    assert merged(owner_by_point(history)) == [
        (0, "a"), (550_000, "d"), (600_000, "b"), (800_000, "d"), (900_000, "c"), (950_000, "d"),
    ]  # fmt: skip
    drawn = split(*history)
    assert "".join(drawn.assign(f"unit {n}") for n in range(40)) == "daadbdddaababbacadbaadcababbbaaabaaaaabd"


def test_units_stay_where_they_are_and_shares_are_kept() -> None:
    drawn = split({"a": 0.7, "b": 0.2, "c": 0.1})
    units = [f"S{number % 10}/item/{number}" for number in range(20_000)]
    first = [drawn.assign(unit) for unit in units]
    again = split({"a": 0.7, "b": 0.2, "c": 0.1})
    assert first == [again.assign(unit.encode()) for unit in units]
    counts = [first.count(arm) for arm in "abc"]
    assert stats.chisquare(counts, [14_000, 4_000, 2_000]).pvalue > 1e-3


def test_two_salts_draw_independently() -> None:
    one, other = split({"a": 0.5, "b": 0.5}), split({"a": 0.5, "b": 0.5}, salt="pepper" * 30)
    pairs = [(one.assign(str(unit)), other.assign(str(unit))) for unit in range(10_000)]
    table = [[pairs.count((x, y)) for y in "ab"] for x in "ab"]
    assert stats.chi2_contingency(table).pvalue > 1e-3


@pytest.mark.parametrize(
    ("unit", "series", "expected"),
    [
        ("series", ("S0/item%2F1",), "S0/item%2F1"),
        ("series", ({"store_id": "S0", "item_id": "item/1"},), "S0/item%2F1"),
        ("series", ("S1/b", "S0/z", {"store_id": "S0", "item_id": "c"}), "S0/c"),
        ("store_id", ("S1/b", "S0/z"), "S0"),
        ("item_id", ("S0/item%2F1",), "item/1"),
        ("store_id", ("not a series of this project",), None),
        ("user", ("S0/z",), None),
        ("header", ("S0/z",), None),
        ("series", None, None),
        ("series", (), None),
    ],
)
def test_the_unit_of_series(unit: str, series: Any, expected: str | None) -> None:
    assert split({"a": 1.0}, unit=unit).series_unit(("store_id", "item_id"), series) == expected


@pytest.mark.parametrize(
    ("unit", "columns", "expected"),
    [
        ("user", {"user": [17, 18]}, "17"),
        ("user", {"user": [None]}, None),
        ("user", {"age": [3.5]}, None),
        ("user", {"user": []}, None),
        ("series", {"store_id": ["S0"], "item_id": ["item/1"]}, "S0/item%2F1"),
        ("series", {"store_id": ["S0"]}, None),
    ],
)
def test_the_unit_of_rows(unit: str, columns: dict[str, list[Any]], expected: str | None) -> None:
    assert split({"a": 1.0}, unit=unit).row_unit(columns, ("store_id", "item_id")) == expected


def test_a_unit_that_no_database_takes_is_kept_by_its_digest() -> None:
    assert kept_unit("S0/z") == "S0/z"
    for odd in ("x" * 201, "\x00"):
        assert kept_unit(odd).startswith("blake2b:")
        assert len(kept_unit(odd)) <= 200
    assert kept_unit("x" * 201) != kept_unit("x" * 202)


@pytest.fixture
def host(world) -> Host:  # type: ignore[no-untyped-def]
    return Host(world.project, world.store, ManualClock(NOW), Metrics())


def begin(world, **weights: float) -> None:  # type: ignore[no-untyped-def]
    with world.store.write() as tx:
        start_split(tx, weights, unit="series", at=NOW, reason="try", actor="test", salt="salt")


def test_without_a_champion_nobody_answers() -> None:
    with pytest.raises(UnavailableError, match="no release"):
        Serving().choose(unit="x")


def test_the_host_draws_by_the_split_in_force_and_follows_its_weights(world, host: Host) -> None:  # type: ignore[no-untyped-def]
    first = world.champion()
    second = world.add(SeasonalNaiveForecaster(season=14))
    world.deploy("challenger", second)
    host.refresh()
    assert host.serving.choose(unit="x") is host.serving.choose(unit="y")  # nothing is made for each request
    assert host.serving.choose().role == "champion"
    begin(world, **{first: 0.5, second: 0.5})
    host.refresh()
    loaded = host.serving.arms
    units = [f"unit {number}" for number in range(200)]
    drawn = {unit: host.serving.choose(unit=unit) for unit in units}
    roles = [choice.role for choice in drawn.values()]
    assert 60 < roles.count("challenger") < 140
    assert {choice.experiment for choice in drawn.values()} == {host.serving.split.label}  # type: ignore[union-attr]
    assert all(choice.unit == unit and not choice.note for unit, choice in drawn.items())
    with world.store.write() as tx:
        change_split(tx, {first: 0.4, second: 0.6}, at=NOW, reason="more", actor="test")
    assert host.refresh()
    assert host.serving.arms == loaded  # nothing was loaded again
    later = {unit: host.serving.choose(unit=unit) for unit in units}
    moved = [unit for unit in units if later[unit].served is not drawn[unit].served]
    assert 0 < len(moved) < 50
    assert all(later[unit].role == "challenger" for unit in moved)


def test_a_request_without_a_unit_is_drawn_by_itself_and_told_so(world, host: Host) -> None:  # type: ignore[no-untyped-def]
    first = world.champion()
    second = world.add(SeasonalNaiveForecaster(season=14))
    begin(world, **{first: 0.5, second: 0.5})
    host.refresh()
    choices = [host.serving.choose(request_id=str(number)) for number in range(100)]
    assert {choice.role for choice in choices} == {"champion", "challenger"}
    assert {choice.unit for choice in choices} == {None}
    assert all("x-everloop-unit" in choice.note for choice in choices)


def test_a_release_that_is_drawn_and_not_loaded_gives_way_to_the_champion(world, host: Host) -> None:  # type: ignore[no-untyped-def]
    first = world.champion()
    begin(world, **{first: 0.5, "f" * 64: 0.5})
    host.refresh()
    choices = [host.serving.choose(unit=str(number)) for number in range(50)]
    assert {(choice.role, choice.reason) for choice in choices} == {("champion", ""), ("fallback", "not_loaded")}
    assert {choice.served for choice in choices} == {host.serving.champion}


def test_a_caller_may_name_a_release(world, host: Host) -> None:  # type: ignore[no-untyped-def]
    first = world.champion()
    second = world.add(SeasonalNaiveForecaster(season=14))
    host.refresh()
    with pytest.raises(NotFoundError, match="served here"):
        host.serving.choose(named=second)
    with pytest.raises(NotFoundError):
        host.serving.choose(named="challenger")
    world.deploy("challenger", second)
    host.refresh()
    for name in (second, second[:12], "challenger"):
        choice = host.serving.choose(named=name, unit="x")
        assert choice.served is host.serving.challenger
        assert (choice.role, choice.experiment, choice.unit) == ("named", None, None)
    assert host.serving.choose(named=first[:6]).served is host.serving.champion
    for name in ("", second[:3], "g" * 64, "Champion"):
        with pytest.raises(NotFoundError):
            host.serving.choose(named=name)
