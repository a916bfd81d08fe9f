"""Using a model: a file a command."""
