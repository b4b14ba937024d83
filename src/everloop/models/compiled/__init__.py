"""Boosted trees as machine code: the same bits as the library that grew them, in a fraction of its time."""
