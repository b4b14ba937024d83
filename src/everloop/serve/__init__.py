"""The data plane: answers requests, follows promotions without dropping one, and logs every answer."""
