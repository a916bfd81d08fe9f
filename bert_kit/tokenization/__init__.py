"""Texts to token ids: the tokenizer and its files, WordPiece by hand, words and their pieces."""

from typing import TYPE_CHECKING

from bert_kit.faces import lazy_face

if TYPE_CHECKING:
    from bert_kit.tokenization.learning import train_tokenizer as train_tokenizer
    from bert_kit.tokenization.tokenizer import (
        Tokenizer as Tokenizer, fit_pair as fit_pair, get_tokenizer as get_tokenizer)
else:
    __getattr__, __dir__, __all__ = lazy_face(__name__, __file__)
