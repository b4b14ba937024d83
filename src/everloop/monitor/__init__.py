"""Outcomes joined with predictions, live accuracy, alerts."""
