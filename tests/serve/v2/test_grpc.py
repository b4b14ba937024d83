"""The protocol over gRPC, asked by a client that others wrote."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("grpc", reason="grpcio is not installed")
triton = pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc] is not installed")

import grpc  # noqa: E402
from tritonclient.grpc import service_pb2  # noqa: E402
from tritonclient.utils import InferenceServerException  # noqa: E402

from everloop.core.errors import EverloopError, NotFoundError, RequestError, UnavailableError  # noqa: E402
from everloop.models.tabular.signature import Column, Output, Signature  # noqa: E402
from everloop.serve.v2.core import ModelMetadata, Question, Reply  # noqa: E402
from everloop.serve.v2.grpc_messages import SERVICE, grpc_messages  # noqa: E402
from everloop.serve.v2.grpc_server import GrpcBounds, start_grpc  # noqa: E402
from everloop.serve.v2.signature import compile_signature  # noqa: E402

SIGNATURE = Signature(
    columns=(Column("a", "double"), Column("b", "long"), Column("name", "string")),
    outputs=(Output("sum"), Output("greeting", "object")),
)


class Adder:
    """A core that adds, and notes what transports tell it."""

    name = "adder"

    def __init__(self) -> None:
        self.decoder = compile_signature(SIGNATURE)
        self.open = 0
        self.ended: list[tuple[str, int, str, str]] = []
        self.is_up = True
        self.admitted: list[tuple[Any, ...]] = []

    def begin(self) -> None:
        self.open += 1

    def admit(self, headers: Any, scope: Any, address: str) -> Any:
        given = dict(headers)
        self.admitted.append((scope, address))
        if given.get(b"x-api-key") == b"wrong":
            raise UnavailableError("keys_unavailable", "no keys", hint="wait")
        return given

    def end(
        self, visit: Any, route: str, status: int, seconds: float, *, prediction: str = "", error: str = ""
    ) -> None:
        self.open -= 1
        self.ended.append((route.rpartition("/")[2], status, prediction, error))

    def is_ready(self) -> bool:
        return self.is_up

    def metadata(self, model: str, version: str | None) -> ModelMetadata:
        if model != self.name or version not in (None, "v1"):
            raise NotFoundError("model_unknown", f"there is no model {model!r}", hint="adder", path="model")
        if not self.is_up:
            raise UnavailableError("no_champion", "nobody")
        return ModelMetadata(self.name, ["v1"], self.decoder.inputs(), self.decoder.outputs(), {}, "v1")

    async def infer(self, question: Question, visit: Any) -> Reply:
        self.metadata(question.model, question.version)
        rows = self.decoder.from_tensors(question.tensors)
        names = rows.columns["name"].tolist()
        if "sleep" in names:
            await asyncio.sleep(60)
        if "fail" in names:
            raise ValueError("secret of the model")
        greetings = np.empty(rows.n, dtype=object)
        greetings[:] = [f"hello {name}" for name in names]
        outputs = {"sum": rows.columns["a"] + rows.columns["b"], "greeting": greetings}
        wanted = question.wishes.outputs or tuple(outputs)
        told = {"prediction_id": "P1", "notes": ["one"], "n": rows.n, "share": 0.5, "is_new": True}
        return Reply({name: outputs[name] for name in wanted}, self.name, "v1", "P1", told)


class Running:
    """A server on an event loop of its own."""

    def __init__(self, core: Adder) -> None:
        self.core = core
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        bounds = GrpcBounds(message_bytes=100_000, seconds=0.3, calls=50)
        self.server = self.run(start_grpc(core, "127.0.0.1", 0, bounds=bounds))

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def stop(self) -> None:
        self.run(self.server.stop(1))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    started = Running(Adder())
    yield started
    started.stop()
    assert started.core.open == 0


@pytest.fixture
def core(running: Running) -> Iterator[Adder]:
    running.core.ended.clear()
    running.core.admitted.clear()
    yield running.core
    running.core.is_up = True


@pytest.fixture(scope="module")
def client(running: Running) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{running.server.port}") as made:
        yield made


def inputs(n: int = 2, name: str = "Ann") -> list[Any]:
    a = triton.InferInput("a", [n], "FP64").set_data_from_numpy(np.linspace(0.1, 1, n))
    b = triton.InferInput("b", [n], "INT32").set_data_from_numpy(np.arange(n, dtype=np.int32))
    names = triton.InferInput("name", [n, 1], "BYTES").set_data_from_numpy(np.full((n, 1), name, dtype=object))
    return [a, b, names]


def failure(client: Any, sent: list[Any], model: str = "adder", **more: Any) -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, sent, **more)
    return caught.value.status(), caught.value.message()


def test_messages_are_those_that_others_generated() -> None:
    for name in vars(grpc_messages()):
        ours = getattr(grpc_messages(), name).DESCRIPTOR
        theirs = service_pb2.DESCRIPTOR.message_types_by_name.get(name)
        if theirs is None:  # there it stands within the message that holds it
            for outer in ("ModelInferRequest", "ModelInferResponse", "ModelMetadataResponse"):
                theirs = theirs or service_pb2.DESCRIPTOR.message_types_by_name[outer].nested_types_by_name.get(name)
        assert theirs is not None, name
        assert shape(ours) == {key: value for key, value in shape(theirs).items() if key in shape(ours)}, name
        assert set(shape(theirs)) - set(shape(ours)) <= {"properties"}
    assert service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name == SERVICE


def shape(descriptor: Any) -> dict[str, tuple[int, int, bool, str]]:
    return {
        field.name: (
            field.number,
            field.type,
            field.is_repeated,
            field.message_type.name if field.message_type is not None else "",
        )
        for field in descriptor.fields
    }


def test_health_and_metadata(client: Any, core: Adder) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("adder")
    assert client.is_model_ready("adder", "v1")
    assert client.get_server_metadata().name == "everloop"
    assert "binary_tensor_data" in client.get_server_metadata().extensions
    metadata = client.get_model_metadata("adder", as_json=True)
    assert metadata["inputs"][1] == {"name": "b", "datatype": "INT64", "shape": ["-1"]}
    assert metadata["versions"] == ["v1"]
    core.is_up = False
    assert not client.is_server_ready()
    assert not client.is_model_ready("adder")
    assert {scope for scope, _ in core.admitted} == {None, "read"}
    assert {address for _, address in core.admitted} == {"127.0.0.1"}


def test_infer(client: Any, core: Adder) -> None:
    result = client.infer("adder", inputs(), request_id="7", timeout=5_000_000)
    np.testing.assert_array_equal(result.as_numpy("sum"), [0.1, 2.0])
    assert result.as_numpy("greeting").tolist() == [b"hello Ann", b"hello Ann"]
    response = result.get_response()
    assert (response.model_name, response.model_version, response.id) == ("adder", "v1", "7")
    told = {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in response.parameters.items()}
    assert told == {"prediction_id": "P1", "notes": '["one"]', "n": 2, "share": 0.5, "is_new": True}
    assert core.ended == [("ModelInfer", 200, "P1", "")]
    wanted = client.infer("adder", inputs(), outputs=[triton.InferRequestedOutput("sum")])
    assert [each.name for each in wanted.get_response().outputs] == ["sum"]


def test_typed_contents(running: Running) -> None:
    messages = grpc_messages()
    request = messages.ModelInferRequest(model_name="adder")
    request.inputs.add(name="a", datatype="FP64", shape=[1]).contents.fp64_contents.append(0.5)
    request.inputs.add(name="b", datatype="INT8", shape=[1]).contents.int_contents.append(3)
    request.inputs.add(name="name", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"Bo")
    with grpc.insecure_channel(f"127.0.0.1:{running.server.port}") as channel:
        call = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=messages.ModelInferResponse.FromString,
        )
        response = call(request)
        assert list(response.outputs[0].contents.fp64_contents) == [3.5]
        assert list(response.outputs[1].contents.bytes_contents) == [b"hello Bo"]
        assert not response.raw_output_contents
        request.inputs[1].contents.int_contents[0] = 300
        with pytest.raises(grpc.RpcError) as caught:
            call(request)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "'b': 300 is no INT8; from -128 to 127"
    trailing = dict(error.trailing_metadata())
    assert (trailing["everloop-code"], trailing["everloop-path"]) == ("input_data", "inputs[1].contents.int_contents")


def test_failures_have_grpcs_codes(client: Any, core: Adder) -> None:
    assert failure(client, inputs()[:2]) == (
        "StatusCode.INVALID_ARGUMENT",
        "the column 'name' is missing; give a text (BYTES)",
    )
    assert failure(client, inputs(), "other")[0] == "StatusCode.NOT_FOUND"
    assert failure(client, inputs(), model_version="v2")[0] == "StatusCode.NOT_FOUND"
    assert failure(client, inputs(), headers={"x-api-key": "wrong"})[0] == "StatusCode.UNAVAILABLE"
    assert failure(client, inputs(name="sleep"))[0] == "StatusCode.DEADLINE_EXCEEDED"
    status, message = failure(client, inputs(name="fail"))
    assert status == "StatusCode.INTERNAL"
    assert "secret" not in message
    assert failure(client, inputs(n=50_000))[0] == "StatusCode.RESOURCE_EXHAUSTED"
    assert [(status, error) for _, status, _, error in core.ended] == [
        (422, "column_missing"),
        (404, "model_unknown"),
        (404, "model_unknown"),
        (503, "keys_unavailable"),
        (504, "timeout"),
        (500, "internal"),
    ]


def test_a_port_that_is_taken(running: Running) -> None:
    bounds = GrpcBounds(message_bytes=1, seconds=1, calls=1)
    with pytest.raises(UnavailableError) as caught:
        running.run(start_grpc(running.core, "127.0.0.1", running.server.port, bounds=bounds))
    assert caught.value.code == "address_taken"


def test_raw_contents_must_be_complete() -> None:
    from everloop.serve.v2.grpc_tensors import question_of

    request = grpc_messages().ModelInferRequest(model_name="adder", raw_input_contents=[b"1"])
    with pytest.raises(RequestError, match="1 raw contents are given for 0 inputs"):
        question_of(request)
    for datatype in ("FP16", "FP99"):
        request = grpc_messages().ModelInferRequest(model_name="adder")
        request.inputs.add(name="a", datatype=datatype, shape=[1])
        with pytest.raises(EverloopError) as caught:
            question_of(request)
        assert caught.value.code == "input_datatype"
