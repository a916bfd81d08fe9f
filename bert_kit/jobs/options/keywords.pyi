"""The options of each task as keyword arguments. Written by docs/make_keywords.py."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict


class TextKeywords(TypedDict, total=False):
    activation: str | None
    adam_epsilon: float
    asymmetric: bool
    attention_probs_dropout_prob: float | str | None
    bad_rows: str
    baselines: bool
    batch_size: int
    bert_hidden_size: int | None
    betas: float | Sequence[float]
    class_weight: str | None
    classifier: str | None
    classifier_dropout: float | None
    classifier_learning_rate: float | None
    column_names: str | Sequence[str] | None
    columns: str | Sequence[str] | None
    data_file: str | Path | None
    delimiter: str | None
    depth: int | None
    dev_file: str | Path | None
    device: str
    do_lower_case: bool
    download: bool
    dropout: float | None
    dropout_rate: float | None
    early_stopping: int
    early_stopping_patience: int
    early_stopping_threshold: float
    encoding: str
    epochs: int | None
    eps: float
    eval_steps: int | None
    fast_dev_run: bool
    focal_gamma: float
    freeze_layers: int
    from_scratch: str
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    gradual_unfreezing: bool
    group_by_length: bool
    head_learning_rate: float | None
    hidden_dim: int | Sequence[int] | None
    hidden_dims: int | Sequence[int] | None
    hidden_dropout_prob: float | str | None
    hyperparams_dir: str | Path | None
    improvement_threshold: float
    kernel_sizes: int | Sequence[int] | None
    label_column: str | Sequence[str] | None
    label_separator: str
    label_smoothing: float
    label_smoothing_factor: float
    last_layers: int | None
    layer_decay: float
    learning_rate: float | str | None
    load_best_model_at_end: bool
    logging_steps: int
    lowercase: bool
    lr: float | str | None
    lr_scheduler_type: str
    max_grad_norm: float
    max_length: int
    max_seq_len: int
    max_seq_length: int
    max_steps: int
    max_train_samples: int | None
    memory_threshold: float | None
    metric: str | None
    metric_for_best_model: str | None
    min_delta: float
    min_epochs: int
    min_steps: int | None
    minutes: float | None
    model: str | Path | None
    model_name: str | Path | None
    model_name_or_path: str | Path | None
    momentum: float
    muon_learning_rate: float | None
    num_epochs: int | None
    num_filters: int | None
    num_frequencies: int | None
    num_hidden_layers: int | None
    num_train_epochs: int | None
    num_wavelets: int | None
    optim: str
    optimizer: str
    optimizer_choice: str
    output_dir: str | Path | None
    output_root: str | Path | None
    overfit_batches: int | None
    patience: int
    per_device_train_batch_size: int
    plots: bool
    pooling: str | None
    precision: str | None
    quotes: bool | None
    random_state: int
    regression: float | None
    resume: str | None
    save_dir: str | Path | None
    save_steps: int | None
    save_total_limit: int
    scale_with_classes: bool
    seed: int
    skip_bad_rows: bool
    smoothing_window: int
    strict: bool
    stride: int
    strip_accents: bool | None
    task: str
    test_file: str | Path | None
    test_size: float
    text_column: str | Sequence[str]
    threads: int | None
    time_limit: float | None
    train_file: str | Path | None
    train_size: float | None
    trend_window: int | None
    val_file: str | Path | None
    val_size: float
    validation_file: str | Path | None
    verbosity: int
    warmup_ratio: float
    warmup_steps: float
    wavelet_type: str | None
    weight_decay: float
    weights: str | Path | None
    window_pooling: str


class TagKeywords(TypedDict, total=False):
    adam_epsilon: float
    attention_probs_dropout_prob: float | str | None
    bad_rows: str
    baselines: bool
    batch_size: int
    betas: float | Sequence[float]
    class_weight: str | None
    classifier_dropout: float | None
    classifier_learning_rate: float | None
    data_file: str | Path | None
    dev_file: str | Path | None
    device: str
    do_lower_case: bool
    download: bool
    dropout: float | None
    dropout_rate: float | None
    early_stopping: int
    early_stopping_patience: int
    early_stopping_threshold: float
    encoding: str
    epochs: int | None
    eps: float
    eval_steps: int | None
    fast_dev_run: bool
    freeze_layers: int
    from_scratch: str
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    gradual_unfreezing: bool
    group_by_length: bool
    head_learning_rate: float | None
    hidden_dropout_prob: float | str | None
    hyperparams_dir: str | Path | None
    improvement_threshold: float
    label_smoothing: float
    label_smoothing_factor: float
    layer_decay: float
    learning_rate: float | str | None
    lenient: bool
    load_best_model_at_end: bool
    logging_steps: int
    lowercase: bool
    lr: float | str | None
    lr_scheduler_type: str
    max_grad_norm: float
    max_length: int
    max_seq_len: int
    max_seq_length: int
    max_steps: int
    max_train_samples: int | None
    memory_threshold: float | None
    metric: str | None
    metric_for_best_model: str | None
    min_delta: float
    min_epochs: int
    min_steps: int | None
    minutes: float | None
    model: str | Path | None
    model_name: str | Path | None
    model_name_or_path: str | Path | None
    momentum: float
    muon_learning_rate: float | None
    num_epochs: int | None
    num_train_epochs: int | None
    optim: str
    optimizer: str
    optimizer_choice: str
    output_dir: str | Path | None
    output_root: str | Path | None
    overfit_batches: int | None
    patience: int
    per_device_train_batch_size: int
    plots: bool
    precision: str | None
    random_state: int
    regression: float | None
    resume: str | None
    save_dir: str | Path | None
    save_steps: int | None
    save_total_limit: int
    scheme: str | None
    seed: int
    skip_bad_rows: bool
    smoothing_window: int
    strict: bool
    stride: int | None
    strip_accents: bool | None
    tag_column: int
    task: str
    test_file: str | Path | None
    threads: int | None
    time_limit: float | None
    train_file: str | Path | None
    trend_window: int | None
    val_file: str | Path | None
    val_size: float
    validation_file: str | Path | None
    verbosity: int
    warmup_ratio: float
    warmup_steps: float
    weight_decay: float
    weights: str | Path | None
    widen_spans: bool
    word_column: int


class AnswerKeywords(TypedDict, total=False):
    adam_epsilon: float
    attention_probs_dropout_prob: float | str | None
    bad_rows: str
    baselines: bool
    batch_size: int
    betas: float | Sequence[float]
    classifier_dropout: float | None
    classifier_learning_rate: float | None
    data_file: str | Path | None
    dev_file: str | Path | None
    device: str
    do_lower_case: bool
    doc_stride: int
    download: bool
    dropout: float | None
    dropout_rate: float | None
    early_stopping: int
    early_stopping_patience: int
    early_stopping_threshold: float
    encoding: str
    epochs: int | None
    eps: float
    eval_steps: int | None
    fast_dev_run: bool
    freeze_layers: int
    from_scratch: str
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    gradual_unfreezing: bool
    group_by_length: bool
    head_learning_rate: float | None
    hidden_dropout_prob: float | str | None
    hyperparams_dir: str | Path | None
    improvement_threshold: float
    layer_decay: float
    learning_rate: float | str | None
    load_best_model_at_end: bool
    logging_steps: int
    longest_answer: int
    lowercase: bool
    lr: float | str | None
    lr_scheduler_type: str
    max_answer_length: int
    max_grad_norm: float
    max_length: int
    max_seq_len: int
    max_seq_length: int
    max_steps: int
    max_train_samples: int | None
    memory_threshold: float | None
    metric: str | None
    metric_for_best_model: str | None
    min_delta: float
    min_epochs: int
    min_steps: int | None
    minutes: float | None
    model: str | Path | None
    model_name: str | Path | None
    model_name_or_path: str | Path | None
    momentum: float
    muon_learning_rate: float | None
    num_epochs: int | None
    num_train_epochs: int | None
    optim: str
    optimizer: str
    optimizer_choice: str
    output_dir: str | Path | None
    output_root: str | Path | None
    overfit_batches: int | None
    patience: int
    per_device_train_batch_size: int
    plots: bool
    precision: str | None
    random_state: int
    regression: float | None
    resume: str | None
    save_dir: str | Path | None
    save_steps: int | None
    save_total_limit: int
    seed: int
    skip_bad_rows: bool
    smoothing_window: int
    strict: bool
    stride: int
    strip_accents: bool | None
    task: str
    test_file: str | Path | None
    threads: int | None
    time_limit: float | None
    train_file: str | Path | None
    trend_window: int | None
    val_file: str | Path | None
    val_size: float
    validation_file: str | Path | None
    verbosity: int
    warmup_ratio: float
    warmup_steps: float
    weight_decay: float
    weights: str | Path | None


class SimilarityKeywords(TypedDict, total=False):
    adam_epsilon: float
    attention_probs_dropout_prob: float | str | None
    bad_rows: str
    baselines: bool
    batch_size: int
    betas: float | Sequence[float]
    classifier_dropout: float | None
    classifier_learning_rate: float | None
    column_names: str | Sequence[str] | None
    columns: str | Sequence[str] | None
    data_file: str | Path | None
    data_path: str | Path | None
    dataset_path: str | Path | None
    delimiter: str | None
    dev_file: str | Path | None
    device: str
    do_lower_case: bool
    download: bool
    dropout: float | None
    dropout_rate: float | None
    early_stopping: int
    early_stopping_patience: int
    early_stopping_threshold: float
    encoding: str
    epochs: int | None
    eps: float
    eval_steps: int | None
    fast_dev_run: bool
    freeze_layers: int
    from_scratch: str
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    gradual_unfreezing: bool
    group_by_length: bool
    head_learning_rate: float | None
    hidden_dropout_prob: float | str | None
    hyperparams_dir: str | Path | None
    improvement_threshold: float
    label_column: str | Sequence[str]
    layer_decay: float
    learning_rate: float | str | None
    load_best_model_at_end: bool
    logging_steps: int
    lowercase: bool
    lr: float | str | None
    lr_scheduler_type: str
    max_grad_norm: float
    max_length: int | None
    max_seq_len: int | None
    max_seq_length: int | None
    max_steps: int
    max_train_samples: int | None
    memory_threshold: float | None
    metric: str | None
    metric_for_best_model: str | None
    min_delta: float
    min_epochs: int
    min_steps: int | None
    minutes: float | None
    model: str | Path | None
    model_name: str | Path | None
    model_name_or_path: str | Path | None
    momentum: float
    muon_learning_rate: float | None
    num_epochs: int | None
    num_train_epochs: int | None
    optim: str
    optimizer: str
    optimizer_choice: str
    output_dir: str | Path | None
    output_root: str | Path | None
    overfit_batches: int | None
    patience: int
    per_device_train_batch_size: int
    plots: bool
    pooling: str | None
    precision: str | None
    quotes: bool | None
    random_state: int
    regression: float | None
    resume: str | None
    save_dir: str | Path | None
    save_steps: int | None
    save_total_limit: int
    scale: float
    seed: int
    skip_bad_rows: bool
    smoothing_window: int
    strict: bool
    strip_accents: bool | None
    symmetric: bool
    task: str
    test_file: str | Path | None
    text_column: str | Sequence[str]
    threads: int | None
    time_limit: float | None
    trend_window: int | None
    val_file: str | Path | None
    val_size: float
    validation_file: str | Path | None
    verbosity: int
    warmup_ratio: float
    warmup_steps: float
    weight_decay: float
    weights: str | Path | None


class MaskedKeywords(TypedDict, total=False):
    adam_epsilon: float
    attention_probs_dropout_prob: float | str | None
    bad_rows: str
    baselines: bool
    batch_size: int
    betas: float | Sequence[float]
    classifier_dropout: float | None
    classifier_learning_rate: float | None
    device: str
    do_lower_case: bool
    download: bool
    dropout: float | None
    dropout_rate: float | None
    early_stopping: int
    early_stopping_patience: int
    early_stopping_threshold: float
    encoding: str
    epochs: int | None
    eps: float
    eval_steps: int | None
    fast_dev_run: bool
    freeze_layers: int
    from_scratch: str
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    gradual_unfreezing: bool
    group_by_length: bool
    head_learning_rate: float | None
    hidden_dropout_prob: float | str | None
    hyperparams_dir: str | Path | None
    improvement_threshold: float
    initial_weights: str
    layer_decay: float
    learning_rate: float | str | None
    load_best_model_at_end: bool
    logging_steps: int
    lowercase: bool
    lr: float | str | None
    lr_scheduler_type: str
    mask_probability: float
    max_eval_samples: int
    max_grad_norm: float
    max_length: int
    max_seq_len: int
    max_seq_length: int
    max_steps: int
    max_train_samples: int | None
    memory_threshold: float | None
    metric: str | None
    metric_for_best_model: str | None
    min_delta: float
    min_epochs: int
    min_steps: int | None
    minutes: float | None
    mlm_probability: float
    model: str | Path | None
    model_name: str | Path | None
    model_name_or_path: str | Path | None
    momentum: float
    muon_learning_rate: float | None
    nsp: bool
    num_epochs: int | None
    num_train_epochs: int | None
    optim: str
    optimizer: str
    optimizer_choice: str
    output_dir: str | Path | None
    output_root: str | Path | None
    overfit_batches: int | None
    patience: int
    per_device_train_batch_size: int
    plots: bool
    precision: str | None
    preprocessing_num_workers: int
    random_state: int
    regression: float | None
    resume: str | None
    save_dir: str | Path | None
    save_steps: int | None
    save_total_limit: int
    seed: int
    skip_bad_rows: bool
    smoothing_window: int
    store: str | Path | None
    strict: bool
    strip_accents: bool | None
    task: str
    threads: int | None
    time_limit: float | None
    tokenizer: str | Path | None
    tokenizer_name: str | Path | None
    trend_window: int | None
    val_size: float | None
    validation_file: str | Path | Sequence[str | Path] | None
    verbosity: int
    vocab_size: int
    warmup_ratio: float
    warmup_steps: float
    weight_decay: float
    weights: str | Path | None
    whole_word: bool
    whole_word_mask: bool
    workers: int


class ActiveKeywords(TypedDict, total=False):
    acquisition: str | Sequence[str] | None
    activation: str | None
    adam_epsilon: float
    all_data: bool
    asymmetric: bool
    attention_probs_dropout_prob: float | str | None
    bad_rows: str
    baselines: bool
    batch: int | None
    batch_size: int
    bert_hidden_size: int | None
    betas: float | Sequence[float]
    budget: int | None
    class_weight: str | None
    classes: str | Sequence[str] | None
    classification_change: float | None
    classifier: str | None
    classifier_dropout: float | None
    classifier_learning_rate: float | None
    column_names: str | Sequence[str] | None
    columns: str | Sequence[str] | None
    data_file: str | Path | None
    delimiter: str | None
    delta_f: float | None
    depth: int | None
    dev_file: str | Path | None
    device: str
    do_lower_case: bool
    download: bool
    dropout: float | None
    dropout_rate: float | None
    early_stopping: int
    early_stopping_patience: int
    early_stopping_threshold: float
    encoding: str
    epochs: int | None
    eps: float
    eval_steps: int | None
    extra_epochs: int
    fast_dev_run: bool
    focal_gamma: float
    freeze_layers: int
    from_scratch: str
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    gradual_unfreezing: bool
    group_by_length: bool
    head_learning_rate: float | None
    hidden_dim: int | Sequence[int] | None
    hidden_dims: int | Sequence[int] | None
    hidden_dropout_prob: float | str | None
    improvement_threshold: float
    initial: int | None
    kappa: float | None
    keep_weights: bool
    kernel_sizes: int | Sequence[int] | None
    label_column: str | Sequence[str] | None
    label_separator: str
    label_smoothing: float
    label_smoothing_factor: float
    last_layers: int | None
    layer_decay: float
    learning_rate: float | str | None
    load_best_model_at_end: bool
    logging_steps: int
    lowercase: bool
    lr: float | str | None
    lr_scheduler_type: str
    max_grad_norm: float
    max_length: int | None
    max_seq_len: int | None
    max_seq_length: int | None
    max_steps: int
    max_train_samples: int | None
    memory_threshold: float | None
    methods: str | Sequence[str] | None
    metric: str | None
    metric_for_best_model: str | None
    min_delta: float
    min_epochs: int
    min_steps: int | None
    minutes: float | None
    model: str | Path | None
    model_name: str | Path | None
    model_name_or_path: str | Path | None
    momentum: float
    muon_learning_rate: float | None
    num_epochs: int | None
    num_filters: int | None
    num_frequencies: int | None
    num_hidden_layers: int | None
    num_train_epochs: int | None
    num_wavelets: int | None
    optim: str
    optimizer: str
    optimizer_choice: str
    oracle: str
    output_dir: str | Path | None
    output_root: str | Path | None
    overfit_batches: int | None
    pass_precision: str | None
    passes: int | None
    patience: int
    per_device_train_batch_size: int
    plots: bool
    pool_file: str | Path | None
    pooling: str | None
    precision: str | None
    preset: str
    quotes: bool | None
    random_state: int
    regression: float | None
    resume: str | None
    rounds: int | None
    save_dir: str | Path | None
    save_steps: int | None
    save_total_limit: int
    scale_with_classes: bool
    seed: int
    seeds: int | Sequence[int] | None
    skip_bad_rows: bool
    smoothing_window: int
    stop_rows: int
    strict: bool
    stride: int
    strip_accents: bool | None
    task: str
    test_file: str | Path | None
    test_size: float
    text_column: str | Sequence[str]
    threads: int | None
    time_limit: float | None
    train_file: str | Path | None
    train_size: float | None
    trend_window: int | None
    uncertainty: float | None
    val_file: str | Path | None
    val_size: float
    validation_file: str | Path | None
    verbosity: int
    warm_start: bool
    warmup_ratio: float
    warmup_steps: float
    wavelet_type: str | None
    weight_decay: float
    weights: str | Path | None
    window: int
    window_pooling: str


class CompareKeywords(TypedDict, total=False):
    activation: str | None
    adam_epsilon: float
    asymmetric: bool
    attention_probs_dropout_prob: float | str | None
    bad_rows: str
    baselines: bool
    batch_size: int
    bert_hidden_size: int | None
    betas: float | Sequence[float]
    class_weight: str | None
    classifier: str | Sequence[str]
    classifier_dropout: float | None
    classifier_learning_rate: float | None
    classifiers: str | Sequence[str]
    column_names: str | Sequence[str] | None
    columns: str | Sequence[str] | None
    data_file: str | Path | None
    delimiter: str | None
    depth: int | None
    dev_file: str | Path | None
    device: str
    do_lower_case: bool
    download: bool
    dropout: float | None
    dropout_rate: float | None
    early_stopping: int
    early_stopping_patience: int
    early_stopping_threshold: float
    encoding: str
    epochs: int | None
    eps: float
    eval_steps: int | None
    fast_dev_run: bool
    focal_gamma: float
    freeze_layers: int
    from_scratch: str
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    gradual_unfreezing: bool
    group_by_length: bool
    head_learning_rate: float | None
    hidden_dim: int | Sequence[int] | None
    hidden_dims: int | Sequence[int] | None
    hidden_dropout_prob: float | str | None
    improvement_threshold: float
    kernel_sizes: int | Sequence[int] | None
    label_column: str | Sequence[str] | None
    label_separator: str
    label_smoothing: float
    label_smoothing_factor: float
    last_layers: int | None
    layer_decay: float
    learning_rate: float | str | None
    load_best_model_at_end: bool
    logging_steps: int
    lowercase: bool
    lr: float | str | None
    lr_scheduler_type: str
    max_grad_norm: float
    max_length: int
    max_seq_len: int
    max_seq_length: int
    max_steps: int
    max_train_samples: int | None
    memory_threshold: float | None
    metric: str | None
    metric_for_best_model: str | None
    min_delta: float
    min_epochs: int
    min_steps: int | None
    minutes: float | None
    model: str | Path | None
    model_name: str | Path | None
    model_name_or_path: str | Path | None
    momentum: float
    muon_learning_rate: float | None
    num_epochs: int | None
    num_filters: int | None
    num_frequencies: int | None
    num_hidden_layers: int | None
    num_train_epochs: int | None
    num_wavelets: int | None
    optim: str
    optimizer: str
    optimizer_choice: str
    output_dir: str | Path | None
    output_root: str | Path | None
    overfit_batches: int | None
    patience: int
    per_device_train_batch_size: int
    plots: bool
    pooling: str | None
    precision: str | None
    quotes: bool | None
    random_state: int
    regression: float | None
    resume: str | None
    runs: str | Sequence[str] | None
    save_dir: str | Path | None
    save_steps: int | None
    save_total_limit: int
    scale_with_classes: bool
    seed: int
    skip_bad_rows: bool
    smoothing_window: int
    strict: bool
    stride: int
    strip_accents: bool | None
    task: str
    test_file: str | Path | None
    test_size: float
    text_column: str | Sequence[str]
    threads: int | None
    time_limit: float | None
    train_file: str | Path | None
    train_size: float | None
    trend_window: int | None
    val_file: str | Path | None
    val_size: float
    validation_file: str | Path | None
    verbosity: int
    warmup_ratio: float
    warmup_steps: float
    wavelet_type: str | None
    weight_decay: float
    weights: str | Path | None
    window_pooling: str


class SearchKeywords(TypedDict, total=False):
    activation: str | None
    adam_epsilon: float
    adaptive_stopping: bool
    all: bool
    asymmetric: bool
    attention_probs_dropout_prob: float | str | None
    bad_rows: str
    baselines: bool
    batch_size: int | None
    bert_hidden_size: int | None
    betas: float | Sequence[float]
    class_weight: str | None
    classifier: str | None
    classifier_dropout: float | None
    classifier_learning_rate: float | None
    classifiers: str | Sequence[str] | None
    column_names: str | Sequence[str] | None
    columns: str | Sequence[str] | None
    cross_validation: int
    cv: int
    data_file: str | Path | None
    delimiter: str | None
    depth: int | None
    dev_file: str | Path | None
    device: str
    do_lower_case: bool
    doc_stride: int
    download: bool
    dropout: float | None
    dropout_rate: float | None
    early_stopping: int
    early_stopping_patience: int
    early_stopping_threshold: float
    encoding: str
    epochs: int | None
    eps: float
    eval_steps: int | None
    executor: str | None
    exploit: float | None
    factors: float | Sequence[float] | None
    fast_dev_run: bool
    focal_gamma: float
    folds: int
    freeze_layers: int
    from_scratch: str
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    gradual_unfreezing: bool
    group_by_length: bool
    head_learning_rate: float | None
    hidden_dim: int | Sequence[int] | None
    hidden_dims: int | Sequence[int] | None
    hidden_dropout_prob: float | str | None
    hyperparams_dir: str | Path | None
    improvement_threshold: float
    initial_weights: str
    jobs: int | None
    keep_top: int | None
    kernel_sizes: int | Sequence[int] | None
    label_column: str | Sequence[str] | None
    label_separator: str
    label_smoothing: float
    label_smoothing_factor: float
    last_layers: int | None
    layer_decay: float
    learning_rate: float | str | None
    lenient: bool
    load_best_model_at_end: bool
    logging_steps: int
    longest_answer: int
    lowercase: bool
    lr: float | str | None
    lr_scheduler_type: str
    mask_probability: float
    max_answer_length: int
    max_eval_samples: int
    max_grad_norm: float
    max_length: int
    max_seq_len: int
    max_seq_length: int
    max_steps: int
    max_train_samples: int | None
    max_trials: int | None
    memory_threshold: float | None
    metric: str | None
    metric_for_best_model: str | None
    min_delta: float
    min_epochs: int
    min_steps: int | None
    minutes: float | None
    mlm_probability: float
    model: str | Path | None
    model_name: str | Path | None
    model_name_or_path: str | Path | None
    momentum: float
    muon_learning_rate: float | None
    n_jobs: int | None
    n_trials: int | None
    nsp: bool
    num_epochs: int | None
    num_filters: int | None
    num_frequencies: int | None
    num_hidden_layers: int | None
    num_train_epochs: int | None
    num_wavelets: int | None
    optim: str
    optimizer: str
    optimizer_choice: str
    output_dir: str | Path | None
    output_root: str | Path | None
    overfit_batches: int | None
    patience: int
    per_device_train_batch_size: int | None
    plots: bool
    pooling: str | None
    population: int | None
    population_size: int | None
    precision: str | None
    preprocessing_num_workers: int
    pruner: str | None
    quantile: float | None
    quotes: bool | None
    random_state: int
    regression: float | None
    report: bool
    resume: bool | str | None
    sampler: str
    save_dir: str | Path | None
    save_steps: int | None
    save_total_limit: int
    scale: float
    scale_with_classes: bool
    scheme: str | None
    seed: int
    skip_bad_rows: bool
    smoothing_window: int
    store: str | Path | None
    strategy: str
    strict: bool
    stride: int
    strip_accents: bool | None
    study_name: str | None
    symmetric: bool
    tag_column: int
    task: str
    test_file: str | Path | None
    test_size: float
    text_column: str | Sequence[str]
    threads: int | None
    time_limit: float | None
    timeout: float | None
    tokenizer: str | Path | None
    tokenizer_name: str | Path | None
    train_best: bool
    train_file: str | Path | None
    train_size: float | None
    trend_window: int | None
    tune_all: bool
    tuning_epochs: int | None
    val_file: str | Path | None
    val_size: float
    validation_file: str | Path | None
    verbosity: int
    vocab_size: int
    warmup_ratio: float | None
    warmup_steps: float | None
    wavelet_type: str | None
    weight_decay: float | None
    weights: str | Path | None
    whole_word: bool
    whole_word_mask: bool
    widen_spans: bool
    window_pooling: str
    word_column: int
    workers: int
