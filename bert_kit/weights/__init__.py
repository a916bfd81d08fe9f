"""Weights on the disk: the safetensors format, the names inside, and whole model folders."""

from typing import TYPE_CHECKING

from bert_kit.faces import lazy_face

if TYPE_CHECKING:
    from bert_kit.weights.folder import (
        ReadWeights as ReadWeights, load_pretrained as load_pretrained,
        load_weights as load_weights,
        save_pretrained as save_pretrained)
    from bert_kit.weights.names import (
        from_google as from_google, to_hugging_face as to_hugging_face)
    from bert_kit.weights.readers import (
        WEIGHT_FILES as WEIGHT_FILES, read_weights as read_weights,
        weights_digest as weights_digest)
    from bert_kit.weights.safetensors import (
        read_header as read_header, read_safetensors as read_safetensors,
        write_safetensors as write_safetensors)
    from bert_kit.weights.sentence_folder import (
        SentenceLayout as SentenceLayout, read_sentence_folder as read_sentence_folder,
        save_sentence_folder as save_sentence_folder)
else:
    __getattr__, __dir__, __all__ = lazy_face(__name__, __file__)
