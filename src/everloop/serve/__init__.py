"""The data plane: an HTTP server that answers from releases and stores every answer."""
