"""Gates: what a candidate must show before it may be released, each with its evidence and a stable code."""
