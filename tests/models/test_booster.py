"""The C library alone predicts what LightGBM's Python package predicts."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import lightgbm
import numpy as np
import pytest

from everloop.core.errors import ModelError
from everloop.models.booster import Booster


@pytest.fixture(scope="module")
def trained() -> tuple[lightgbm.Booster, np.ndarray]:
    random = np.random.default_rng(0)
    rows = random.normal(size=(800, 6)).astype(np.float32)
    rows[random.random(rows.shape) < 0.1] = np.nan
    rows[:, 5] = random.integers(0, 5, 800)
    target = np.exp(np.nan_to_num(rows[:, 0])) * (rows[:, 5] == 2) + random.random(800)
    options = {"objective": "tweedie", "verbosity": -1, "num_threads": 1, "seed": 1}
    return lightgbm.train(options, lightgbm.Dataset(rows, target, categorical_feature=[5]), 30), rows


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("raw", [True, False])
def test_predictions_equal_the_packages(trained: tuple[lightgbm.Booster, np.ndarray], kind: type, raw: bool) -> None:
    peer, rows = trained
    ours = Booster(peer.model_to_string()).predict(rows.astype(kind), raw=raw)
    np.testing.assert_array_equal(ours, peer.predict(rows.astype(kind), raw_score=raw))


def test_one_row_has_the_same_bits_as_many_and_threads_do_not_matter(
    trained: tuple[lightgbm.Booster, np.ndarray],
) -> None:
    booster, rows = Booster(trained[0].model_to_string()), trained[1]
    everything = booster.predict(rows)
    np.testing.assert_array_equal(booster.predict(rows, threads=2), everything)
    np.testing.assert_array_equal(
        np.concatenate([booster.predict(rows[i : i + 1]) for i in range(50)]), everything[:50]
    )
    fortran = np.asfortranarray(rows)
    np.testing.assert_array_equal(booster.predict(fortran), everything)
    assert booster.predict(rows[:0]).shape == (0,)


def test_threads_share_a_booster(trained: tuple[lightgbm.Booster, np.ndarray]) -> None:
    booster, rows = Booster(trained[0].model_to_string()), trained[1]
    expected = booster.predict(rows)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: booster.predict(rows), range(64)):
            np.testing.assert_array_equal(found, expected)


def test_another_number_of_features_is_an_error(trained: tuple[lightgbm.Booster, np.ndarray]) -> None:
    booster, rows = Booster(trained[0].model_to_string()), trained[1]
    with pytest.raises(ModelError, match="takes 6 features") as caught:
        booster.predict(rows[:, :5])
    assert caught.value.code == "booster_features"


@pytest.mark.parametrize("text", ["", "not a model", "tree\nversion=v4\n"])
def test_a_damaged_text_is_an_error(text: str) -> None:
    with pytest.raises(ModelError):
        Booster(text)


def test_a_text_cut_short_is_an_error(trained: tuple[lightgbm.Booster, np.ndarray]) -> None:
    text = trained[0].model_to_string()
    with pytest.raises(ModelError):
        Booster(text[: len(text) // 2])


def test_no_python_package_is_imported(trained: tuple[lightgbm.Booster, np.ndarray]) -> None:
    code = (
        "import sys, numpy as np\n"
        "from everloop.models.booster import Booster\n"
        "Booster(sys.stdin.read()).predict(np.zeros((1, 6)))\n"
        "print([name for name in ('lightgbm', 'pandas', 'sklearn', 'scipy') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=trained[0].model_to_string(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("given", "expected"), [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")])
def test_waiting_threads_sleep_unless_told_otherwise(given: dict[str, str], expected: str) -> None:
    plain = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    load = "from everloop.models.booster import load_library; load_library()"
    code = f"import os; {load}; print(os.environ['OMP_WAIT_POLICY'])"
    done = subprocess.run([sys.executable, "-c", code], env=plain | given, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


@pytest.mark.parametrize("count", [1, 2, 16, 17])
def test_several_outputs_have_the_packages_bits(count: int) -> None:
    random = np.random.default_rng(3)
    rows = random.normal(size=(300, 4))
    options = {"objective": "multiclass", "num_class": 3, "verbosity": -1, "num_threads": 1}
    peer = lightgbm.train(options, lightgbm.Dataset(rows, random.integers(0, 3, 300)), 12)
    ours = Booster(peer.model_to_string())
    assert ours.outputs == 3
    np.testing.assert_array_equal(ours.predict(rows[:count]), peer.predict(rows)[:count])
    np.testing.assert_array_equal(ours.predict(rows[:count], raw=True), peer.predict(rows, raw_score=True)[:count])
