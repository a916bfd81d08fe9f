"""Weights on the disk: the safetensors format, the names inside, and whole model folders."""

from bert_kit.weights.folder import load_pretrained, load_weights, save_pretrained
from bert_kit.weights.names import from_google, to_hugging_face
from bert_kit.weights.readers import WEIGHT_FILES, read_weights
from bert_kit.weights.safetensors import read_header, read_safetensors, write_safetensors
from bert_kit.weights.sentence_folder import (SentenceLayout, read_sentence_folder,
                                              save_sentence_folder)

__all__ = ["SentenceLayout", "WEIGHT_FILES", "from_google", "load_pretrained", "load_weights",
           "read_header", "read_safetensors", "read_sentence_folder", "read_weights",
           "save_pretrained", "save_sentence_folder", "to_hugging_face", "write_safetensors"]
