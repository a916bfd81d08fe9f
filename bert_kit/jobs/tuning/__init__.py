"""Searching hyperparameters."""
