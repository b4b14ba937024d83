"""Models trained elsewhere become releases: one for one model, sound, and loadable by plain MLflow."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import lightgbm
import numpy as np
import pytest

from adopting import CLOCK, adopt, frame, project_at, saved, trained
from everloop.core.errors import DataError, IntegrityError, ModelError, NotFoundError, RequestError, UsageError
from everloop.core.project import Project, parse_settings
from everloop.models.tabular.example import rows_of
from everloop.models.tabular.signature import Column
from everloop.release.adopt import Partition
from everloop.release.bundle import examples_of, is_pickle_trusted, load_predictor_of, open_release
from everloop.release.promotion import promote
from everloop.store.deployments import find_release, in_role
from everloop.store.engine import Store, open_store
from everloop.store.events import list_events
from models.tabular.oracle import ask_pyfunc, numbers, save, shop_rows


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return project_at(tmp_path / "shop")


@pytest.fixture
def store(project: Project) -> Iterator[Store]:
    opened = open_store(project.store_url, fsync=False)
    yield opened
    opened.close()


def test_an_adopted_model_answers_as_mlflow_and_is_promoted(project: Project, store: Store, tmp_path: Path) -> None:
    source = saved(tmp_path / "model", input_example=frame(3))
    release = adopt(project, store, source, reason="spring")
    assert open_release(release.folder, digest=release.digest) == release
    assert release.manifest.task == "regression"
    assert not release.manifest.is_pickled
    example = examples_of(release)
    assert set(example) == {"price", "stock", "age"}
    predictor = load_predictor_of(release)
    found = predictor.predict(rows_of(predictor.signature, example), {})["prediction"]
    np.testing.assert_array_equal(found, trained().predict(frame(3)))
    np.testing.assert_array_equal(ask_pyfunc(release.folder, frame(50, 7)), ask_pyfunc(source, frame(50, 7)))
    assert open_release(release.folder, digest=release.digest) == release  # MLflow has left nothing behind
    promoted = promote(project, store, CLOCK, release.digest[:12], reason="", actor="test")
    assert promoted.warning == ""
    with store.read() as tx:
        assert in_role(tx, "champion") == release.digest
        assert [event.kind for event in list_events(tx, limit=9)] == ["released", "promoted"]
        assert "spring" in list_events(tx, limit=9)[0].message


def test_the_same_model_is_the_same_release(project: Project, store: Store, tmp_path: Path) -> None:
    first = adopt(project, store, saved(tmp_path / "a"))
    CLOCK.advance(timedelta(minutes=1))
    again = adopt(project, store, saved(tmp_path / "b"))  # saved anew: MLflow gives it another id and instant
    assert again.digest == first.digest
    other = adopt(project, store, saved(tmp_path / "c", seed=1))
    assert other.digest != first.digest
    assert len([path for path in project.releases.iterdir() if not path.name.startswith(".")]) == 2
    with store.read() as tx:
        assert len(list_events(tx, kinds=("released",), limit=9)) == 2


def test_a_run_and_a_registered_model_are_fetched(project: Project, store: Store, tmp_path: Path) -> None:
    from everloop.experiment.mlflow_client import connect, guarded

    folder = saved(tmp_path / "model")
    client = connect(project.tracking_uri)
    with guarded(project.tracking_uri):
        experiment = client.create_experiment("elsewhere", artifact_location=(tmp_path / "artifacts").as_uri())
        run = client.create_run(experiment).info
        client.log_artifacts(run.run_id, str(folder), "model")
        client.create_registered_model("prices")
        version = client.create_model_version("prices", f"{run.artifact_uri}/model", run.run_id)
        client.set_registered_model_alias("prices", "best", version.version)
    wanted = adopt(project, store, folder).digest
    for source in (f"runs:/{run.run_id}/model", "models:/prices/1", "models:/prices@best"):
        assert adopt(project, store, source).digest == wanted
    for source in (f"runs:/{run.run_id}/nothing", "models:/prices/9", "models:/unknown@best"):
        with pytest.raises(NotFoundError):
            adopt(project, store, source)


def test_a_models_own_file_takes_its_columns_from_the_model_and_an_example(
    project: Project, store: Store, tmp_path: Path
) -> None:
    model = trained()
    path = tmp_path / "model.txt"
    model.booster_.save_model(path)
    plain = adopt(project, store, path)
    assert plain.manifest.signature is not None
    assert plain.manifest.signature.columns == tuple(Column(name, "double") for name in ("price", "stock", "age"))
    example = tmp_path / "rows.csv"
    example.write_text("age,price,stock\n1.5,2.0,3\n2.5,,4\n")
    typed = adopt(project, store, path, example=example)
    assert typed.manifest.signature is not None
    assert [column.type for column in typed.manifest.signature.columns] == ["double", "long", "double"]
    assert examples_of(typed)["price"] == [2.0, None]
    fresh = frame(20, 5).astype({"stock": "float64"})
    np.testing.assert_array_equal(ask_pyfunc(plain.folder, fresh), model.predict(fresh))


def test_features_without_names_take_those_of_the_example(project: Project, store: Store, tmp_path: Path) -> None:
    rows = numbers(200, 2)
    path, example = tmp_path / "model.txt", tmp_path / "rows.json"
    lightgbm.train({"verbosity": -1}, lightgbm.Dataset(rows, rows[:, 0] > 0), 2).save_model(path)
    example.write_text('[{"price": 1.5, "open": true}, {"price": 2, "open": false}]')
    release = adopt(project, store, path, example=example)
    assert release.manifest.signature is not None
    assert release.manifest.signature.columns == (Column("price", "double"), Column("open", "boolean"))
    example.write_text('[{"price": 1.5}]')
    with pytest.raises(UsageError, match="no column"):
        adopt(project, store, path, example=example)
    example.write_text("[]")
    with pytest.raises(DataError):
        adopt(project, store, path, example=example)


def test_text_categories_of_a_models_own_file_are_columns_of_texts(
    project: Project, store: Store, tmp_path: Path
) -> None:
    rows = shop_rows(300).astype({"shop": "category"})
    model = lightgbm.LGBMRegressor(n_estimators=9, n_jobs=1, verbosity=-1).fit(rows, (rows["shop"] == "east") * 1.0)
    path = tmp_path / "model.txt"
    model.booster_.save_model(path)
    release = adopt(project, store, path)
    assert release.manifest.signature is not None
    assert [column.type for column in release.manifest.signature.columns] == ["double", "double", "string", "double"]
    fresh = shop_rows(40, seed=3).astype({"people": "float64", "open": "float64"})
    found = ask_pyfunc(release.folder, fresh)
    np.testing.assert_array_equal(found, model.predict(fresh.astype({"shop": rows["shop"].dtype})))


def test_models_by_the_value_of_a_column(project: Project, store: Store, tmp_path: Path) -> None:
    sources = {name: str(saved(tmp_path / name, seed=place)) for place, name in enumerate(("food", "toys"))}
    release = adopt(project, store, Partition("dept", sources))
    predictor = load_predictor_of(release)
    assert predictor.flavor == "partitioned"
    assert predictor.is_exact_in_batch
    rows = frame(60, 9).assign(dept=np.where(np.arange(60) % 3 == 0, "toys", "food"))
    expected = np.where(rows["dept"] == "toys", trained(1).predict(rows[list(frame(1))]), 0.0)
    expected += np.where(rows["dept"] == "food", trained(0).predict(rows[list(frame(1))]), 0.0)
    columns = {name: rows[name].tolist() for name in rows}
    asked = rows_of(predictor.signature, columns)
    np.testing.assert_array_equal(predictor.predict(asked, {})["prediction"], expected)
    for place in range(6):
        one = rows_of(predictor.signature, {name: values[place : place + 1] for name, values in columns.items()})
        np.testing.assert_array_equal(predictor.predict(one, {})["prediction"], expected[place : place + 1])
    np.testing.assert_array_equal(ask_pyfunc(release.folder, rows), expected)
    with pytest.raises(RequestError, match="no model for dept = 'toy'") as caught:
        predictor.predict(rows_of(predictor.signature, columns | {"dept": ["toy"] * 60}), {})
    assert caught.value.hint == "did you mean 'toys'?"
    assert caught.value.path == "dept"
    assert adopt(project, store, Partition("dept", dict(reversed(sources.items())))).digest == release.digest


def test_a_numeric_column_of_the_models_own_tells_them_apart(project: Project, store: Store, tmp_path: Path) -> None:
    rows = frame().assign(store=1.0)
    paths = {}
    for number in ("1", "2"):
        model = lightgbm.LGBMRegressor(n_estimators=3, n_jobs=1, verbosity=-1)
        model.fit(rows, rows["price"].fillna(0) * int(number))
        paths[number] = str(save("lightgbm", model.booster_, tmp_path / number, rows, np.zeros(200)))
    predictor = load_predictor_of(adopt(project, store, Partition("store", paths)))
    mixed = rows.assign(store=np.arange(200) % 2 + 1.0)
    asked = rows_of(predictor.signature, {name: mixed[name].tolist() for name in mixed})
    assert asked.matrix is not None
    found = predictor.predict(asked, {})["prediction"]
    for number, path in paths.items():
        kept = (mixed["store"] == float(number)).to_numpy()
        np.testing.assert_array_equal(found[kept], ask_pyfunc(Path(path), mixed)[kept])


def test_models_that_answer_differently_are_no_one_release(project: Project, store: Store, tmp_path: Path) -> None:
    rows = frame()
    labels = lightgbm.LGBMClassifier(n_estimators=2, n_jobs=1, verbosity=-1).fit(rows, rows["price"] > 0)
    other = save("lightgbm", labels, tmp_path / "labels", rows, labels.predict(rows))
    with pytest.raises(ModelError, match="differs"):
        adopt(project, store, Partition("dept", {"a": str(saved(tmp_path / "m")), "b": str(other)}))
    assert list(project.releases.iterdir()) == []


def test_a_pickle_needs_leave(project: Project, store: Store, tmp_path: Path) -> None:
    rows = frame()
    source = save("lightgbm", trained(), tmp_path / "m", rows, np.zeros(200), serialization_format="cloudpickle")
    with pytest.raises(ModelError) as caught:
        adopt(project, store, source)
    assert caught.value.code == "pickle_refused"
    trusting = project_at(project.root, f"release.trusted_pickles=['{source}']")
    release = adopt(trusting, store, source)
    assert not release.manifest.is_pickled  # its trees were taken out: nothing is unpickled any more
    by_digest = project_at(project.root, f"release.trusted_pickles=['{release.manifest.model_digest[:12]}']")
    assert adopt(by_digest, store, source).digest == release.digest
    assert adopt(project, store, source, allow_pickle=True).digest == release.digest
    with pytest.raises(ModelError):
        adopt(project_at(project.root, "release.trusted_pickles=['']"), store, source)


def test_a_bundle_that_was_only_copied_here_is_not_known(project: Project, store: Store, tmp_path: Path) -> None:
    release = adopt(project, store, saved(tmp_path / "m"))
    other = project_at(tmp_path / "other")
    shutil.copytree(release.folder, other.releases / release.digest)
    strange = open_store(other.store_url, fsync=False)
    try:
        with strange.read() as tx, pytest.raises(NotFoundError):
            find_release(tx, release.digest)
        with pytest.raises(NotFoundError):
            promote(other, strange, CLOCK, release.digest, reason="", actor="test")
    finally:
        strange.close()


def test_a_pickled_release_is_trusted_by_its_digest_alone(project: Project, store: Store, tmp_path: Path) -> None:
    ridge = pytest.importorskip("sklearn.linear_model").Ridge()
    rows = frame().fillna(0.0)
    source = save("sklearn", ridge.fit(rows, rows["price"]), tmp_path / "m", rows, np.zeros(200))
    with pytest.raises(ModelError):
        adopt(project, store, source)
    release = adopt(project, store, source, allow_pickle=True, example=None)
    assert release.manifest.is_pickled
    with pytest.raises(ModelError):
        load_predictor_of(release)
    assert load_predictor_of(release, allow_pickle=True).flavor == "sklearn"
    assert not is_pickle_trusted(project, release)
    for name, is_trusted in ((release.digest[:12], True), (release.digest[:11], False), ("0" * 64, False)):
        assert is_pickle_trusted(project_at(project.root, f"release.trusted_pickles=['{name}']"), release) == is_trusted
    np.testing.assert_allclose(ask_pyfunc(release.folder, rows), ridge.predict(rows), rtol=1e-10)


@pytest.mark.parametrize("damage", ["model.lgb", "MLmodel", "manifest.json"])
def test_a_changed_bundle_is_refused_and_adopting_again_mends_it(
    project: Project, store: Store, tmp_path: Path, damage: str
) -> None:
    source = saved(tmp_path / "m")
    release = adopt(project, store, source)
    path = release.folder / damage
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(IntegrityError):
        promote(project, store, CLOCK, release.digest, reason="", actor="test")
    CLOCK.advance(timedelta(seconds=1))
    assert adopt(project, store, source).digest != release.digest


def test_what_cannot_be_adopted_says_why(project: Project, store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.bin").touch()
    (tmp_path / "model.txt").write_text("nothing")
    for name, kind in (("nowhere", NotFoundError), ("empty", NotFoundError), ("model.bin", UsageError)):
        with pytest.raises(kind):
            adopt(project, store, tmp_path / name)
    with pytest.raises(ModelError):
        adopt(project, store, tmp_path / "model.txt")
    release = adopt(project, store, saved(tmp_path / "m"))
    with pytest.raises(UsageError, match="a release already"):
        adopt(project, store, release.folder)
    tree = {"project": {"name": "x"}, "data": {"source": "a.csv", "series": ["a"], "time": "t", "target": "y"}}
    forecasting = Project(root=project.root, settings=parse_settings(tree), home=project.home)
    with pytest.raises(UsageError, match="project of forecasts"):
        adopt(forecasting, store, tmp_path / "m")
    assert [path for path in project.releases.iterdir() if path.name.startswith(".")] == []
