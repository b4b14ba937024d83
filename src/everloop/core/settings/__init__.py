"""What ``everloop.toml`` may say: every key with its type, unit, default and help, one module a group of tables."""
