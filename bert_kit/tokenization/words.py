"""Piece ids of much text: every different word is encoded once and then looked up.

The tokenizer cleans a text character by character and splits it at every space at least, so a
text's pieces are those of its words one after the other. Most words of a text are frequent ones:
looking them up in a dict is several times faster than encoding them again.
"""

from itertools import chain

LIMIT = 2**19  # words to remember, some 150 MB; then all are forgotten and learned anew
LONGEST = 100  # characters of a word to remember; a longer one hardly comes twice


def word_pieces(texts, tokenizer):
    """Yield the piece ids of each text, without special tokens.

    Parameters
    ----------
    texts : iterable of str
    tokenizer : Tokenizer

    Yields
    ------
    list of int

    Examples
    --------
    >>> from bert_kit import Tokenizer
    >>> tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hug", "##s", "!"])
    >>> list(word_pieces(["Hug hugs!", "hugs"], tokenizer))
    [[5, 5, 6, 7], [5, 6]]
    """
    added = tokenizer.backend.get_added_tokens_decoder().values()
    if any(character.isspace() for token in added for character in token.content):
        for text in texts:  # "New York" may be one piece, so that words are not all there is
            yield from (encoding.ids for encoding in tokenizer.encode_pieces([text]))
        return
    known = {"": ()}
    for text in texts:
        words = text.split(" ")
        new = list(set(words).difference(known))
        if len(known) + len(new) > LIMIT:
            known = {"": ()}
            new = list(set(words).difference(known))
        for word, encoding in zip(new, tokenizer.encode_pieces(new)):
            known[word] = tuple(encoding.ids)
        yield list(chain.from_iterable(map(known.__getitem__, words)))
        for word in new:
            if len(word) > LONGEST:
                del known[word]
