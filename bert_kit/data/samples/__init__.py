"""Text that every Python already has: docstrings as a corpus, and a task made of them."""
