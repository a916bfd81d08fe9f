"""How good answers are: classes, label sets, numbers, entities, spans, answers."""
