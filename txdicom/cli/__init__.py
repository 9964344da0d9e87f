"""The `txdicom` command."""
