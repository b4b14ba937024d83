"""Serving models of rows: loaded releases, batching, and the way of a request to its stored answer."""
