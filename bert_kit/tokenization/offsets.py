"""Where the pieces of a text stand in it, so that what is cut out of the text is whole."""

import unicodedata


def encode_with_offsets(texts, tokenizer):
    """Yield the Encoding of each text, without special tokens, with offsets.

    A tokenizer that drops accents leaves those out that are characters of their own (combining
    marks, U+0301 for instance). They belong to the letter before: its offset ends behind them.

    Examples
    --------
    >>> from bert_kit import train_tokenizer
    >>> row, = encode_with_offsets(["cafe\\u0301 cafe"], train_tokenizer(["cafe cafe"], 50))
    >>> row.offsets
    [(0, 5), (6, 10)]
    """
    for text, row in zip(texts, tokenizer.encode_pieces(texts, with_offsets=True)):
        whole = []
        for (start, end), (limit, _) in zip(row.offsets, [*row.offsets[1:], (len(text), None)]):
            while end < limit and unicodedata.category(text[end]) == "Mn":
                end += 1
            whole.append((start, end))
        yield row._replace(offsets=whole)
