"""Questions and paragraphs as rows of pieces, with the place of the answer."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from bert_kit.data.batches.batching import Row, RowDataset
from bert_kit.data.read.squad import Question
from bert_kit.data.rows.pieces import Ragged, piece_ids, row_room
from bert_kit.data.rows.windows import windows
from bert_kit.errors import DataError
from bert_kit.tokenization import Tokenizer
from bert_kit.tokenization.words import encode_with_offsets

LONGEST_QUESTION = 64  # pieces, as in Google's run_squad.py; the rest is cut off
CHUNK = 256  # contexts encoded at a time: offsets take a lot of memory as Python lists


class AnsweringDataset(RowDataset):
    """Rows of a question and a context (Devlin et al. 2019, section 4.2).

    A context that is too long stands in several rows that overlap (see `windows`). In a row
    without the whole answer, or to a question that has none, both positions are 0, that of [CLS]
    (section 4.3). Of several right answers the first counts. A row has `input_ids`,
    `token_type_ids` (S,) and `start_positions`, `end_positions`.

    Parameters
    ----------
    questions
        From `read_squad`. Without answers the rows have no positions.
    max_length
        Longest row, [CLS] and both [SEP] included. A question takes at most half of it.
    stride
        How many pieces further each row of a long context starts.

    Attributes
    ----------
    row_of
        (questions + 1,): the rows of question i are `row_of[i]` to `row_of[i + 1] - 1`.

    Raises
    ------
    DataError
        If there is no question, or `max_length` or the stride is impossible.
    """

    def __init__(self, questions: Iterable[Question], tokenizer: Tokenizer, max_length: int = 384,
                 stride: int = 128) -> None:
        questions = self.asked = list(questions)
        if not questions:
            raise DataError("no questions; expected at least one")
        self.tokenizer, self.pad_id = tokenizer, tokenizer.pad_id
        room = row_room(max_length, 2, tokenizer)
        longest = min(LONGEST_QUESTION, room // 2)
        self.questions = Ragged(ids[tokenizer.kept(len(ids), longest)] for ids in piece_ids(
            [question.question for question in questions], tokenizer))
        numbers: dict[str, int] = {}  # of the contexts, each of which has several questions
        self.context_of = [numbers.setdefault(question.context, len(numbers))
                           for question in questions]
        # Of each context its ids, then the first characters of the pieces, then the ends.
        self.contexts = Ragged(_pieces(list(numbers), tokenizer))
        self.answers = None
        if all(question.answers is not None for question in questions):
            self.answers = [self._places(*pair) for pair in enumerate(questions)]
        self.cuts, self.row_of = self._cut(room, stride)
        number, start, end = self.cuts.T
        self.lengths = self.questions.lengths[number] + end - start + tokenizer.specials(2)

    def _cut(self, room: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the question and the (start, end) pieces of each row, and `row_of`."""
        cuts, row_of = [], [0]
        for number, context in enumerate(self.context_of):
            free = room - len(self.questions[number])
            count = len(self.contexts[context]) // 3
            cuts.extend((number, *cut) for cut in windows(count, free, stride))
            row_of.append(len(cuts))
        return np.array(cuts), np.array(row_of)

    def _places(self, number: int, question: Question) -> tuple[int, int] | None:
        """Return the first and last piece of the answer in the context, or None."""
        if not question.answers:
            return None
        text, start = question.answers[0]
        _, starts, ends = self._context(number)
        inside = np.flatnonzero((ends > start) & (starts < start + len(text)))
        return (int(inside[0]), int(inside[-1])) if len(inside) else None

    def _context(self, number: int) -> np.ndarray:
        """Return ids, first characters and ends of the pieces of a question's context."""
        return self.contexts[self.context_of[number]].reshape(3, -1)

    def make_row(self, row: int, epoch: int) -> Row:
        number, start, end = self.cuts[row]
        question, context = self.questions[number], self._context(number)[0, start:end]
        ids = np.array(self.tokenizer.pair_ids(question.tolist(), context.tolist()))
        second = len(question) + 2  # where its segment begins, behind the first [SEP]
        item: Row = {"input_ids": ids, "token_type_ids": np.repeat(
            [0, self.tokenizer.second_segment], [second, len(ids) - second])}
        if self.answers is not None:
            before = self._before(number)
            first, last = self.answers[number] or (-1, -1)
            whole = start <= first and last < end
            item["start_positions"] = int(before + first - start) if whole else 0
            item["end_positions"] = int(before + last - start) if whole else 0
        return item

    def _before(self, number: int) -> int:
        """Return how many tokens stand before the context in the rows of a question."""
        return len(self.questions[number]) + self.tokenizer.specials(2) - 1

    def offsets(self, row: int) -> np.ndarray:
        """Return the (start, end) characters in the context of each token of a row, (S, 2).

        Both are -1 at [CLS], [SEP] and the question, where no answer can be.
        """
        number, start, end = self.cuts[row]
        before = self._before(number)
        places = np.full((before + end - start + 1, 2), -1)
        places[before:-1] = self._context(number)[1:, start:end].T
        return places


def _pieces(texts: Sequence[str], tokenizer: Tokenizer) -> Iterator[list[int]]:
    """Yield of each text the ids, then the first characters, then the ends of its pieces."""
    for first in range(0, len(texts), CHUNK):
        for encoding in encode_with_offsets(texts[first:first + CHUNK], tokenizer):
            yield [*encoding.ids, *(start for start, _ in encoding.offsets),
                   *(end for _, end in encoding.offsets)]
