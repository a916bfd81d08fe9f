"""Hyperparameter search in numpy and the standard library; importing it takes no torch."""
