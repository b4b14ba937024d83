"""Rehearsal: a release is loaded and asked as a server does it, before it may answer anybody."""
