"""Servers from outside of their processes: made, started, watched, stopped."""
