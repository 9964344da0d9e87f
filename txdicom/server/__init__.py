"""A deployed server: its folder, its settings, its start and stop as a service of `twistd dicomserver`."""
