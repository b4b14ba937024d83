"""Comparing releases that answered different units: A/B tests and canaries."""
