"""LightGBM models of rows, asked through the C library: no pandas, no scikit-learn, no ``import lightgbm``.

What the Python package adds to its library is done here alike: pandas' categories become their codes, and a
classifier's probabilities become labels.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError
from everloop.models.booster import Booster
from everloop.models.tabular.columns import MatrixMaker
from everloop.models.tabular.mlmodel import MlModel
from everloop.models.tabular.pickles import load_estimator
from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.recognized import (
    NATIVE_FOLDER,
    Recognized,
    as_pyfunc,
    label_outputs,
    main_name,
    named_columns,
    value_output,
)
from everloop.models.tabular.signature import Column, Output, Signature

__all__ = ["BoosterPredictor", "category_places", "header_of", "load", "look"]

_CATEGORIES = "pandas_categorical:"


class BoosterPredictor:
    """A LightGBM model of rows; threads may share it.

    Args:
        text: the model as LightGBM writes it.
        signature: what it takes and gives. Where the main output has classes, the model answers with labels, and
            the output ``probability`` holds each class's probability.

    Raises:
        ModelError: the text is no model, or the signature does not fit it.
    """

    flavor = "lightgbm"
    is_exact_in_batch = True

    def __init__(self, text: str, signature: Signature) -> None:
        self.signature = signature
        self._booster = Booster(text)
        header = header_of(text)
        self._maker = MatrixMaker(signature, category_places(header, signature))
        self._maker.check_width(self._booster.features)
        self._main = signature.outputs[0]
        self._labels = np.array(self._main.classes, dtype=self._main.dtype) if self._main.classes else None
        self._probability = signature.outputs[1].name if len(signature.outputs) > 1 else ""

    def predict(
        self, rows: Rows, parameters: Mapping[str, Any], outputs: Collection[str] = ()
    ) -> dict[str, NDArray[Any]]:
        """See :class:`everloop.models.tabular.predictor.Predictor`; LightGBM takes no parameters."""
        values = self._booster.predict(self._maker.make(rows))
        if self._labels is None:
            return {self._main.name: values}
        if values.ndim == 1:
            values = np.column_stack((1.0 - values, values))
        found: dict[str, NDArray[Any]] = {}
        if not outputs or self._main.name in outputs:
            found[self._main.name] = self._labels[values.argmax(axis=1)]
        if not outputs or self._probability in outputs:
            found[self._probability] = values
        return found

    def hasten(self, examples: Rows | None) -> str:
        """See :class:`everloop.models.tabular.predictor.Hasting`: the trees are compiled."""
        from everloop.models.compiled.trial import hasten  # what no server needs before it answers

        return hasten(self._booster, () if examples is None else (self._maker.make(examples),)).note


def load(folder: Path, signature: Signature, options: Mapping[str, Any]) -> BoosterPredictor:
    """The model in the file ``options["file"]`` of a bundle."""
    return BoosterPredictor((folder / options["file"]).read_text(encoding="utf-8"), signature)


def look(folder: Path, mlmodel: MlModel, *, allow_pickle: bool) -> Recognized:
    """How a model of this flavor is loaded; an estimator's trees are taken out of its pickle, which is then not read.

    Raises:
        ModelError: the file is damaged, or is a pickle that may not be read.
    """
    flavor = mlmodel.flavors["lightgbm"]
    file = str(flavor["data"])
    name = main_name(mlmodel)
    if str(flavor.get("model_class", "lightgbm.basic.Booster")) == "lightgbm.basic.Booster":
        text = Booster((folder / file).read_text(encoding="utf-8")).text
        outputs: tuple[Output, ...] = (value_output(name, int(header_of(text).get("num_class", "1"))),)
    else:
        estimator = load_estimator(folder / file, flavor, allow_pickle=allow_pickle)
        if callable(estimator.objective):
            return as_pyfunc(mlmodel)  # what its scores mean only its own code knows
        text = estimator.booster_.model_to_string()
        file = f"{NATIVE_FOLDER}/model.txt"
        (folder / NATIVE_FOLDER).mkdir(exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")
        classes = getattr(estimator, "classes_", None)
        outputs = (value_output(name),) if classes is None else label_outputs(name, classes)
    given = mlmodel.signature
    columns = given.columns if given else _own_columns(header_of(text))
    signature = msgspec.structs.replace(given or Signature(), columns=columns, outputs=outputs)
    BoosterPredictor(text, signature)
    return Recognized("lightgbm", signature, {"file": file})


def _own_columns(header: Mapping[str, str]) -> tuple[Column, ...]:
    """The model's features as columns: numbers, or texts where their categories are texts."""
    columns = named_columns(header["feature_names"].split(" "))
    texts = {
        place
        for place, values in category_places(header, Signature(columns)).items()
        if any(isinstance(value, str) for value in values)
    }
    return tuple(
        msgspec.structs.replace(column, type="string") if place in texts else column
        for place, column in enumerate(columns)
    )


def header_of(text: str) -> dict[str, str]:
    r"""The fields at the top of a model's text, and ``pandas_categorical`` from its end.

    >>> header_of("tree\nversion=v4\nfeature_names=a b\n\nTree=0\n")
    {'version': 'v4', 'feature_names': 'a b'}
    """
    top, _, _ = text.partition("\nTree=")
    header = {name: value for name, equals, value in (line.partition("=") for line in top.splitlines()) if equals}
    start = text.rfind(_CATEGORIES)
    if start >= 0:
        header["pandas_categorical"] = text[start + len(_CATEGORIES) :].strip()
    return header


def category_places(header: Mapping[str, str], signature: Signature) -> dict[int, list[Any]]:
    """The categories of each column that pandas held as a category when the model was trained, by its place.

    The model's text lists them without names, in the columns' order. They belong to the columns of texts, or, where
    the categories are numbers, to the columns that the trees split by category.

    Raises:
        ModelError: it cannot be told to which columns they belong.
    """
    lists: list[list[Any]] | None = json.loads(header.get("pandas_categorical") or "null")
    if not lists:
        return {}
    texts = [place for place, column in enumerate(signature.columns) if column.type == "string"]
    infos = header.get("feature_infos", "").split(" ")
    by_trees = [place for place, info in enumerate(infos) if info and info[0] not in "[n" and place not in texts]
    unused = [place for place, info in enumerate(infos) if info == "none" and place not in texts]
    for places in (texts, sorted(texts + by_trees), sorted(texts + by_trees + unused)):
        if len(places) == len(lists):
            return dict(zip(places, lists, strict=True))
    raise ModelError(
        "booster_categories",
        f"the model was trained with {len(lists)} categorical columns, and its signature has {len(texts)} of texts",
        hint="log the model with the signature of its training data, with categories of texts",
    )
