"""The settings of a server: their tables, the files they are in, and how they change while it runs."""
