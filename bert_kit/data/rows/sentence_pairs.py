"""Sentence pairs for next-sentence prediction."""

from collections.abc import Iterable, Sequence

import numpy as np

from bert_kit.data.batches.batching import Row, RowDataset
from bert_kit.data.batches.seeding import PAIRS, TIES, check_seed, generator_for
from bert_kit.data.rows.masking import Masking
from bert_kit.data.rows.pieces import Ragged, piece_ids, row_room
from bert_kit.errors import DataError
from bert_kit.tokenization import Tokenizer, fit_pair

IS_NEXT, IS_RANDOM = 0, 1  # the numbers of the two answers, as in every published checkpoint
REACH = 100  # random B's are drawn among the 200 nearest to the true one in length


class NSPDataset(RowDataset):
    """Sentence pairs for next-sentence prediction, masked too (Devlin et al. 2019, appendix A.2).

    Each row comes from a stretch of consecutive sentences of one document that just fills it,
    cut at a random sentence into A and the rest. With probability 1/2 B is the rest (`IS_NEXT`),
    else the rest of a stretch of another document (`IS_RANDOM`). That one is about as long, and
    every B is the rest of some stretch, so that neither the lengths nor B alone tell the answer;
    in Google's code, which begins a random B anywhere and fills the row with it, they do. A row has
    `input_ids`, `token_type_ids` (S,) and the labels.

    A stretch has at least two sentences; a last sentence that is left alone is not used. In a row
    that is too long the longer text is cut, A at its beginning and B at its end, so that they
    still meet.

    Parameters
    ----------
    documents
        The sentences of each document, in order.
    max_length
        Longest row, [CLS] and both [SEP] included.
    mask_probability
        Share of tokens to predict. None masks nothing, and the answer is called `labels`, as
        `BERTForNextSentencePrediction` trains on it; else it is `next_sentence_label`.

    Raises
    ------
    DataError
        If fewer than two documents have two sentences, or a parameter is out of its range.
    """

    def __init__(self, documents: Iterable[Sequence[str]], tokenizer: Tokenizer,
                 max_length: int = 128, mask_probability: float | None = 0.15,
                 whole_word: bool = False, seed: int = 0) -> None:
        self.masking = None
        if mask_probability is not None:
            self.masking = Masking(tokenizer, mask_probability, whole_word, seed)
        self.seed, self.pad_id = check_seed(seed), tokenizer.pad_id
        self.tokenizer, self.room = tokenizer, row_room(max_length, 2, tokenizer)
        sizes, sentences = [], []
        for number, document in enumerate(documents):
            if isinstance(document, str) or not all(isinstance(s, str) for s in document):
                raise DataError(f"document {number} is {str(document)[:40]!r}; "
                                "expected a list of sentences")
            sizes.append(len(document))
            sentences.extend(document)
        encoded = Ragged(piece_ids(sentences, tokenizer))
        usable = np.flatnonzero(encoded.lengths)  # a sentence without a piece cannot be A or B
        self.pieces = encoded.values
        # The pieces of sentence i are those from bounds[i] to bounds[i + 1].
        self.bounds = np.append(encoded.bounds[usable], encoded.bounds[-1])
        self.document_of = np.repeat(np.arange(len(sizes)), np.array(sizes, int))[usable]
        self.stretches = self._find_stretches()
        starts, ends = self.stretches.T
        count = len(np.unique(self.document_of[starts]))
        if count < 2:
            raise DataError("next-sentence pairs need two documents of two sentences or more; "
                            f"found {count} (in a text file an empty line separates documents)")
        self._rank_rests()
        # Exact if B is the rest, and nearly so if it is another: enough to group rows by.
        self.lengths = (np.minimum(self.bounds[ends] - self.bounds[starts], self.room)
                        + tokenizer.specials(2))

    def _find_stretches(self) -> np.ndarray:
        """Return the first sentence of each stretch and the one after its last; (rows, 2)."""
        bounds, document_of = self.bounds.tolist(), [*self.document_of.tolist(), None]
        stretches, start = [], 0
        for end in range(1, len(bounds)):
            is_last = document_of[end] != document_of[start]
            if is_last or (bounds[end] - bounds[start] >= self.room and end - start > 1):
                if end - start > 1:
                    stretches.append((start, end))
                start = end
        return np.array(stretches, dtype=np.int64).reshape(-1, 2)

    def _rank_rests(self) -> None:
        """Sort all rests of stretches by length; equal ones randomly, not document by document."""
        self.end_of = np.zeros(len(self.document_of), dtype=np.int64)
        self.weight_of = np.zeros(len(self.document_of))  # how often a rest is cut off its stretch
        for start, end in self.stretches:
            self.end_of[start + 1:end] = end
            self.weight_of[start + 1:end] = 1 / (end - start - 1)
        cuts = generator_for(TIES, self.seed, 0).permutation(np.flatnonzero(self.end_of))
        lengths = self.bounds[self.end_of[cuts]] - self.bounds[cuts]
        self.by_length = cuts[np.argsort(lengths, kind="stable")]
        self.rank_of = np.zeros_like(self.end_of)
        self.rank_of[self.by_length] = np.arange(len(cuts))

    def make_row(self, row: int, epoch: int) -> Row:
        rng = generator_for(PAIRS, self.seed, epoch, row)
        start, end = self.stretches[row]
        cut = int(rng.integers(start + 1, end))
        answer = int(rng.integers(2))
        other = cut if answer == IS_NEXT else self._other_rest(cut, rng)
        a, b = self._text(start, cut), self._text(other, self.end_of[other])
        size_a, size_b = fit_pair(len(a), len(b), self.room)
        ids = np.array(self.tokenizer.pair_ids(a[len(a) - size_a:].tolist(), b[:size_b].tolist()))
        types = np.repeat([0, self.tokenizer.second_segment], [size_a + 2, len(ids) - size_a - 2])
        if self.masking is None:
            return {"input_ids": ids, "token_type_ids": types, "labels": answer}
        ids, labels = self.masking(ids, epoch, row)
        return {"input_ids": ids, "token_type_ids": types, "labels": labels,
                "next_sentence_label": answer}

    def _text(self, start: int, end: int) -> np.ndarray:
        """Return the pieces of some consecutive sentences."""
        return self.pieces[self.bounds[start]:self.bounds[end]]

    def _other_rest(self, cut: int, rng: np.random.Generator) -> int:
        """Return where a rest about as long, of another document, begins."""
        own, rank, reach = self.document_of[cut], self.rank_of[cut], REACH
        while True:
            near = self.by_length[max(rank - reach, 0):rank + reach + 1]
            near = near[self.document_of[near] != own]
            if len(near) > 0:
                weights = self.weight_of[near].cumsum()
                return int(near[weights.searchsorted(rng.random() * weights[-1], side="right")])
            reach *= 4  # one long document holds all of them
