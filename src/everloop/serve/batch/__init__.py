"""Batch forecasts: every series at once, stored once, and written to files, a Delta table or a database."""
