"""The jobs of the command line: options, the one training job, tasks, commands, searches."""
