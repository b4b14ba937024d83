"""What a request may set beside its rows, checked against the signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from everloop.core.errors import RequestError, nearest
from everloop.models.tabular.signature import Parameter

__all__ = ["ParameterReader"]

_KINDS: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "string": (str,),
    "datetime": (str,),
    "binary": (str,),
}


class ParameterReader:
    """Reads a request's parameters.

    Args:
        parameters: the signature's parameters.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self._parameters = {each.name: each for each in parameters}
        self.defaults: Mapping[str, Any] = {each.name: each.default for each in parameters}

    def read(self, given: Mapping[str, Any], path: str) -> Mapping[str, Any]:
        """The parameters with the signature's defaults.

        Raises:
            RequestError: one is unknown or of another type.
        """
        if not given:
            return self.defaults
        out = dict(self.defaults)
        for name, value in given.items():
            parameter = self._parameters.get(name)
            if parameter is None:
                short = name[:80]
                hint = nearest(short, self._parameters) if self._parameters else "this model takes no parameters"
                raise RequestError("field_unknown", f"{short!r} is no parameter", hint=hint, path=f"{path}.{short}")
            out[name] = _checked(parameter, value, f"{path}.{name[:80]}")
        return out


def _checked(parameter: Parameter, value: Any, path: str) -> Any:
    """A value of the parameter's type; a list of them where its default is one."""
    if isinstance(parameter.default, list | tuple) and isinstance(value, list):
        return [_single(parameter, each, path) for each in value]
    return _single(parameter, value, path)


def _single(parameter: Parameter, value: Any, path: str) -> Any:
    kinds = _KINDS.get(parameter.type, (str,))
    is_right = isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
    if not is_right:
        raise RequestError(
            "field",
            f"{parameter.name!r} takes a value of type {parameter.type}, not {value!r:.60}",
            hint=f"its default is {parameter.default!r:.60}",
            path=path,
        )
    if float in kinds:
        try:
            return float(value)
        except OverflowError:
            raise RequestError("field", f"{parameter.name!r} is too large", hint="", path=path) from None
    return value
