"""Losses, optimizer and schedule, mixed precision, the loop, and checkpoints that resume."""

from typing import TYPE_CHECKING

from bert_kit.faces import lazy_face

if TYPE_CHECKING:
    from bert_kit.training.amp import (
        autocast as autocast, best_precision as best_precision, choose_device as choose_device)
    from bert_kit.training.arguments import TrainingArguments as TrainingArguments
    from bert_kit.training.class_losses import (
        balanced_class_weights as balanced_class_weights,
        classification_loss as classification_loss, multi_label_loss as multi_label_loss,
        positive_weights as positive_weights, prior_logits as prior_logits,
        set_output_bias as set_output_bias, tagging_loss as tagging_loss)
    from bert_kit.training.counting import start_from_counts as start_from_counts
    from bert_kit.training.distributed import (
        ALONE as ALONE, Processes as Processes, join_processes as join_processes)
    from bert_kit.training.freezing import (
        freeze as freeze, gradual_unfreezing as gradual_unfreezing)
    from bert_kit.training.losses import (
        Loss as Loss, compute_answering_loss as compute_answering_loss,
        compute_classification_loss as compute_classification_loss,
        compute_mlm_loader_loss as compute_mlm_loader_loss, compute_mlm_loss as compute_mlm_loss,
        compute_nsp_loss as compute_nsp_loss, compute_pretraining_loss as compute_pretraining_loss,
        compute_regression_loss as compute_regression_loss,
        compute_tagging_loss as compute_tagging_loss, count_labels as count_labels,
        mean_loss as mean_loss, mean_over_rows as mean_over_rows, model_inputs as model_inputs)
    from bert_kit.training.lr_finder import (
        LearningRateSweep as LearningRateSweep, find_learning_rate as find_learning_rate)
    from bert_kit.training.memory import (
        MemoryManager as MemoryManager, give_back_memory as give_back_memory,
        keep_freed_memory as keep_freed_memory, memory_used as memory_used,
        peak_memory as peak_memory, reset_peak_memory as reset_peak_memory)
    from bert_kit.training.optim import (
        layerwise_rates as layerwise_rates, make_optimizer as make_optimizer,
        make_schedule as make_schedule, parameter_groups as parameter_groups,
        schedule_factor as schedule_factor)
    from bert_kit.training.ranking_loss import in_batch_losses as in_batch_losses
    from bert_kit.training.speed import planned_steps as planned_steps
    from bert_kit.training.state import (
        LogRow as LogRow, OnLog as OnLog, TrainerState as TrainerState,
        check_new_run as check_new_run)
    from bert_kit.training.stopping import EarlyStopping as EarlyStopping
    from bert_kit.training.trainer import (
        AMPTrainer as AMPTrainer, StepResult as StepResult, Trainer as Trainer)
else:
    __getattr__, __dir__, __all__ = lazy_face(__name__, __file__)
