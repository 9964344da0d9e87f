"""The AE titles of a server: aetitles.toml, read, written and watched."""
