"""The prediction log: every answer is stored before it is given, whatever the store does."""
