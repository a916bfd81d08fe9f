"""The encoders that compute as BERT does, and what each of them calls its parts.

RoBERTa (Liu et al. 2019), XLM-R (Conneau et al. 2020) and DistilBERT (Sanh et al. 2019) are BERT
with other names, other rows and other training. What differs in a formula are fields of
`BertConfig`; all else are the names in the tables below, which are read one way when a folder is
opened and the other way when it is saved. So a folder stays what it was.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Pairs = Sequence[tuple[str, str]]


class Family(NamedTuple):
    """What a family calls things, beside BERT's own name for each.

    Attributes
    ----------
    classes
        What the names of its classes begin with in the Hugging Face library: "Roberta".
    tokenizer
        The class of its tokenizer where no file names one.
    tensors
        (its part of a tensor's name, BERT's), in the order in which they are put in.
    head
        The same, of a classifier on whole texts only.
    keys
        {its key in config.json: the field of BertConfig}.
    missing
        What a key means that config.json lacks, by field, where that is not BERT's default.
    only
        Fields that have this value in every model of the family.
    counts_from_padding
        Whether the first token has the position after the id of padding, and padding in front of
        a token or between tokens is not counted.
    """

    classes: str
    tokenizer: str
    tensors: Pairs = ()
    head: Pairs = ()
    keys: Mapping[str, str] = {}
    missing: Mapping[str, Any] = {}
    only: Mapping[str, Any] = {}
    counts_from_padding: bool = False


_ROBERTA = Family(
    "Roberta", "RobertaTokenizer",
    tensors=(("roberta.", "bert."),
             ("lm_head.dense.", "cls.predictions.transform.dense."),
             ("lm_head.layer_norm.", "cls.predictions.transform.LayerNorm."),
             ("lm_head.", "cls.predictions.")),
    head=(("classifier.out_proj.weight", "classifier.weight"),
          ("classifier.out_proj.bias", "classifier.bias")),
    missing={"vocab_size": 50_265, "pad_token_id": 1},
    only={"hidden_act": "gelu"},  # the masked-token head there has it whatever config.json says
    counts_from_padding=True)

_DISTILBERT = Family(
    "DistilBert", "DistilBertTokenizer",
    tensors=(("distilbert.", "bert."),
             ("transformer.layer.", "encoder.layer."),
             ("attention.q_lin.", "attention.self.query."),
             ("attention.k_lin.", "attention.self.key."),
             ("attention.v_lin.", "attention.self.value."),
             ("attention.out_lin.", "attention.output.dense."),
             ("sa_layer_norm.", "attention.output.LayerNorm."),
             ("ffn.lin1.", "intermediate.dense."),
             ("ffn.lin2.", "output.dense."),
             ("output_layer_norm.", "output.LayerNorm."),
             ("vocab_transform.", "cls.predictions.transform.dense."),
             ("vocab_layer_norm.", "cls.predictions.transform.LayerNorm."),
             ("vocab_projector.bias", "cls.predictions.bias"),
             ("vocab_projector.weight", "cls.predictions.decoder.weight")),
    head=(("pre_classifier.", "classifier.dense."),),
    keys={"dim": "hidden_size", "n_layers": "num_hidden_layers", "n_heads": "num_attention_heads",
          "hidden_dim": "intermediate_size", "activation": "hidden_act",
          "dropout": "hidden_dropout_prob", "attention_dropout": "attention_probs_dropout_prob",
          "seq_classif_dropout": "classifier_dropout"},
    missing={"num_hidden_layers": 6, "classifier_dropout": 0.2},
    only={"layer_norm_eps": 1e-12, "type_vocab_size": 0})

OWN_TYPE = "bert_kit"  # the model_type of a folder with a head that only the kit has
OWN_FAMILY = "encoder_type"  # the key of config.json that then has the family
FAMILIES = {  # by model_type of config.json
    "bert": Family("Bert", "BertTokenizer"),
    "distilbert": _DISTILBERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA._replace(classes="XLMRoberta", tokenizer="XLMRobertaTokenizer",
                                     missing={"pad_token_id": 1}),
}


def family_of(config: Mapping[str, Any]) -> Any:
    """Return the `model_type` that config.json says the encoder has; nothing is checked.

    Examples
    --------
    >>> family_of({"model_type": "bert_kit", "encoder_type": "roberta"}), family_of({})
    ('roberta', 'bert')
    """
    kind = config.get("model_type")
    return (config.get(OWN_FAMILY) if kind == OWN_TYPE else kind) or "bert"


def bert_names(names: Iterable[str], model_type: str) -> list[str]:
    """Return BERT's names for the tensors of a family's file.

    Examples
    --------
    >>> bert_names(["distilbert.transformer.layer.3.ffn.lin1.bias"], "distilbert")
    ['bert.encoder.layer.3.intermediate.dense.bias']
    """
    family = FAMILIES[model_type]
    return [_renamed(name, (*family.head, *family.tensors)) for name in names]


def family_names(names: Iterable[str], model_type: str) -> list[str]:
    """Return what a family's file calls the tensors that have BERT's names.

    Examples
    --------
    >>> family_names(["bert.embeddings.LayerNorm.bias", "cls.predictions.bias"], "roberta")
    ['roberta.embeddings.LayerNorm.bias', 'lm_head.bias']
    """
    family, names = FAMILIES[model_type], list(names)
    of_texts = "classifier.dense.weight" in names  # a classifier of tokens has a single layer
    pairs = [(bert, own) for own, bert in (*(family.head if of_texts else ()), *family.tensors)]
    return [_renamed(name, pairs) for name in names]


def _renamed(name: str, pairs: Pairs) -> str:
    """Put the second of a pair for the first, which begins at a dot or at the beginning."""
    name = "." + name
    for old, new in pairs:
        name = name.replace("." + old, "." + new, 1)
    return name[1:]


def bert_class(name: str) -> str:
    """Return BERT's name of a class of the Hugging Face library.

    Examples
    --------
    >>> bert_class("XLMRobertaForMaskedLM"), bert_class("AlbertModel")
    ('BertForMaskedLM', 'AlbertModel')
    """
    for family in FAMILIES.values():
        rest = name.removeprefix(family.classes)
        if rest != name and rest.startswith(("For", "Model")):
            return "Bert" + rest
    return name
