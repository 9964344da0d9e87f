"""Instances on disk: what is in their headers, where they lie, and how they get there for good."""
