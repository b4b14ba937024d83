"""Retraining, shadow trials, promotion decisions."""
