"""Campaigns of active learning."""
