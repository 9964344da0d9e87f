"""A running server as its administrators see it."""
