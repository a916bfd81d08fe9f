"""Piece ids of much text: every different word is encoded once and then looked up.

The tokenizer cleans a text character by character and splits it at every space at least, so a
text's pieces are those of its words one after the other. Most words of a text are frequent ones:
looking them up in a dict is several times faster than encoding them again.
"""

from itertools import chain

LIMIT = 2**19  # words to remember, some 150 MB; then all are forgotten and learned anew


class WordPieces:
    """A function from a text to its piece ids, without special tokens; it remembers words.

    Parameters
    ----------
    tokenizer : Tokenizer

    Examples
    --------
    >>> from bert_kit import Tokenizer
    >>> tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hug", "##s", "!"])
    >>> WordPieces(tokenizer)("Hug hugs!")
    [5, 5, 6, 7]
    """

    def __init__(self, tokenizer):
        self.tokenizer, self.known = tokenizer, {"": ()}
        added = tokenizer.backend.get_added_tokens_decoder().values()
        self.has_phrases = any(" " in token.content for token in added)  # "New York" as one piece

    def __call__(self, text):
        words = [text] if self.has_phrases else text.split(" ")
        new = list(set(words).difference(self.known))
        if len(self.known) + len(new) > LIMIT:
            self.known, new = {"": ()}, list(set(words) - {""})
        for word, encoding in zip(new, self.tokenizer.encode_pieces(new)):
            self.known[word] = tuple(encoding.ids)
        return list(chain.from_iterable(map(self.known.__getitem__, words)))
