"""The logs of a server: what is written, how, where, and how it is read again."""
