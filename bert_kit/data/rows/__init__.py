"""Texts to ids and labels: masking, sentence pairs, tags, answers, rated pairs, windows."""
