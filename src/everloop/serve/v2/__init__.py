"""The Open Inference Protocol, version 2: tensors as bytes and records, and the ways to a model over REST and gRPC."""
