"""Losses, optimizer and schedule, mixed precision, the loop, and checkpoints that resume."""

from bert_kit.training.amp import AMPTrainer, StepResult, best_precision
from bert_kit.training.arguments import TrainingArguments
from bert_kit.training.losses import (compute_classification_loss, compute_mlm_loader_loss,
                                      compute_mlm_loss, compute_nsp_loss, compute_pretraining_loss,
                                      count_labels, mean_loss)
from bert_kit.training.optim import (make_optimizer, make_schedule, parameter_groups,
                                     schedule_factor)
from bert_kit.training.state import TrainerState
from bert_kit.training.trainer import Trainer

__all__ = [
    "AMPTrainer", "StepResult", "Trainer", "TrainerState", "TrainingArguments",
    "best_precision", "compute_classification_loss", "compute_mlm_loader_loss", "compute_mlm_loss",
    "compute_nsp_loss", "compute_pretraining_loss", "count_labels", "make_optimizer",
    "make_schedule", "mean_loss", "parameter_groups", "schedule_factor",
]
