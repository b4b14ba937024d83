"""Models that map rows to values: what they are, and how those of other libraries are loaded and asked."""
