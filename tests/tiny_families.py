"""Tiny folders as others publish them: other tokenizers than BERT's, other families of weights."""

import json
import warnings

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

from bert_kit.tokenization.backends import ROBERTA_TOKENS

TRAINING = ["The river runs to the sea, and the sea is wide.", "a bridge over the old river",
            "Der Fluß fließt ins Meer.", "Ein Haus am Meer; zwei Häuser.", "日本語の本", "x = 3.14",
            "don't you see?", "houses, bridges & rivers", "la rivière coule vers la mer"] * 3
TEXTS = ["The river runs.", "  two  spaces ", "", " ", "\ta tab\nand a line", "ﬁne café — naïve",
         "日本の本", "unknown \u2603 sign \U0001f600", "don't", "aaaaaaaaaaaaaa bridgesbridges",
         "x=3.14;y", "Fluß und Häuser " * 9, "\u00a0no-break\u200bzero", "a", "(houses)"]
ROLES = {f"{role}_token": token for role, token in ROBERTA_TOKENS.items()}
SPECIAL = [ROBERTA_TOKENS[role] for role in ("cls", "pad", "sep", "unk")]  # with the ids 0 to 3


def unigram(clean=True):
    """XLM-R's kind: SentencePiece's unigram model, words with a sign for the space in front."""
    backend = Tokenizer(models.Unigram())
    if clean:
        backend.normalizer = normalizers.Sequence([normalizers.NFKC(),
                                                   normalizers.Replace("  ", " ")])
    backend.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("\u2581", "always")])
    backend.decoder = decoders.Metaspace("\u2581", "always")
    backend.train_from_iterator(TRAINING, trainers.UnigramTrainer(
        vocab_size=150, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False))
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[
            ("<s>", 0), ("</s>", 2)])
    backend.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    return backend


def byte_bpe(prefix_space=False):
    """RoBERTa's kind: byte-level BPE, whose pieces have the space in front of them."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(TRAINING, trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    backend.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), True, prefix_space)
    backend.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    return backend


def write_tokenizer(folder, backend, **config):
    """Write a tokenizer as the hub's folders have it; `config` goes into tokenizer_config.json."""
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(backend.to_str(), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", **ROLES, **config}))
    return folder


def library():
    """The Hugging Face library, or a skip."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("transformers")


SIZES = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3,
         "intermediate_size": 20, "max_position_embeddings": 23, "vocab_size": 97}
CONFIGS = {  # class of the configuration, and what it has besides sizes
    "bert": ("BertConfig", {}),
    "roberta": ("RobertaConfig", {"type_vocab_size": 1, "layer_norm_eps": 1e-5}),
    "xlm-roberta": ("XLMRobertaConfig", {"type_vocab_size": 1, "layer_norm_eps": 1e-5}),
    "distilbert": ("DistilBertConfig", {"hidden_dim": 20}),
}
CLASSES = {"roberta": "Roberta", "xlm-roberta": "XLMRoberta", "distilbert": "DistilBert",
           "bert": "Bert"}


def make_model(family, task, **changes):
    """A random model of the library."""
    transformers = library()
    name, more = CONFIGS[family]
    config = getattr(transformers, name)(**{**SIZES, **more, **changes})
    torch.manual_seed(1)
    model = getattr(transformers, CLASSES[family] + task)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms too, which begin as 0 and 1
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def write_model(folder, family, task, **changes):
    """Save such a model into a folder, and return it."""
    model = make_model(family, task, **changes)
    model.save_pretrained(folder)
    return model
