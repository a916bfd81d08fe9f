"""Pictures of runs, predictions and campaigns."""
