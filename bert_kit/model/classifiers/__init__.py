"""Classification heads that are not in the paper."""
