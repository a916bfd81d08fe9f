"""Losses, optimizer and schedule, mixed precision, the loop, and checkpoints that resume."""

from bert_kit.training.amp import AMPTrainer, StepResult, autocast, best_precision
from bert_kit.training.arguments import TrainingArguments
from bert_kit.training.distributed import ALONE, Processes, join_processes
from bert_kit.training.freezing import freeze, gradual_unfreezing
from bert_kit.training.losses import (compute_answering_loss, compute_classification_loss,
                                      compute_mlm_loader_loss, compute_mlm_loss, compute_nsp_loss,
                                      compute_pretraining_loss, compute_regression_loss,
                                      compute_tagging_loss, count_labels, mean_loss)
from bert_kit.training.lr_finder import LearningRateSweep, find_learning_rate
from bert_kit.training.memory import (MemoryManager, give_back_memory, keep_freed_memory,
                                      memory_used, peak_memory, reset_peak_memory)
from bert_kit.training.multi_label import (multi_label_loss, positive_weights, prior_logits,
                                           set_output_bias)
from bert_kit.training.optim import (layerwise_rates, make_optimizer, make_schedule,
                                     parameter_groups, schedule_factor)
from bert_kit.training.state import TrainerState, check_new_run
from bert_kit.training.stopping import EarlyStopping
from bert_kit.training.trainer import Trainer
from bert_kit.training.weighted_losses import balanced_class_weights, classification_loss

__all__ = [
    "ALONE", "AMPTrainer", "EarlyStopping", "LearningRateSweep", "MemoryManager", "Processes",
    "StepResult", "Trainer", "TrainerState", "TrainingArguments", "autocast",
    "balanced_class_weights", "best_precision", "check_new_run", "classification_loss",
    "compute_answering_loss", "compute_classification_loss", "compute_mlm_loader_loss",
    "compute_mlm_loss", "compute_nsp_loss", "compute_pretraining_loss", "compute_regression_loss",
    "compute_tagging_loss", "count_labels", "find_learning_rate", "freeze", "give_back_memory",
    "gradual_unfreezing", "join_processes", "keep_freed_memory", "layerwise_rates",
    "make_optimizer", "make_schedule", "mean_loss", "memory_used", "multi_label_loss",
    "parameter_groups", "peak_memory", "positive_weights", "prior_logits", "reset_peak_memory",
    "schedule_factor", "set_output_bias",
]
