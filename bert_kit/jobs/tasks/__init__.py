"""What is to be told of a text: a file a task."""
