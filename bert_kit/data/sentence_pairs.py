"""Sentence pairs for next-sentence prediction."""

import numpy as np
from torch.utils.data import Dataset

from bert_kit.data.datasets import Ragged, epoch_and_index, row_room
from bert_kit.data.masking import Masking
from bert_kit.errors import DataError
from bert_kit.tokenization import fit_pair

IS_NEXT, IS_RANDOM = 0, 1  # the numbers of the two answers, as in every published checkpoint


class NSPDataset(Dataset):
    """Sentence pairs for next-sentence prediction, masked too (Devlin et al. 2019, appendix A.2).

    Each row comes from a stretch of consecutive sentences of one document, cut at a random
    sentence into A and the rest. With probability 1/2 B is the rest (`IS_NEXT`), else it is as
    much text from a random place of another document (`IS_RANDOM`), never of the same one.
    Stretches have at least two sentences, so that both answers are possible for each.

    Parameters
    ----------
    documents : sequence of list of str
        The sentences of each document, in order.
    tokenizer : Tokenizer
    max_length : int
        Longest row, [CLS] and both [SEP] included.
    mask_probability : float or None
        Share of tokens to predict. None masks nothing, and the answer is called `labels`, as
        `BERTForNextSentencePrediction` trains on it; else it is `next_sentence_label`.
    whole_word : bool
    seed : int

    Raises
    ------
    DataError
        If fewer than two documents have text or none has two sentences.
    """

    def __init__(self, documents, tokenizer, max_length=128, mask_probability=0.15,
                 whole_word=False, seed=0):
        self.masking = None
        if mask_probability is not None:
            self.masking = Masking(tokenizer, mask_probability, whole_word, seed)
        self.seed, self.pad_id = seed, tokenizer.pad_id
        self.cls_id, self.sep_id = tokenizer.cls_id, tokenizer.sep_id
        self.room = row_room(max_length, 3)
        sizes = [len(sentences) for sentences in documents]
        encoded = tokenizer.encode_pieces([s for sentences in documents for s in sentences])
        pieces, words, documents_of = [], [], []
        for document, sentence in zip(np.repeat(np.arange(len(sizes)), sizes), encoded):
            if sentence.ids:  # a sentence without a piece cannot be A or B
                pieces.append(sentence.ids)
                words.append(sentence.word_ids)
                documents_of.append(document)
        self.sentences, self.words = Ragged(pieces), Ragged(words)
        self.document_of = np.array(documents_of, dtype=np.int64)
        if len(np.unique(self.document_of)) < 2:
            raise DataError("next-sentence pairs need text from at least two documents; "
                            f"found {len(np.unique(self.document_of))}")
        self.stretches = self._find_stretches()
        if not self.stretches:
            raise DataError("no document has two sentences; next-sentence pairs need them")
        self.lengths = np.array([min(self.sentences.lengths[a:b].sum(), self.room) + 3
                                 for a, b in self.stretches])

    def _find_stretches(self):
        """Cut each document into runs of sentences that just fill a row, of two or more."""
        stretches, start, filled = [], 0, 0
        for i in range(len(self.sentences)):
            filled += self.sentences.lengths[i]
            ends = i + 1 == len(self.sentences) or self.document_of[i + 1] != self.document_of[i]
            if ends or (filled >= self.room and i > start):
                if i > start:
                    stretches.append((start, i + 1))
                start, filled = i + 1, 0
        return stretches

    def __len__(self):
        return len(self.stretches)

    def __getitem__(self, key):
        """Return `input_ids`, `token_type_ids` (S,) and the labels (see the class)."""
        epoch, index = epoch_and_index(key)
        rng = np.random.default_rng((self.seed, epoch, index, 1))
        start, end = self.stretches[index]
        cut = int(rng.integers(start + 1, end))
        answer = int(rng.integers(2))
        a = self._join(start, cut)
        b = self._join(cut, end) if answer == IS_NEXT else self._random_text(start, cut, rng)
        keep_a, keep_b = fit_pair(len(a[0]), len(b[0]), self.room)
        ids = np.concatenate([[self.cls_id], a[0][:keep_a], [self.sep_id], b[0][:keep_b],
                              [self.sep_id]])
        types = np.repeat([0, 1], [keep_a + 2, keep_b + 1])
        if self.masking is None:
            return {"input_ids": ids, "token_type_ids": types, "labels": answer}
        # B's words are numbered on from A's.
        words = np.concatenate([[-1], a[1][:keep_a], [-1], b[1][:keep_b] + len(a[1]), [-1]])
        ids, labels = self.masking(ids, words, epoch, index)
        return {"input_ids": ids, "token_type_ids": types, "labels": labels,
                "next_sentence_label": answer}

    def _join(self, start, end):
        """Return the pieces of some sentences and their word numbers, counted through."""
        pieces = [self.sentences[i] for i in range(start, end)]
        words, offset = [], 0
        for i in range(start, end):
            words.append(self.words[i] + offset)
            offset += self.words[i][-1] + 1
        return np.concatenate(pieces), np.concatenate(words)

    def _random_text(self, start, cut, rng):
        """Return text of another document, about as long as the room that A leaves."""
        own = self.document_of[start]
        first, last = np.searchsorted(self.document_of, [own, own + 1])
        # A random sentence among all but the own document's, without trial and error.
        place = int(rng.integers(len(self.sentences) - (last - first)))
        place = place if place < first else place + (last - first)
        wanted = self.room - self.sentences.lengths[start:cut].sum()
        end = place + 1
        while (end < len(self.sentences) and self.document_of[end] == self.document_of[place]
               and self.sentences.lengths[place:end].sum() < wanted):
            end += 1
        return self._join(place, end)
