"""What a model of rows takes and gives: MLflow's signature, as plain records that a server can read."""

from __future__ import annotations

import msgspec

__all__ = ["Column", "Output", "Parameter", "Signature", "Tensor"]


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input column.

    Attributes:
        name: its name.
        type: ``boolean``, ``integer`` (32 bits), ``long``, ``float``, ``double``, ``string``, ``binary`` or
            ``datetime``, as MLflow calls them.
        required: whether a request must hold it.
    """

    name: str
    type: str
    required: bool = True


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input tensor: NumPy's name of its type, and its shape with -1 where any size goes (rows first)."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An output.

    Attributes:
        name: its name.
        dtype: NumPy's name of its type, ``object`` for texts.
        shape: the shape after the rows.
        classes: what a label is one of, or what the values of a probability stand for, in order; else empty.
    """

    name: str
    dtype: str = "float64"
    shape: tuple[int, ...] = ()
    classes: tuple[bool | int | float | str, ...] = ()


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A parameter of a prediction with its type, as MLflow calls it, and its default."""

    name: str
    type: str
    default: object = None


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model takes and gives: named columns or named tensors, never both.

    Attributes:
        columns: the input columns in the model's order; empty where it takes tensors.
        tensors: the input tensors; empty where it takes columns.
        outputs: what it gives for each row; the first is the main one, which MLflow's ``predict`` would give.
        parameters: what a request may set beside its rows.
    """

    columns: tuple[Column, ...] = ()
    tensors: tuple[Tensor, ...] = ()
    outputs: tuple[Output, ...] = ()
    parameters: tuple[Parameter, ...] = ()
