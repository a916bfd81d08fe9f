"""The kit against the reference library: values, losses, gradients; made-up and real weights."""

import pytest
import torch
from torch.nn import functional as F

from bert_kit import BertConfig, get_tokenizer, load_pretrained, save_pretrained
from bert_kit.model import (BERTForMaskedLM, BERTForNextSentencePrediction, BERTForPreTraining,
                            BERTForSequenceClassification, BERTModel)
from bert_kit.weights import to_hugging_face

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")

CONFIGS = [
    dict(vocab_size=67, hidden_size=33, num_hidden_layers=1, num_attention_heads=3,
         intermediate_size=41, max_position_embeddings=19, type_vocab_size=3),
    dict(vocab_size=31, hidden_size=40, num_hidden_layers=4, num_attention_heads=8,
         intermediate_size=29, max_position_embeddings=37, hidden_act="gelu_new"),
    dict(vocab_size=113, hidden_size=26, num_hidden_layers=2, num_attention_heads=13,
         intermediate_size=53, max_position_embeddings=23, hidden_act="relu",
         layer_norm_eps=1e-5, initializer_range=0.3),
]
PADDING = {
    "none": lambda rows, length: [[1] * length] * rows,
    "ragged": lambda rows, length: [[1] * n + [0] * (length - n)
                                    for n in [length, 1, 4, length - 1, 4][:rows]],
    "left": lambda rows, length: [[0] * (length - n) + [1] * n
                                  for n in [3, length, 1, 7, 2][:rows]],
    "holes": lambda rows, length: [[int((i * 7 + r) % 3 > 0 or i == 0) for i in range(length)]
                                   for r in range(rows)],
}


def pair(task, config, folder):
    """The reference model with random weights, and ours loaded from the folder it saves."""
    torch.manual_seed(3)
    theirs = getattr(transformers, task.__name__.replace("BERT", "Bert"))(
        transformers.BertConfig(**config.to_dict()))
    for p in theirs.parameters():  # biases and norms off their defaults
        if p.ndim == 1:
            torch.nn.init.normal_(p, std=0.3)
    theirs.save_pretrained(folder)
    return theirs.eval(), load_pretrained(task, folder, fused=config.fused)


def batch(config, padding, rows=5):
    length = config.max_position_embeddings - 2
    generator = torch.Generator().manual_seed(4)
    # The reference pins the embedding of id 0, padding, by a zero gradient; BERT's own code and
    # ours do not. Real tokens never have that id.
    ids = torch.randint(1, config.vocab_size, (rows, length), generator=generator)
    types = torch.randint(0, config.type_vocab_size, (rows, length), generator=generator)
    return ids, torch.tensor(PADDING[padding](rows, length)), types


def gradients_agree(ours, theirs):
    mine = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    mine = to_hugging_face(mine)
    reference = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    assert mine.keys() == reference.keys()
    for name, gradient in reference.items():
        scale = max(1.0, gradient.abs().max().item())
        torch.testing.assert_close(mine[name] / scale, gradient / scale, atol=1e-5, rtol=1e-4,
                                   msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("sizes", CONFIGS)
def test_encoder(tmp_path, sizes, padding, fused, capsys):
    config = BertConfig(**sizes, fused=fused)
    theirs, ours = pair(BERTModel, config, tmp_path)
    assert capsys.readouterr().out == ""
    ids, mask, types = batch(config, padding)
    want = theirs(input_ids=ids, attention_mask=mask, token_type_ids=types,
                  output_hidden_states=True)
    got = ours(ids, mask, types, output_hidden_states=True)
    real = mask.bool()
    for mine, reference in zip(got.hidden_states, want.hidden_states, strict=True):
        torch.testing.assert_close(mine[real], reference[real], atol=1e-5, rtol=1e-4)
    first = real[:, 0]  # the pooler reads the first token; the reference does so in padding too
    torch.testing.assert_close(got.pooler_output[first], want.pooler_output[first],
                               atol=1e-5, rtol=1e-4)
    direction = torch.randn(got.last_hidden_state.shape) * real[..., None]
    for output in (got, want):
        ((output.last_hidden_state * direction).sum()
         + output.pooler_output[first].sum()).backward()
    gradients_agree(ours, theirs)


@pytest.mark.parametrize("padding", ["none", "ragged"])
@pytest.mark.parametrize("sizes", CONFIGS)
@pytest.mark.parametrize("task", [
    BERTForMaskedLM, BERTForPreTraining, BERTForNextSentencePrediction,
    BERTForSequenceClassification])
def test_tasks_in_value_loss_and_gradient(tmp_path, task, sizes, padding):
    config = BertConfig(**sizes, labels=("a", "b", "c"))
    theirs, ours = pair(task, config, tmp_path)
    ids, mask, types = batch(config, padding)
    arguments = dict(input_ids=ids, attention_mask=mask, token_type_ids=types)
    labels = torch.where((ids % 3 == 0) & mask.bool(), ids, -100)
    follows = torch.tensor([0, 1, 1, 0, 1])
    if task is BERTForMaskedLM:
        want = theirs(**arguments, labels=labels)
        pairs = [(ours(**arguments), want.logits)]
        loss = F.cross_entropy(pairs[0][0].flatten(0, 1), labels.flatten())
    elif task is BERTForPreTraining:
        want = theirs(**arguments, labels=labels, next_sentence_label=follows)
        got = ours(**arguments)
        pairs = [(got.mlm, want.prediction_logits),
                 (got.next_sentence, want.seq_relationship_logits)]
        loss = (F.cross_entropy(got.mlm.flatten(0, 1), labels.flatten())
                + F.cross_entropy(got.next_sentence, follows))
    else:
        want = theirs(**arguments, labels=follows)
        pairs = [(ours(**arguments), want.logits)]
        loss = F.cross_entropy(pairs[0][0], follows)
    for mine, reference in pairs:
        seen = mask.bool() if mine.ndim == 3 else slice(None)
        torch.testing.assert_close(mine[seen], reference[seen], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(loss, want.loss, atol=1e-5, rtol=1e-5)
    loss.backward()
    want.loss.backward()
    gradients_agree(ours, theirs)


def test_attention_weights(tmp_path):
    config = BertConfig(**CONFIGS[1])
    theirs, ours = pair(BERTModel, config, tmp_path)
    theirs.set_attn_implementation("eager")
    ids, mask, types = batch(config, "ragged")
    want = theirs(input_ids=ids, attention_mask=mask, token_type_ids=types,
                  output_attentions=True).attentions
    got = ours(ids, mask, types, output_attentions=True).attentions
    for mine, reference in zip(got, want, strict=True):
        rows = mask.bool()[:, None, :, None].expand_as(mine)
        torch.testing.assert_close(mine[rows], reference[rows], atol=1e-5, rtol=1e-4)


def test_real_minilm(minilm, capsys):
    texts = ["A short one.", "Ünïcödé & punctuation!",
             "The committee postponed its decision until the budget for the next year had been "
             "agreed, which nobody expected to happen soon."]
    ours, tokenizer = load_pretrained(BERTModel, minilm), get_tokenizer(minilm)
    assert capsys.readouterr().out == ""
    theirs = transformers.BertModel.from_pretrained(minilm).eval()
    encoded = transformers.BertTokenizerFast.from_pretrained(minilm)(
        texts, padding=True, return_tensors="pt")
    rows = tokenizer.encode_batch(texts)
    for row, ids, mask in zip(rows, encoded["input_ids"], encoded["attention_mask"]):
        assert row.ids == ids[mask.bool()].tolist()
    real = encoded["attention_mask"].bool()
    with torch.no_grad():
        want = theirs(**encoded, output_hidden_states=True)
        got = ours(**encoded, output_hidden_states=True)
    for mine, reference in zip(got.hidden_states, want.hidden_states, strict=True):
        torch.testing.assert_close(mine[real], reference[real], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(got.pooler_output, want.pooler_output, atol=1e-5, rtol=1e-4)


REACTIONS = [
    "C C ( = O ) O . O C C >> C C ( = O ) O C C",
    "c 1 c c c c c 1 Br . O B ( O ) c 1 c c c c c 1 >> c 1 c c c ( - c 2 c c c c c 2 ) c c 1",
    "O = C ( Cl ) c 1 c c c c c 1 . N C C >> O = C ( N C C ) c 1 c c c c c 1",
    "C C O >> C C = O",
]


def test_real_reaction_model(shared):
    """Trained MLM and NSP heads: logits, and the masked tokens predicted one by one."""
    folder = shared / "weights" / "rxnfp_pretraining"
    ours = load_pretrained(BERTForPreTraining, folder)
    theirs = transformers.BertForPreTraining.from_pretrained(folder).eval()
    number = {piece: i for i, piece in enumerate((folder / "vocab.txt").read_text().split("\n"))}
    rows = [[number[piece] for piece in f"[CLS] {reaction} [SEP]".split()]
            for reaction in REACTIONS]
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    right = 0
    for offset in range(1, 7):  # hide every sixth token, then the next ones
        hidden = (torch.arange(length) % 6 == offset % 6) & mask.bool()
        hidden[:, 0] = False
        masked = torch.where(hidden, number["[MASK]"], ids)
        with torch.no_grad():
            want = theirs(input_ids=masked, attention_mask=mask)
            got = ours(masked, mask)
        torch.testing.assert_close(got.mlm[mask.bool()], want.prediction_logits[mask.bool()],
                                   atol=2e-5, rtol=1e-5)  # logits reach 10
        torch.testing.assert_close(got.next_sentence, want.seq_relationship_logits,
                                   atol=1e-5, rtol=1e-4)
        predicted = got.mlm.argmax(-1)[hidden]
        assert torch.equal(predicted, want.prediction_logits.argmax(-1)[hidden])
        right += int((predicted == ids[hidden]).sum())
    assert right > 0.5 * (mask.sum() - 2 * len(rows))  # the trained head does know chemistry


def test_a_saved_classifier_gives_the_same_logits_there(tmp_path, ragged):
    config = BertConfig(**{**CONFIGS[2], "labels": ("x", "y", "z", "w")})
    ours = BERTForSequenceClassification(config).eval()
    save_pretrained(ours, tmp_path)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    ids, mask, types = ragged
    with torch.no_grad():
        want = theirs(input_ids=ids, attention_mask=mask, token_type_ids=types).logits
        torch.testing.assert_close(ours(ids, mask, types), want, atol=1e-5, rtol=1e-4)
    assert theirs.config.id2label == {0: "x", 1: "y", 2: "z", 3: "w"}
