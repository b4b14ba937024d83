"""Drift: whether the world is still the one that a release was trained on."""
