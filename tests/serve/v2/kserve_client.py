"""What KServe's own client makes of a server; run by test_clients.py in a Python that has it. 77: it is not there."""

from __future__ import annotations

import asyncio
import json
import sys
import warnings


async def ask(rows: list[list[float]], url: str, grpc: str) -> dict[str, object]:
    """Everything by REST in JSON and binary form, and by gRPC."""
    import numpy as np
    from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

    client = InferenceRESTClient(RESTConfig(protocol="v2"))

    def request(values: object, *, is_binary: bool) -> InferRequest:
        array = np.array(values, dtype=np.float64)
        tensor = InferInput("rows", list(array.shape), "FP64")
        tensor.set_data_from_numpy(array, binary_data=is_binary)
        parameters = {"binary_data_output": is_binary}
        return InferRequest(model_name="shop", infer_inputs=[tensor], parameters=parameters)

    told: dict[str, object] = {}
    for name, is_binary in (("json", False), ("binary", True)):
        answer = await client.infer(url, request(rows, is_binary=is_binary), model_name="shop")
        told[name] = answer.outputs[0].as_numpy().tolist()
    told["live"] = await client.is_server_live(url)
    told["ready"] = await client.is_server_ready(url)
    told["model_ready"] = await client.is_model_ready(url, "shop")
    try:
        await client.infer(url, request([[1.0, 2.0]], is_binary=False), model_name="shop")
    except Exception as error:
        told["error"] = str(error)
    over_grpc = InferenceGRPCClient(grpc)
    answer = await over_grpc.infer(request(rows, is_binary=True))
    told["grpc"] = answer.outputs[0].as_numpy().tolist()
    await over_grpc.close()
    await client.close()
    return told


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    given = json.load(sys.stdin)
    try:
        print(json.dumps(asyncio.run(ask(given["rows"], given["url"], given["grpc"]))))
    except ImportError:
        sys.exit(77)
