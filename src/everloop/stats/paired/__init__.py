"""Two models on the same cases and the same truth: which one is better, at every look."""
