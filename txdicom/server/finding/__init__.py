"""The add-ins of a server: where they are found, whether they are trusted, which take part."""
