"""Texts from the machine's own libraries or from tables; rows, masks and batches for training."""

from bert_kit.data.answering import AnsweringDataset
from bert_kit.data.batching import BatchSampler, make_loader, pad_batch
from bert_kit.data.conll import TaggedSentences, read_conll
from bert_kit.data.corpus import Corpus, Document, load_corpus
from bert_kit.data.datasets import (ClassificationDataset, MLMDataset,
                                    create_classification_dataloader, create_mlm_dataloader)
from bert_kit.data.documents import read_documents
from bert_kit.data.label_kinds import LabelColumns, LabelList, Number, OneClass
from bert_kit.data.labelled import find_parts, parts_from_lists, read_parts
from bert_kit.data.library_task import TextTask, library_task, parameter_task
from bert_kit.data.masking import mask_tokens
from bert_kit.data.parts import LabelledParts, Part, limit
from bert_kit.data.scored_pairs import SimilarityDataset, split_pairs
from bert_kit.data.sentence_pairs import IS_NEXT, IS_RANDOM, NSPDataset
from bert_kit.data.splits import first_of_each_class, grouped_split, held_out, stratified_split
from bert_kit.data.squad import Question, read_squad
from bert_kit.data.store_building import build_token_store
from bert_kit.data.tables import Table, column_names, read_table
from bert_kit.data.tagging import TaggingDataset, word_spans
from bert_kit.data.text_stream import stream_texts
from bert_kit.data.token_store import TokenStore

__all__ = [
    "AnsweringDataset", "BatchSampler", "ClassificationDataset", "Corpus", "Document",
    "IS_NEXT", "IS_RANDOM", "LabelColumns", "LabelList", "LabelledParts", "MLMDataset",
    "NSPDataset", "Number", "OneClass", "Part", "Question", "SimilarityDataset", "Table",
    "TaggedSentences", "TaggingDataset", "TextTask", "TokenStore", "build_token_store",
    "column_names", "create_classification_dataloader", "create_mlm_dataloader", "find_parts",
    "first_of_each_class", "grouped_split", "held_out", "library_task", "limit", "load_corpus",
    "make_loader", "mask_tokens", "pad_batch", "parameter_task", "parts_from_lists",
    "read_conll", "read_documents", "read_parts", "read_squad", "read_table", "split_pairs",
    "stratified_split", "stream_texts", "word_spans",
]
