"""The models, each put together from the parts of the floors below."""
