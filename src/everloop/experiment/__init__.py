"""Training runs, their tracking in MLflow, their lineage and their comparison."""
