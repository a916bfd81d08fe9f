"""Tokens on disk, memory-mapped, for text beyond memory."""
