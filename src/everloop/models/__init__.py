"""What a model is: the forecaster protocol, the built-in candidates, their features and intervals."""
