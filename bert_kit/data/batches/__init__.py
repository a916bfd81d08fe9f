"""Rows to batches: what stands together, in which order, and from which random numbers."""
