"""examples/bert_in_one_file.py takes the steps that the kit takes: same weights, same batches."""

import ast
import itertools
import runpy
from pathlib import Path

import pytest
import torch

from bert_kit import BertConfig, BERTForMaskedLM, Tokenizer
from bert_kit.training.optim import make_optimizer, make_schedule

FILE = Path(__file__).resolve().parents[2] / "examples" / "bert_in_one_file.py"


@pytest.fixture(scope="module")
def one():
    """What the file defines."""
    return runpy.run_path(str(FILE))


def kit_names(model, layers):
    """Yield (tensor of the kit's name, tensor of the file)."""
    w = model.state_dict()
    for part in ("word", "position", "segment"):
        yield f"bert.embeddings.{part}.weight", w[f"embeddings.{part}.weight"]
    pairs = {"bert.embeddings.norm.": "embeddings.norm.", "mlm_head.dense.": "transform.",
             "mlm_head.norm.": "transform_norm."}
    for i in range(layers):
        pairs |= {f"bert.blocks.{i}.{kit}.": f"blocks.{i}.{own}." for kit, own in (
            ("attention.output", "attention.output"), ("attention_norm", "attention_norm"),
            ("feed_forward.inner", "wide"), ("feed_forward.output", "narrow"),
            ("feed_forward_norm", "norm"))}
    for end in ("weight", "bias"):
        for kit, own in pairs.items():
            yield kit + end, w[own + end]
        for i in range(layers):
            yield f"bert.blocks.{i}.attention.qkv.{end}", torch.cat([
                w[f"blocks.{i}.attention.{part}.{end}"] for part in ("query", "key", "value")])
    yield "mlm_head.bias", w["bias"]


def test_its_losses_are_the_kits_over_several_steps(one):
    """In float64, with padding, odd sizes and gradients that are clipped: equal to 1e-6."""
    sizes = one["Sizes"](vocab=31, hidden=15, layers=3, heads=3, inner=22, longest=13)
    model = one["BERT"](sizes).double()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    twin = BERTForMaskedLM(BertConfig(
        vocab_size=31, hidden_size=15, num_hidden_layers=3, num_attention_heads=3,
        intermediate_size=22, max_position_embeddings=13, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, fused=False)).double()
    with torch.no_grad():
        own = dict(twin.named_parameters())
        for name, tensor in kit_names(model, 3):
            own.pop(name).copy_(tensor)
    assert not own  # none was forgotten

    vocabulary = {piece: i for i, piece in enumerate(
        [*one["SPECIAL"], *"abcdefghijklmnopqrstuvwxyz"])}
    rows = [one["encode"](text, vocabulary, 13) for text in one["letter_rows"](60)]
    source = one["batches"](rows, 7, 31, torch.Generator().manual_seed(1))
    batches = list(itertools.islice(source, 9))
    assert any((~batch["real"]).any() for batch in batches)
    losses = one["train"](model, iter(batches), 9, highest=0.01, warmup=3, report=lambda _: None)

    optimizer = make_optimizer(twin, 0.01, 0.01)
    schedule, theirs = make_schedule(optimizer, "linear", 3, 9), []
    for batch in batches:
        logits = twin(batch["ids"], batch["real"])
        # The kit's own sum is taken in float32; this is torch's, in float64.
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        theirs.append(loss.item())
    assert norm > 1  # so clipping was needed
    assert max(abs(a - b) for a, b in zip(losses, theirs)) < 1e-6
    assert max(losses) - min(losses) > 0.01


def test_its_pieces_and_rows_are_the_kits(one):
    pieces = [*one["SPECIAL"], "hug", "##s", "un", "##hug", "##g", "##able", "a", "!", ",", "b"]
    vocabulary, tokenizer = {p: i for i, p in enumerate(pieces)}, Tokenizer(pieces)
    for text in ("Hugs, a hug!", "unhuggable", "unhugged a", "", "b b b b b b b b b b b b b"):
        row = tokenizer.encode(text, max_length=9).ids
        assert one["encode"](text, vocabulary, 9) == row
    ids = one["encode"]("a [MASK] b", vocabulary, 9)
    assert ids == tokenizer.encode("a [MASK] b", allow_special_tokens=True).ids


def test_its_masks_have_the_published_shares(one):
    ids = torch.full((300, 200), 9)
    ids[:, 0], ids[:, -1] = one["CLS"], one["PAD"]
    inputs, labels = one["hide"](ids, 500, torch.Generator().manual_seed(0))
    chosen = labels != one["NO_LABEL"]
    assert not chosen[:, [0, -1]].any() and torch.equal(inputs[~chosen], ids[~chosen])
    assert (labels[chosen] == 9).all() and abs(chosen[:, 1:-1].float().mean() - 0.15) < 0.005
    share = lambda what: float(what[chosen].float().mean())
    masked, kept = share(inputs == one["MASK"]), share(inputs == ids)
    assert abs(masked - 0.8) < 0.015 and abs(kept - 0.1) < 0.01


def test_it_learns_the_alphabet_and_takes_a_published_vocabulary(one, tmp_path, capsys):
    """Sixty steps: the loss falls below that of a model that knows nothing."""
    threads, vocab = torch.get_num_threads(), tmp_path / "vocab.txt"
    vocab.write_text("\n".join([*one["SPECIAL"], *"abcdefghijklmnopqrstuvwxyz"]), "utf-8")
    with torch.random.fork_rng():
        losses = one["main"](["--text", "letters", "--steps", "60", "--vocab", str(vocab)])
    torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert "31 pieces" in printed and "ln V = 3.43" in printed and "c d [MASK] f g [(" in printed
    assert abs(losses[0] - 3.43) < 0.1 and sum(losses[-5:]) / 5 < 3.25


def test_nothing_of_the_kit_is_in_it_and_it_is_short():
    text = FILE.read_text("utf-8")
    for node in ast.walk(ast.parse(text)):
        names = ([alias.name for alias in node.names] if isinstance(node, ast.Import) else
                 [node.module] if isinstance(node, ast.ImportFrom) else [])
        assert not any(name.startswith("bert_kit") for name in names)
    assert text.count("\n") < 400
