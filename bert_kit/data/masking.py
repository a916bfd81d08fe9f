"""Which tokens to hide, and behind what (Devlin et al. 2019, section 3.1 task 1)."""

import numpy as np

from bert_kit.errors import DataError

IGNORE = -100  # label of a position that has no loss


def mask_tokens(ids, words, rng, mask_id, ordinary_ids, probability=0.15, whole_word=False):
    """Hide some tokens of one row and return what to read and what to predict.

    Each token is chosen with `probability`. Of the chosen ones 80% become [MASK], 10% a random
    piece and 10% stay as they are, so that the encoder cannot rely on [MASK] marking the places
    that matter. A row in which chance chooses nothing gets one random choice, so that every row
    teaches something. Random pieces are never special tokens; Google's code allows that.

    Parameters
    ----------
    ids : array (S,) of int
        The row with its special tokens. It is not changed.
    words : array (S,) of int
        Number of the word each token belongs to, counted up through the row; -1 at special
        tokens, which are never chosen.
    rng : numpy.random.Generator
    mask_id : int
        Id of [MASK].
    ordinary_ids : array of int
        Ids that a random replacement may take.
    probability : float
        Share of tokens to choose.
    whole_word : bool
        Choose words instead of tokens: the pieces of a word are chosen all together or not at
        all, each then replaced on its own.

    Returns
    -------
    inputs : array (S,) of int
    labels : array (S,) of int
        The original id at chosen places, -100 elsewhere.

    Raises
    ------
    DataError
        If the probability is not above 0 and at most 1.
    """
    if not 0 < probability <= 1:
        raise DataError(f"mask_probability is {probability!r}; expected above 0 and at most 1")
    inputs, labels = np.array(ids, dtype=np.int64), np.full(len(ids), IGNORE, dtype=np.int64)
    words = np.asarray(words)
    candidates = np.flatnonzero(words >= 0)
    if len(candidates) == 0:
        return inputs, labels
    # A unit is what is chosen as one: a word, or a single token.
    units = words[candidates] if whole_word else np.arange(len(candidates))
    numbers, unit_of = np.unique(units, return_inverse=True)
    chosen = rng.random(len(numbers)) < probability
    if not chosen.any():
        chosen[rng.integers(len(numbers))] = True
    places = candidates[chosen[unit_of]]
    labels[places] = inputs[places]
    draw = rng.random(len(places))
    inputs[places[draw < 0.8]] = mask_id
    replaced = places[draw >= 0.9]
    inputs[replaced] = rng.choice(ordinary_ids, len(replaced))
    return inputs, labels


class Masking:
    """`mask_tokens` with one tokenizer's ids, seeded by (seed, epoch, row)."""

    def __init__(self, tokenizer, probability, whole_word, seed):
        self.mask_id = tokenizer.mask_id
        self.ordinary_ids = np.setdiff1d(np.arange(tokenizer.vocab_size),
                                         list(tokenizer.special_ids))
        self.probability, self.whole_word, self.seed = probability, whole_word, seed

    def __call__(self, ids, words, epoch, index):
        rng = np.random.default_rng((self.seed, epoch, index))
        return mask_tokens(ids, words, rng, self.mask_id, self.ordinary_ids, self.probability,
                           self.whole_word)
