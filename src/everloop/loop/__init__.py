"""One idempotent step of the whole loop, the controller, and replay over past data."""
