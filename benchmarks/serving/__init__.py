"""How fast models are served, beside the servers that people use otherwise."""
