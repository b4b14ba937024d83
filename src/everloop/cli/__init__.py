"""The commands: parse, call one stage function, render."""
