"""MLflow's scoring protocol: a client of ``mlflow models serve`` needs no change."""
