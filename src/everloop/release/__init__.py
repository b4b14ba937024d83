"""Immutable bundles named by digest, the registry, promotion and rollback."""
