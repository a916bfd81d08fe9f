"""Question answering: files, windows, places of answers, the model, its loss, the whole chain."""

import copy
import json
import re

import numpy as np
import pytest
import torch
from tiny_texts import SPECIAL
from torch.nn import functional as F

from bert_kit import (BERTForQuestionAnswering, BertConfig, BertKitError, DataError, Tokenizer,
                      get_tokenizer, load_pretrained, save_pretrained)
from bert_kit.data import AnsweringDataset, Question, make_loader, pad_batch, read_squad
from bert_kit.evaluation import answer_metrics, best_spans, predict_token_logits
from bert_kit.training import compute_answering_loss, count_labels, mean_loss
from bert_kit.weights import to_hugging_face

WORDS = [f"w{i}" for i in range(40)]
CONTEXT = " ".join(WORDS)
TOKENIZER = Tokenizer([*SPECIAL, *WORDS, "who", "is", "?"])


def document(**changes):
    """A file of one question, some of whose fields are changed; None takes a field away."""
    question = {"id": "q1", "question": "who is?",
                "answers": [{"text": "w3 w4", "answer_start": CONTEXT.index("w3")}], **changes}
    question = {key: value for key, value in question.items() if value is not None}
    return {"version": "1.1",
            "data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": [question]}]}]}


def write(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_both_versions_of_the_file(tmp_path):
    (question,) = read_squad(write(tmp_path, document()))
    assert question == Question("q1", "who is?", CONTEXT, (("w3 w4", 9),))
    (question,) = read_squad(write(tmp_path, document(is_impossible=False)))
    assert question.answers == (("w3 w4", 9),)
    (question,) = read_squad(write(tmp_path, document(
        is_impossible=True, answers=[], plausible_answers=[{"text": "w9", "answer_start": 0}])))
    assert question.answers == ()
    (question,) = read_squad(write(tmp_path, document(answers=None)), labelled=False)
    assert question.answers is None
    (question,) = read_squad(write(tmp_path, document(answers=[])), labelled=False)
    assert question.answers is None
    (question,) = read_squad(write(tmp_path, document()), labelled=False)
    assert question.answers == (("w3 w4", 9),)


@pytest.mark.parametrize("content, message", [
    ("[]", "a.json: no question; expected at least one"),
    ("{", "a.json: not valid JSON"),
    ({"date": []}, "a.json: found keys date; expected an object with the key 'data', as in SQuAD"),
    ({"data": {}}, "a.json: 'data' is {}; expected list"),
    ({"data": [3]}, "a.json: found 3; expected an object with the key 'paragraphs'"),
    ({"data": []}, "a.json: no question; expected at least one"),
    (document(id=[7]), "a.json: 'id' is [7]; expected str"),
    (document(question="a\ud800b"), "question 'q1': 'question' holds U+D800"),
    (document(question=None), "a.json: question 'q1': found keys id, answers; expected an object "
                              "with the key 'question'"),
    (document(answers=None), "a.json: question 'q1': found keys id, question; expected an object "
                             "with the key 'answers'"),
    (document(answers=[]), "question 'q1' has 0 answers and is_impossible False; expected an "
                           "answer, or is_impossible true and none"),
    (document(is_impossible=True), "question 'q1' has 1 answers and is_impossible True"),
    (document(is_impossible=1), "question 'q1' has 1 answers and is_impossible 1"),
    (document(answers=[{"text": "w3", "answer_start": 8}]),
     "question 'q1': the answer 'w3' is not at character 8 of its context, where ' w' is"),
    (document(answers=[{"text": "w39", "answer_start": -3}]), "is not at character -3"),
    (document(answers=[{"text": "", "answer_start": 0}]), "the answer '' is not at character 0"),
    (document(answers=[{"text": "w3", "answer_start": "9"}]), "'answer_start' is '9'; expected"),
])
def test_a_damaged_file_is_named_with_its_question(tmp_path, content, message):
    with pytest.raises(BertKitError, match=re.escape(message)) as error:
        read_squad(write(tmp_path, content))
    assert "\n" not in str(error.value) and "a.json" in str(error.value)


def test_a_question_that_cannot_be_used_is_left_out_and_told(tmp_path):
    good = {"id": 7, "question": "who?", "answers": [{"text": "w3", "answer_start": 9}]}
    shifted = {**good, "id": "8", "answers": [{"text": "w3", "answer_start": 8}]}
    path = write(tmp_path, {"data": [{"paragraphs": [
        {"context": CONTEXT, "qas": [good, shifted, {**good, "id": 9}, good]}]}]})
    with pytest.raises(DataError, match="'8': the answer .*--bad_rows skip"):
        read_squad(path)
    bad = []
    assert [question.id for question in read_squad(path, bad_rows=bad)] == ["7", "9"]
    assert ["'8'" in bad[0].message, "'7' comes twice" in bad[1].message] == [True, True]
    assert [(row.row, row.reason) for row in bad] == [
        ("question 8", "unusable question"), ("question 7", "an id that comes twice")]


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_flat_file_is_the_nested_one(tmp_path, suffix):
    rows = [{"id": "q1", "context": CONTEXT, "question": "who?", "title": "a",
             "answers": {"text": ["w3", "w4 w5"], "answer_start": [9, 12]}},
            {"id": 2, "context": CONTEXT, "question": "is?",
             "answers": {"text": [], "answer_start": []}}]
    path = tmp_path / f"a{suffix}"
    path.write_text(json.dumps(rows) if suffix == ".json"
                    else "\n".join(map(json.dumps, rows)) + "\n{\n")
    bad = []
    assert read_squad(path, bad_rows=bad) == [
        Question("q1", "who?", CONTEXT, (("w3", 9), ("w4 w5", 12))),
        Question("2", "is?", CONTEXT, ())]
    assert len(bad) == (suffix == ".jsonl")


def test_an_id_that_comes_twice(tmp_path):
    twice = document()
    twice["data"] *= 2
    with pytest.raises(DataError, match="question 'q1' comes twice"):
        read_squad(write(tmp_path, twice))


def ask(first, last, question="who is ?"):
    """A question whose answer is the words first to last."""
    text = " ".join(WORDS[first:last + 1])
    return Question("q", question, CONTEXT, ((text, CONTEXT.index(text)),))


def test_a_row_is_question_then_context():
    dataset = AnsweringDataset([ask(3, 5)], TOKENIZER)
    assert len(dataset) == 1 and dataset.row_of.tolist() == [0, 1]
    want = TOKENIZER.encode("who is ?", CONTEXT)
    row = dataset[0]
    assert row["input_ids"].tolist() == want.ids
    assert row["token_type_ids"].tolist() == want.type_ids
    offsets = [(-1, -1) if n < 5 or n == 45 else want.offsets[n] for n in range(46)]
    assert dataset.offsets(0).tolist() == [list(pair) for pair in offsets]
    assert TOKENIZER.tokens(row["input_ids"][[row["start_positions"], row["end_positions"]]]) == [
        "w3", "w5"]


def test_an_answer_keeps_the_accents_at_its_end():
    context = "the w1\u0301\u0302 w2\u0301 ?"
    dataset = AnsweringDataset([Question("q", "who", context, (("w1\u0301\u0302", 4),))], TOKENIZER)
    row = dataset[0]
    start, end = (dataset.offsets(0)[row[f"{edge}_positions"]] for edge in ("start", "end"))
    assert context[start[0]:end[1]] == "w1\u0301\u0302"


@pytest.mark.parametrize("max_length, stride", [(46, 9), (45, 9), (20, 5), (20, 999), (13, 1),
                                                (5, 1)])
def test_windows_hold_the_answer_whole_or_point_to_cls(max_length, stride):
    questions = [ask(0, 0), ask(3, 5), ask(38, 39), ask(39, 39),
                 Question("n", "who", CONTEXT, ()), Question("e", "", "", ())]
    dataset = AnsweringDataset(questions, TOKENIZER, max_length, stride)
    assert dataset.row_of[-1] == len(dataset) and dataset.lengths.max() <= max_length
    for number, question in enumerate(questions):
        seen = set()
        for row in range(*dataset.row_of[number:number + 2]):
            item, offsets = dataset[row], dataset.offsets(row)
            ids = item["input_ids"]
            assert dataset.lengths[row] == len(ids) == len(item["token_type_ids"]) == len(offsets)
            assert ids[0] == TOKENIZER.cls_id and ids[-1] == TOKENIZER.sep_id
            assert (ids == TOKENIZER.sep_id).sum() == 2
            assert item["token_type_ids"].sum() == (offsets[:, 0] >= 0).sum() + 1
            places = [(start, end) for start, end in offsets.tolist() if start >= 0]
            assert [question.context[start:end] for start, end in places] == TOKENIZER.tokens(
                ids[offsets[:, 0] >= 0])
            seen |= set(places)
            start, end = item["start_positions"], item["end_positions"]
            wanted = [(begin, begin + len(text)) for text, begin in question.answers]
            whole = wanted and wanted[0][0] >= (places or [(99, 0)])[0][0] and (
                wanted[0][1] <= places[-1][1])
            assert (start > 0) == (end > 0) == bool(whole)
            if whole:
                assert (offsets[start, 0], offsets[end, 1]) == wanted[0]
        assert len(seen) == len(question.context.split())


def test_a_long_question_is_cut_and_answers_may_begin_inside_a_piece():
    row = AnsweringDataset([ask(3, 5, "who " * 99)], TOKENIZER)[0]
    assert (row["input_ids"] == TOKENIZER.encode("who").ids[1]).sum() == 64
    row = AnsweringDataset([ask(3, 5, "who " * 99)], TOKENIZER, max_length=15)[0]
    assert (row["input_ids"] == TOKENIZER.encode("who").ids[1]).sum() == 6
    start = CONTEXT.index("w10") + 1
    inside = Question("q", "who", CONTEXT, ((CONTEXT[start:start + 5], start),))  # "10 w1"
    row = AnsweringDataset([inside], TOKENIZER)[0]
    assert TOKENIZER.tokens(row["input_ids"][[row["start_positions"], row["end_positions"]]]) == [
        "w10", "w11"]
    dropped = Question("q", "who", "w1 \x07 w2", (("\x07", 3),))
    assert AnsweringDataset([dropped], TOKENIZER)[0]["start_positions"] == 0


def test_without_answers_there_are_no_positions_and_texts_are_kept_once():
    dataset = AnsweringDataset([Question("a", "who", CONTEXT), Question("b", "is", CONTEXT)],
                               TOKENIZER)
    assert set(dataset[1]) == {"input_ids", "token_type_ids"}
    assert len(dataset.contexts) == 1
    with pytest.raises(DataError, match="no questions"):
        AnsweringDataset([], TOKENIZER)
    with pytest.raises(DataError, match="max_length is 4; expected a whole number from 5"):
        AnsweringDataset([ask(0, 0)], TOKENIZER, max_length=4)


def test_rows_are_those_of_the_reference(minilm):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertTokenizerFast.from_pretrained(minilm)
    text = "The Normans (Norman: Nourmands; French: Normands) were the people who, in the 10th " * 9
    question = Question("q", "Who were the Normans?", text, (("10th", text.index("10th")),))
    dataset = AnsweringDataset([question], get_tokenizer(minilm), max_length=60, stride=20)
    room = 60 - 3 - len(theirs(question.question)["input_ids"]) + 2
    want = theirs(question.question, text, truncation="only_second", max_length=60,
                  stride=room - 20, return_overflowing_tokens=True, return_offsets_mapping=True)
    assert len(want["input_ids"]) == len(dataset) > 5
    for row, ids in enumerate(want["input_ids"][:-1]):  # the last is pushed back to be full
        assert dataset[row]["input_ids"].tolist() == ids
        sides = want.sequence_ids(row)
        assert dataset.offsets(row).tolist() == [
            list(pair) if side == 1 else [-1, -1]
            for side, pair in zip(sides, want["offset_mapping"][row])]
    assert dataset[len(dataset) - 1]["input_ids"][-9:].tolist() == want["input_ids"][-1][-9:]


def test_logits_loss_and_gradient_are_those_of_the_reference(tmp_path):
    pytest.importorskip("transformers")
    from ground.test_reference import CONFIGS, batch, gradients_agree, pair
    for padding in ("none", "ragged"):
        config = BertConfig(**CONFIGS[2])
        theirs, ours = pair(BERTForQuestionAnswering, config, tmp_path)
        ids, mask, types = batch(config, padding)
        start, end = torch.tensor([0, 0, 2, 7, 1]), torch.tensor([3, 0, 3, 9, 1])
        want = theirs(input_ids=ids, attention_mask=mask, token_type_ids=types,
                      start_positions=start, end_positions=end)
        got, real = ours(ids, mask, types), mask.bool()
        torch.testing.assert_close(got[..., 0][real], want.start_logits[real], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(got[..., 1][real], want.end_logits[real], atol=1e-5, rtol=1e-4)
    ids, mask, types = batch(config, "none")  # with padding the reference's loss depends on it
    want = theirs(input_ids=ids, attention_mask=mask, token_type_ids=types, start_positions=start,
                  end_positions=end)
    loss = compute_answering_loss(ours, {
        "input_ids": ids, "attention_mask": mask, "token_type_ids": types,
        "start_positions": start, "end_positions": end})
    torch.testing.assert_close(loss, want.loss, atol=1e-5, rtol=1e-5)
    loss.backward()
    want.loss.backward()
    gradients_agree(ours, theirs)


def test_names_are_the_references_and_a_saved_model_opens_there(tmp_path, config, ragged):
    transformers = pytest.importorskip("transformers")
    ids, mask, types = ragged
    ours = BERTForQuestionAnswering(config.replace(num_labels=5)).eval()
    assert ours.config.num_labels == 2 and ours.bert.pooler is None
    save_pretrained(ours, tmp_path)
    theirs = transformers.AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
    assert to_hugging_face(ours.state_dict()).keys() == theirs.state_dict().keys()
    with torch.no_grad():
        want = theirs(input_ids=ids, attention_mask=mask, token_type_ids=types)
    real, got = mask.bool(), ours(ids, mask, types)
    torch.testing.assert_close(got[..., 0][real], want.start_logits[real], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(got[..., 1][real], want.end_logits[real], atol=1e-5, rtol=1e-4)
    again = load_pretrained(BERTForQuestionAnswering, tmp_path, strict=True)
    assert torch.equal(again(ids, mask, types), got)


def batch_of(count=3, max_length=20):
    dataset = AnsweringDataset([ask(3 * i, 3 * i + 1) for i in range(count)]
                               + [Question("n", "who is who ?", "w1 w2", ())],
                               TOKENIZER, max_length, 5)
    return pad_batch([dataset[row] for row in range(len(dataset))])


@pytest.fixture
def model(config):
    return BERTForQuestionAnswering(config).eval()


def test_loss_by_hand(model):
    batch = batch_of()
    mask = batch["attention_mask"]
    assert mask.sum() < mask.numel()
    logits = model(batch["input_ids"], mask, batch["token_type_ids"])
    assert logits.shape == (*mask.shape, 2)
    total = 0
    for row, length in enumerate(mask.sum(1)):
        for side, key in enumerate(("start_positions", "end_positions")):
            total -= logits[row, :length, side].log_softmax(0)[batch[key][row]]
    torch.testing.assert_close(compute_answering_loss(model, batch), total / 2 / len(mask))


def test_padding_changes_no_loss_and_takes_no_probability(model):
    batch = batch_of()
    more = {key: F.pad(value, (0, 2)) if value.ndim == 2 else value for key, value in batch.items()}
    torch.testing.assert_close(compute_answering_loss(model, more),
                               compute_answering_loss(model, batch))
    shares = model(more["input_ids"], more["attention_mask"]).softmax(1)
    assert (shares[more["attention_mask"] == 0] == 0).all()


def test_loss_counts_rows_over_the_whole_window(model):
    batch = batch_of()
    assert count_labels(batch)["start_positions"] == len(batch["input_ids"])
    want = compute_answering_loss(model, batch)
    pieces = [{key: value[rows] for key, value in batch.items()}
              for rows in (slice(0, 2), slice(2, None))]
    parts = [compute_answering_loss(model, piece, count_labels(batch)) for piece in pieces]
    torch.testing.assert_close(sum(parts), want)
    assert mean_loss(compute_answering_loss, model, pieces) == pytest.approx(want.item(), abs=1e-5)


def test_a_position_outside_has_no_loss(model):
    batch = batch_of()
    fewer = {key: value[1:] for key, value in batch.items()}
    batch["start_positions"][0] = batch["end_positions"][0] = -100
    torch.testing.assert_close(compute_answering_loss(model, batch),
                               compute_answering_loss(model, fewer))
    both = copy.deepcopy(batch)
    for key in ("start_positions", "end_positions"):
        both[key][:] = -100
    assert compute_answering_loss(model, both) == 0


def test_the_step_on_an_accelerator_mixes_no_devices_and_never_waits(config):
    model = BERTForQuestionAnswering(config).to("meta")
    compute_answering_loss(model, batch_of()).backward()
    assert all(p.grad.device.type == "meta" for p in model.parameters())


def test_the_loss_in_bfloat16_is_finite_and_close(model):
    batch = batch_of()
    with torch.autocast("cpu", torch.bfloat16):
        loss = compute_answering_loss(model, batch)
    assert loss.dtype == torch.float32
    assert abs(loss - compute_answering_loss(model, batch)) < 0.02


class Oracle(torch.nn.Module):
    """Knows the answers: logits of 9 at the positions of a batch that it was shown."""

    def __init__(self, dataset):
        super().__init__()
        self.rows = {dataset[row]["input_ids"].tobytes(): dataset[row]
                     for row in range(len(dataset))}

    def forward(self, ids, mask, types):
        logits = torch.randn(*ids.shape, 2, generator=torch.Generator().manual_seed(0))
        for line, row, count in zip(logits, ids, mask.sum(1)):
            item = self.rows[row[:count].numpy().tobytes()]
            line[item["start_positions"], 0] += 9
            line[item["end_positions"], 1] += 9
        return logits


def test_the_whole_chain_gives_the_answers_back(shared, minilm):
    """Real questions, from the file over windows to exact match, with a model that knows."""
    questions = read_squad(shared / "data" / "xquad_en" / "dev.json")
    assert len(questions) == 374
    questions = questions[::7]
    dataset = AnsweringDataset(questions, get_tokenizer(minilm), max_length=96, stride=30)
    assert len(dataset) > 2 * len(questions)
    logits = predict_token_logits(Oracle(dataset), make_loader(dataset, 32, shuffle=False), "cpu")
    predictions = {}
    for number, question in enumerate(questions):
        rows = range(*dataset.row_of[number:number + 2])
        windows = [(logits[row], dataset.offsets(row)) for row in rows]
        predictions[question.id] = best_spans(windows, question.context).text
    metrics = answer_metrics(predictions, {question.id: [text for text, _ in question.answers]
                                           for question in questions})
    assert metrics["exact_match"] > 0.95 and metrics["f1"] > 0.97
    positions = np.array([dataset[row]["start_positions"] for row in range(len(dataset))])
    assert (np.maximum.reduceat(positions, dataset.row_of[:-1]) > 0).mean() > 0.95


def test_every_real_answer_is_found_in_its_context(shared, minilm):
    questions = read_squad(shared / "data" / "xquad_en" / "train.json")
    assert len(questions) == 816
    dataset = AnsweringDataset(questions, get_tokenizer(minilm), max_length=512)
    assert len(dataset) < 850 and len(dataset.contexts) == 160
    for number, question in enumerate(questions):
        row = int(dataset.row_of[number])
        item, offsets = dataset[row], dataset.offsets(row)
        text, start = question.answers[0]
        if item["start_positions"]:
            first, last = offsets[item["start_positions"], 0], offsets[item["end_positions"], 1]
            assert first <= start and start + len(text) <= last
            assert len(question.context[first:last]) <= len(text) + 12
