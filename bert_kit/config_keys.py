"""Every key of a config.json: followed, of no effect and why, or refused by name.

A key of a stranger's file that changes a row or a number is never dropped. `BertConfig` follows
its own fields; the labels (LABELS) it reads itself, and ABOUT is what the tasks ask it for. What
stands in no table does nothing in the Hugging Face library's BERT either: it is kept, and written
back. That no key of that library is missing here is tested.
"""

from collections.abc import Mapping
from typing import Any

from bert_kit.errors import ConfigError
from bert_kit.families import FAMILIES, OWN_FAMILY, family_of

LABELS = ("id2label", "label2id", "num_labels", "_num_labels")
ABOUT = ("architectures", "problem_type", "sentence_transformers",
         "sbert_ce_default_activation_function")

# Keys of what the kit does not do, and the only values with which they ask for nothing else.
ONLY: dict[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "is_encoder_decoder": (False,),
    "add_cross_attention": (False,),
    "pruned_heads": ({},),  # layers of their own sizes
    "per_layer_config": ({},),  # the same
    "quantization_config": ({},),  # weights that stand for others
    "compression_config": ({},),
    "tokenizer_class": tuple(f"{name}Tokenizer{fast}" for name in (
        "Bert", "DistilBert", "Electra", "MobileBert", "MPNet", "ConvBert", "Funnel", "LayoutLM",
        "DPRQuestionEncoder", "DPRContextEncoder", "SqueezeBert", "Lxmert", "RetriBert", "Splinter",
        "PreTrained", "Roberta", "XLMRoberta") for fast in ("", "Fast")) + ("TokenizersBackend",),
}

# Other names of an activation, for the same formula; Hugging Face's `ACT2FN`.
SAME_ACTIVATION = {"gelu_python": "gelu", "swish": "silu", "gelu_pytorch_tanh": "gelu_new",
                   "gelu_python_tanh": "gelu_new", "gelu_accurate": "gelu_new",
                   "gelu_fast": "gelu_new"}

# Code of a stranger, which is not run; nor does it go into a model that is trained from his.
CODE = ("auto_map", "custom_pipelines", "custom_pipeline", "trust_remote_code")

_GENERATION = "text that a decoder writes"
_OUTPUT = "what a call of the library returns"
_SAME = "how, with the same numbers"
_ORIGIN = "where the file comes from"
IGNORED = {
    **dict.fromkeys((
        "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups",
        "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty",
        "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids",
        "num_return_sequences", "output_scores", "return_dict_in_generate", "forced_bos_token_id",
        "forced_eos_token_id", "remove_invalid_values", "exponential_decay_length_penalty",
        "suppress_tokens", "begin_suppress_tokens", "use_cache", "decoder_start_token_id",
        "cross_attention_hidden_size", "tie_encoder_decoder", "task_specific_params", "prefix",
        "bos_token_id", "eos_token_id", "sep_token_id"), _GENERATION),
    **dict.fromkeys(("output_attentions", "output_hidden_states", "return_dict", "torchscript",
                     "tie_last_hidden_states"), _OUTPUT),
    **dict.fromkeys(("chunk_size_feed_forward", "gradient_checkpointing", "attn_implementation",
                     "_attn_implementation", "_attn_implementation_autoset",
                     "_attn_implementation_internal", "experts_implementation",
                     "use_bfloat16", "xla_device"), _SAME),
    **dict.fromkeys(("_name_or_path", "name_or_path", "_commit_hash", "transformers_version",
                     "finetuning_task"), _ORIGIN),
    **dict.fromkeys(("dtype", "torch_dtype"), "the type of the numbers in the file; the model's "
                    "is float32, which holds them all"),
    **dict.fromkeys(("directionality", "pooler_fc_size", "pooler_num_attention_heads",
                     "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type"),
                    "in Google's multilingual folders, never read by any program"),
    "function_to_apply": "the library applies it to no model that has labels",
    "sinusoidal_pos_embds": "how positions began, which the file holds as they are now",
    "qa_dropout": "of the library's training",
    "tie_weights_": "as tie_word_embeddings",
    "tie_word_embeddings": "the decoder is tied; one in the file that differs is reported",
}


def followed(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return what is to be followed or kept of a config.json, by the names of BERT's keys.

    Raises
    ------
    ConfigError
        If a key asks for what the kit does not do, or the model is of a family that it has not.

    Examples
    --------
    >>> followed({"hidden_act": "swish", "auto_map": {"AutoModel": "x.Y"}}, "config.json")
    {'hidden_act': 'silu'}
    """
    kind = family_of(values)
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise ConfigError(f"{source}: model_type is {kind!r:.200}; the kit does only "
                          f"{', '.join(map(repr, FAMILIES))}")
    for key, allowed in ONLY.items():
        if values.get(key) not in (None, *allowed):
            raise ConfigError(f"{source}: {key} is {values[key]!r:.200}; the kit does only "
                              f"{allowed[0]!r}")
    own = FAMILIES[kind].keys
    kept = {own.get(key, key): value for key, value in values.items()
            if key not in (*CODE, OWN_FAMILY)}
    if "model_type" in kept:
        kept["model_type"] = kind
    act = kept.get("hidden_act")
    if isinstance(act, str) and act in SAME_ACTIVATION:
        kept["hidden_act"] = SAME_ACTIVATION[act]
    return kept
