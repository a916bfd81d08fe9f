"""Whole jobs: each file joins the rooms for one of them."""
