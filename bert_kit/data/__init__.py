"""Texts from the machine's own libraries or from tables; rows, masks and batches for training."""

from typing import TYPE_CHECKING

from bert_kit.faces import lazy_face

if TYPE_CHECKING:
    from bert_kit.data.alike import check_names as check_names, like as like
    from bert_kit.data.batches.batching import (
        BatchSampler as BatchSampler, RowDataset as RowDataset, make_loader as make_loader,
        pad_batch as pad_batch)
    from bert_kit.data.datasets import (
        ClassificationDataset as ClassificationDataset, MLMDataset as MLMDataset,
        create_classification_dataloader as create_classification_dataloader,
        create_mlm_dataloader as create_mlm_dataloader)
    from bert_kit.data.labels import (
        LabelColumns as LabelColumns, LabelKind as LabelKind, LabelList as LabelList,
        Number as Number, OneClass as OneClass)
    from bert_kit.data.parts import (
        LabelledParts as LabelledParts, Part as Part, find_parts as find_parts, limit as limit,
        parts_from_lists as parts_from_lists, read_parts as read_parts, text_key as text_key)
    from bert_kit.data.read.bad_rows import BadRow as BadRow
    from bert_kit.data.read.conll import (
        TaggedSentences as TaggedSentences, read_conll as read_conll)
    from bert_kit.data.read.documents import read_documents as read_documents
    from bert_kit.data.read.memory import (
        RowsInMemory as RowsInMemory, rows_in_memory as rows_in_memory)
    from bert_kit.data.read.spans import read_tagged as read_tagged
    from bert_kit.data.read.squad import Question as Question, read_squad as read_squad
    from bert_kit.data.read.tables import (
        OtherCells as OtherCells, Reading as Reading, Table as Table, column_names as column_names,
        known_rows as known_rows,
        read_table as read_table, stream_texts as stream_texts)
    from bert_kit.data.read.text_lines import find_data as find_data
    from bert_kit.data.read.tool_labels import (
        ToolAnswer as ToolAnswer, read_tool_answers as read_tool_answers)
    from bert_kit.data.rows.answering import AnsweringDataset as AnsweringDataset
    from bert_kit.data.rows.masking import mask_tokens as mask_tokens
    from bert_kit.data.rows.pieces import row_room as row_room
    from bert_kit.data.rows.ranked_pairs import (
        RankingDataset as RankingDataset, Unrated as Unrated)
    from bert_kit.data.rows.scored_pairs import (
        SimilarityDataset as SimilarityDataset, split_pairs as split_pairs)
    from bert_kit.data.rows.sentence_pairs import (
        IS_NEXT as IS_NEXT, IS_RANDOM as IS_RANDOM, NSPDataset as NSPDataset)
    from bert_kit.data.rows.tagging import TaggingDataset as TaggingDataset
    from bert_kit.data.rows.words import (
        WordCut as WordCut, learn_cut as learn_cut, word_spans as word_spans)
    from bert_kit.data.samples.corpus import (
        Corpus as Corpus, Document as Document, load_corpus as load_corpus)
    from bert_kit.data.samples.library_task import (
        TextTask as TextTask, library_task as library_task, parameter_task as parameter_task)
    from bert_kit.data.splits import (
        first_of_each_class as first_of_each_class, grouped_split as grouped_split,
        held_out as held_out, stratified_folds as stratified_folds,
        stratified_split as stratified_split)
    from bert_kit.data.store.building import build_token_store as build_token_store
    from bert_kit.data.store.token_store import TokenStore as TokenStore
else:
    __getattr__, __dir__, __all__ = lazy_face(__name__, __file__)
