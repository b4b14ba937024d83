"""Everloop: the whole loop of a model, from experiment to reliable serving and round again."""

__version__ = "0.1.0"
__all__ = ["__version__"]
