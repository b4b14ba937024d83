"""What every transport of the protocol asks of the server behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from everloop.serve.v2.messages import InputTensor, Wishes
from everloop.store.records import Scope

__all__ = ["EXTENSIONS", "InferenceCore", "ModelMetadata", "Question", "Reply"]

EXTENSIONS = ("binary_tensor_data", "model_parameters")


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a model takes and gives, in the protocol's terms.

    Attributes:
        name: the project's name.
        versions: the digests of the releases that are served now, the one in charge first.
        inputs: each with name, datatype and shape.
        outputs: the same.
        parameters: what else a caller may want to know, JSON values.
        release: the digest of the release that this describes.
        platform: what serves it.
    """

    name: str
    versions: Sequence[str]
    inputs: Sequence[Mapping[str, Any]]
    outputs: Sequence[Mapping[str, Any]]
    parameters: Mapping[str, Any]
    release: str
    platform: str = "everloop"

    def tree(self) -> dict[str, Any]:
        """The answer of the REST transport."""
        return {
            "name": self.name,
            "versions": self.versions,
            "platform": self.platform,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "parameters": self.parameters,
        }


@dataclass(frozen=True, slots=True)
class Question:
    """An inference request whose tensors are decoded.

    Attributes:
        model: the model's name.
        version: the release asked for; ``None`` for whoever answers.
        tensors: the inputs.
        wishes: the outputs and parameters.
        body: the request as it came where it is JSON, which the store then keeps; else empty.
    """

    model: str
    version: str | None
    tensors: Sequence[InputTensor]
    wishes: Wishes
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is stored.

    Attributes:
        outputs: the outputs wanted, in order.
        model: the model's name.
        version: the digest of the release that answered.
        parameters: beside the outputs: the prediction's id, and notes.
        prediction_id: the id that it is stored under.
        fallback: why another than the one chosen answered, empty where that one did.
    """

    outputs: Mapping[str, NDArray[Any]]
    model: str
    version: str
    prediction_id: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    fallback: str = ""


class InferenceCore(Protocol):
    """The server behind the transports. A ``visit`` is what its own :meth:`admit` gave; transports pass it on."""

    @property
    def name(self) -> str:
        """The model's name."""

    def begin(self) -> None:
        """A call begins; it must :meth:`end`."""

    def admit(self, headers: list[tuple[bytes, bytes]], scope: Scope | None, address: str) -> Any:
        """Let a caller in; names of headers are in lower case. No scope is asked for what anybody may see.

        Raises:
            EverloopError: a key is missing, unknown, of another scope, or used too often; or too many calls are being
                answered.
        """

    def end(
        self, visit: Any, route: str, status: int, seconds: float, *, prediction: str = "", error: str = ""
    ) -> None:
        """A call ended, with the HTTP status that it would have had; ``visit`` is ``None`` if nobody was let in."""

    def is_ready(self) -> bool:
        """Whether a release is in charge."""

    def metadata(self, model: str, version: str | None) -> ModelMetadata:
        """What a model takes and gives.

        Raises:
            NotFoundError: the model or the version is not served.
            UnavailableError: nobody is in charge.
        """

    async def infer(self, question: Question, visit: Any) -> Reply:
        """Answer, after the answer is stored.

        Raises:
            EverloopError: the request does not fit, or cannot be answered.
        """
