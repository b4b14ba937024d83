"""ONNX models of rows, asked through ONNX Runtime with one thread."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError, UnavailableError
from everloop.models.tabular.columns import MatrixMaker
from everloop.models.tabular.mlmodel import MlModel
from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.recognized import Recognized
from everloop.models.tabular.signature import Column, Output, Signature, Tensor

__all__ = ["OnnxPredictor", "load", "look"]

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(string)": "object",
    "tensor(bool)": "bool",
    **{f"tensor({name})": name for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
}
_COLUMN_TYPES = {
    "float32": "float",
    "float64": "double",
    "float16": "float",
    "object": "string",
    "bool": "boolean",
    "int64": "long",
}


class OnnxPredictor:
    """A session of ONNX Runtime; threads may share it.

    Args:
        session: the session.
        signature: what it takes and gives, with the session's own names of outputs.

    Raises:
        ModelError: the signature does not fit the model.
    """

    flavor = "onnx"
    is_exact_in_batch = False

    def __init__(self, session: Any, signature: Signature) -> None:
        self.signature = signature
        self._session = session
        self._inputs = [(each.name, _dtype_of(each.name, each.type), each.shape) for each in session.get_inputs()]
        self._names = [each.name for each in session.get_outputs()]
        self._matrix = MatrixMaker(signature) if signature.columns and len(self._inputs) == 1 else None
        own = [name for name, _, _ in self._inputs]
        known = [column.name for column in signature.columns] or [tensor.name for tensor in signature.tensors]
        missing = [name for name in own if name not in known] if len(own) > 1 else []
        if missing:
            raise ModelError(
                "signature_columns",
                f"the model takes {missing[0]!r}, which its signature does not name",
                hint="log the model with the signature of its inputs",
                path=missing[0],
            )
        size = self._inputs[0][2][0] if self._inputs[0][2] else None
        self._is_single = size == 1

    def predict(
        self, rows: Rows, parameters: Mapping[str, Any], outputs: Collection[str] = ()
    ) -> dict[str, NDArray[Any]]:
        """See :class:`everloop.models.tabular.predictor.Predictor`; parameters are not taken."""
        feed = self._feed(rows)
        names = [name for name in self._names if not outputs or name in outputs]
        if self._is_single and rows.n > 1:  # made for one row at a time
            alone = [self._run(names, {key: values[i : i + 1] for key, values in feed.items()}) for i in range(rows.n)]
            answers = [np.concatenate(each) for each in zip(*alone, strict=True)]
        else:
            answers = self._run(names, feed)
        if self.signature.columns:  # one value a row, as a frame's column would hold it
            answers = [each[:, 0] if each.ndim == 2 and each.shape[1] == 1 else each for each in answers]
        return dict(zip(names, answers, strict=True))

    def _feed(self, rows: Rows) -> dict[str, NDArray[Any]]:
        if self._matrix is not None:
            name, dtype, _ = self._inputs[0]
            return {name: self._matrix.make(rows).astype(dtype)}
        feed = {}
        for name, dtype, shape in self._inputs:
            if self.signature.tensors:
                single = len(self._inputs) == 1
                values = next(iter(rows.tensors.values())) if single else rows.tensors[name]
            elif rows.matrix is not None:
                place = next(i for i, column in enumerate(self.signature.columns) if column.name == name)
                values = rows.matrix[:, place]
            else:
                values = rows.columns[name]
            if values.ndim == 1 and len(shape) == 2:
                values = values.reshape(-1, 1)
            feed[name] = values.astype(dtype, copy=False)
        return feed

    def _run(self, names: list[str], feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        try:
            return [_array(each) for each in self._session.run(names, feed)]
        except Exception as error:  # ONNX Runtime's own errors have no class in common
            raise ModelError(
                "model_failed",
                f"the model failed: {str(error).splitlines()[0]}",
                hint="does it take such rows? missing texts and sizes of tensors are up to the model",
            ) from error


def load(folder: Path, signature: Signature, options: Mapping[str, Any]) -> OnnxPredictor:
    """The model in the file ``options["file"]`` of a bundle."""
    return OnnxPredictor(_open(folder / options["file"]), signature)


def look(folder: Path, mlmodel: MlModel, *, allow_pickle: bool) -> Recognized:
    """How a model of this flavor is loaded.

    Raises:
        ModelError: the file is damaged, or takes or gives what is no tensor.
        UnavailableError: ONNX Runtime is not installed.
    """
    file = str(mlmodel.flavors["onnx"]["data"])
    session = _open(folder / file)
    given = mlmodel.signature
    signature = given if given and (given.columns or given.tensors) else _inputs_of(session)
    signature = msgspec.structs.replace(signature, outputs=_outputs_of(session, signature), parameters=())
    return Recognized("onnx", signature, {"file": file})


def _open(path: Path) -> Any:
    try:
        import onnxruntime  # an optional library, for such models alone
    except ImportError as error:
        raise UnavailableError(
            "onnx_missing",
            "the model is of ONNX, and ONNX Runtime is not installed",
            hint="install it: pip install 'everloop[onnx]'",
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors have no class in common
        raise ModelError(
            "model_files",
            f"cannot read {path.name}: {str(error).splitlines()[0]}",
            hint="is it an ONNX model, and is the installed onnxruntime as new as its operators?",
            path=path.name,
        ) from error


def _inputs_of(session: Any) -> Signature:
    """Columns where each input is one value a row, as pipelines of frames have it; else tensors."""
    inputs = [(each.name, _dtype_of(each.name, each.type), each.shape) for each in session.get_inputs()]
    if len(inputs) > 1 and all(dtype in _COLUMN_TYPES and list(shape[1:]) in ([], [1]) for _, dtype, shape in inputs):
        return Signature(columns=tuple(Column(name, _COLUMN_TYPES[dtype]) for name, dtype, _ in inputs))
    sizes = {name: tuple(size if isinstance(size, int) else -1 for size in shape[1:]) for name, _, shape in inputs}
    return Signature(tensors=tuple(Tensor(name, dtype, (-1, *sizes[name])) for name, dtype, _ in inputs))


def _outputs_of(session: Any, signature: Signature) -> tuple[Output, ...]:
    """The outputs as one row of zeros is answered, or, where the model takes no such row, as it declares them."""
    declared = {each.name: each for each in session.get_outputs()}
    try:
        draft = msgspec.structs.replace(signature, outputs=tuple(Output(name) for name in declared))
        answer = OnnxPredictor(session, draft).predict(_zeros(session, signature), {})
    except ModelError:
        outputs = []
        for name, each in declared.items():
            shape = tuple(size if isinstance(size, int) else -1 for size in (each.shape or [])[1:])
            outputs.append(
                Output(name, _dtype_of(name, each.type), () if signature.columns and shape == (1,) else shape)
            )
        return tuple(outputs)
    return tuple(
        Output(name, "object" if values.dtype.kind in "OUS" else str(values.dtype), values.shape[1:])
        for name, values in answer.items()
    )


def _zeros(session: Any, signature: Signature) -> Rows:
    if signature.tensors:
        sizes = {each.name: [max(size, 1) for size in each.shape[1:]] for each in signature.tensors}
        tensors = {each.name: np.zeros((1, *sizes[each.name]), dtype=each.dtype) for each in signature.tensors}
        return Rows(1, tensors={name: _texts(values) for name, values in tensors.items()})
    if len(session.get_inputs()) == 1:
        return Rows(1, matrix=np.zeros((1, len(signature.columns))))
    return Rows(
        1,
        columns={
            each.name: np.array([""], dtype=object) if each.type == "string" else np.zeros(1)
            for each in signature.columns
        },
    )


def _texts(values: NDArray[Any]) -> NDArray[Any]:
    return np.full(values.shape, "", dtype=object) if values.dtype == object else values


def _array(answer: Any) -> NDArray[Any]:
    """An answer as an array; a sequence of maps (a classifier's probabilities) in the order of its keys."""
    if isinstance(answer, list):
        if answer and isinstance(answer[0], dict):
            return np.array([list(each.values()) for each in answer])
        return np.asarray(answer)
    values: NDArray[Any] = answer
    return values


def _dtype_of(name: str, kind: str) -> str:
    if kind.startswith("seq(map("):
        return "float32"
    dtype = _DTYPES.get(kind)
    if dtype is None:
        raise ModelError(
            "onnx_type", f"{name!r} is a {kind}, which is not served", hint="export the model with plain tensors"
        )
    return dtype
