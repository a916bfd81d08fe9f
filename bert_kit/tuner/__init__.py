"""Hyperparameter search in numpy and the standard library; importing it takes no torch."""

from bert_kit.tuner.report import write_lineage, write_report

__all__ = ["write_lineage", "write_report"]
