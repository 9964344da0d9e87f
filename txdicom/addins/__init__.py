"""The add-ins that come with txdicom. They use the interfaces as any other add-in does."""
