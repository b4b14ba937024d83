"""The doors: who may ask the server, how much, over what, and what is written of it."""
