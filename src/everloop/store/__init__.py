"""The control plane in SQL: what is desired, what was predicted, what really happened, who decided what."""
