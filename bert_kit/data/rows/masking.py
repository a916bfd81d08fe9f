"""Which tokens to hide, and behind what (Devlin et al. 2019, section 3.1 task 1)."""

import numpy as np

from bert_kit.checks import share
from bert_kit.data.batches.seeding import MASKS, check_seed, generator_for
from bert_kit.errors import DataError
from bert_kit.modes import IGNORE
from bert_kit.tokenization import Tokenizer
from bert_kit.tokenization.words import begins_word


def mask_tokens(ids: np.ndarray, words: np.ndarray, rng: np.random.Generator, mask_id: int,
                ordinary_ids: np.ndarray, probability: float = 0.15,
                whole_word: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Hide some tokens of one row and return what to read and what to predict.

    Each token is chosen with `probability`. Of the chosen ones 80% become [MASK], 10% a random
    piece and 10% stay as they are, so that the encoder cannot rely on [MASK] marking the places
    that matter. A row in which chance chooses nothing gets one random choice, so that every row
    teaches something. Random pieces are never special tokens; Google's code allows that.

    Parameters
    ----------
    ids
        The row (S,) with its special tokens. It is not changed.
    words
        (S,): a number from 0 for each word, the same at all of its tokens; -1 at tokens that are
        never chosen.
    mask_id
        Id of [MASK].
    ordinary_ids
        Ids that a random replacement may take.
    probability
        Share of tokens to choose.
    whole_word
        Choose words instead of tokens: the pieces of a word are chosen all together or not at
        all, each then replaced on its own.

    Returns
    -------
        Inputs (S,), and labels (S,): the original id at chosen places, -100 elsewhere.

    Raises
    ------
    DataError
        If the probability is not above 0 and at most 1.
    """
    share("mask_probability", probability, above=True, error=DataError)
    inputs = np.array(ids, dtype=np.int64)
    labels, words = np.full_like(inputs, IGNORE), np.asarray(words)
    candidates = np.flatnonzero(words >= 0)
    if len(candidates) == 0:
        return inputs, labels
    unit_of = np.arange(len(candidates))  # a unit is chosen as one: a single token, or a word
    if whole_word:
        _, unit_of = np.unique(words[candidates], return_inverse=True)
    chosen = rng.random(unit_of.max() + 1) < probability
    if not chosen.any():
        chosen[rng.integers(len(chosen))] = True
    places = candidates[chosen[unit_of]]
    labels[places] = inputs[places]
    draw = rng.random(len(places))
    inputs[places[draw < 0.8]] = mask_id
    replaced = places[draw >= 0.9]
    inputs[replaced] = ordinary_ids[rng.integers(len(ordinary_ids), size=len(replaced))]
    return inputs, labels


class Masking:
    """`mask_tokens` for the rows of one tokenizer, seeded by (seed, epoch, row).

    The words are read off the ids, see `begins_word`. Special tokens are never chosen, except
    [UNK], which stands for a word of the text (as in Google's code).
    """

    def __init__(self, tokenizer: Tokenizer, probability: float, whole_word: bool,
                 seed: int) -> None:
        self.probability = share("mask_probability", probability, above=True, error=DataError)
        self.whole_word = whole_word
        self.seed, self.mask_id = check_seed(seed), tokenizer.mask_id
        every_id = np.arange(tokenizer.vocab_size)
        special = list(tokenizer.special_ids)
        self.ordinary_ids = np.setdiff1d(every_id, special)
        self.is_barred = np.isin(every_id, special) & (every_id != tokenizer.unk_id)
        # Single tokens are chosen whatever their words; a large vocabulary takes a second.
        self.begins_word = (np.array(begins_word(tokenizer)) if whole_word
                            else np.ones(len(every_id), bool))

    def __call__(self, ids: np.ndarray, epoch: int, row: int) -> tuple[np.ndarray, np.ndarray]:
        return mask_tokens(ids, self.words(ids), generator_for(MASKS, self.seed, epoch, row),
                           self.mask_id, self.ordinary_ids, self.probability, self.whole_word)

    def words(self, ids: np.ndarray) -> np.ndarray:
        """Return the word number of each token of a row, -1 at special tokens; (S,) -> (S,)."""
        return np.where(self.is_barred[ids], -1, np.cumsum(self.begins_word[ids]))
