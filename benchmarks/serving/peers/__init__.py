"""One small application for each peer; each runs in an environment of its own, so it imports nothing from here."""
