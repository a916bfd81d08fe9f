"""Pairs without a score: told by their columns, learned from, scored by a search."""

import csv
import json
import random

import numpy as np
import pytest
from tiny_jobs import WORDS, here, tiny_bert

from bert_kit import BertKitError, SentenceEncoder, get_tokenizer, train_similarity
from bert_kit.data import Part, RankingDataset, make_loader, pad_batch, split_pairs
from bert_kit.evaluation import Searched, ranking_metrics
from bert_kit.jobs.commands.embed import evaluate_similarity
from bert_kit.jobs.tasks.pairs import pair_columns

FILLERS = ["the", "old", "new", "very", "small"]
QUICK = {"pooling": "mean", "learning_rate": 2e-2, "num_train_epochs": 4, "batch_size": 12,
         "precision": "float32", "device": "cpu", "max_length": 16, "plots": False}


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"))


def write_bare(path, count=96, seed=0, columns=("text_a", "text_b")):
    """Twelve words, each with another that answers it: no word tells by itself which."""
    words, rng = sorted(sum(WORDS.values(), [])), random.Random(seed)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for i in range(count):
            texts = [words[i % 12], words[(i + 5) % 12], words[(i + 6) % 12]]
            writer.writerow([" ".join([*rng.choices(FILLERS, k=rng.randint(0, 1)), texts[0]]),
                             *texts[1:len(columns)]])
    return path


# ---- columns

@pytest.mark.parametrize("names, asked, texts, rated", [
    ("text_a,text_b,label", ("text_a", "text_b"), ("text_a", "text_b"), True),
    ("text_a,text_b,id", ("text_a", "text_b"), ("text_a", "text_b"), False),
    ("text_c,text_a,text_b", ("text_a", "text_b"), ("text_a", "text_b", "text_c"), False),
    ("text_c,text_a,text_b,label", ("text_a", "text_b"), ("text_a", "text_b"), True),
    ("q,answer,text_c", ("q", "answer"), ("q", "answer"), False),
    ("q,answer,bad", ("q", "answer", "bad"), ("q", "answer", "bad"), False)])
def test_columns_say_whether_pairs_have_scores(tmp_path, names, asked, texts, rated):
    (tmp_path / "p.csv").write_text(names + "\n")
    found, kind = pair_columns(tmp_path / "p.csv", asked, "label", {})
    assert (found, kind.columns) == (texts, ("label",) if rated else ())
    named, _ = pair_columns(tmp_path / "none.csv", asked, "label", {"columns": names.split(",")})
    assert named == texts


@pytest.mark.parametrize("header, change, message", [
    ("text_a,text_b,score", {}, "no column 'label', but 'score'.*--label_column score"),
    ("text_a,text_b,Label", {}, "no column 'label', but 'Label'"),
    ("text_a,text_b,lable", {}, "no column 'label', but 'lable'"),
    ("text_a,text_b", {"label_column": "rank"}, "no column 'rank' in the header"),
    ("text_a,text", {}, "no column 'text_b' in the header.*--text_column"),
    ("text_a,text_b,label", {"text_column": ("text_a", "text_b", "x")}, "expected two"),
    ("text_a,text_b", {"metric": "spearman"}, "metric is 'spearman'; expected one of ndcg@10"),
    ("text_a,text_b,label", {"metric": "mrr@10"}, "metric is 'mrr@10'; expected one of spearman"),
    ("text_a,text_b,label", {"symmetric": True}, "symmetric is True, which changes nothing"),
    ("text_a,text_b,label", {"scale": 30}, "scale is 30.0, which changes nothing"),
    ("text_a,text_b", {"scale": 0}, "scale is 0"),
    ("text_a,text_b", {"batch_size": 1}, "batch_size is 1, .*--batch_size 32"),
    ("text_a,text_b", {"text_column": ("a", "b", "c", "d")}, "names 4 columns"),
    ("text_a,text_b", {"validation_file": "text_a,text_b,label"}, "with a score, other than"),
    ("text_a,text_b", {"validation_file": "text_a,text_b,text_c"}, "and text_c without a score")])
def test_pairs_that_cannot_be_learned_from(bert, tmp_path, header, change, message):
    given = dict(change)
    for name, names in {"train_file": header, **{
            name: given.pop(name) for name in ("validation_file",) if name in given}}.items():
        rows = [[*"abc", 1], [*"def", 0]]
        (tmp_path / name).write_text("\n".join([names, *(
            ",".join(map(str, row[:names.count(",")] + row[-1:])) for row in rows)]) + "\n")
        given[name] = tmp_path / name
    with pytest.raises(BertKitError, match=message) as caught:
        train_similarity(bert, output_dir=tmp_path / "run", device="cpu", pooling="mean", **given)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_one_right_text_for_all_is_no_task(bert, tmp_path):
    (tmp_path / "p.csv").write_text("text_a,text_b\na,x\nb,x\n")
    with pytest.raises(BertKitError, match="'text_b' is 'x' in all 2 rows"):
        train_similarity(bert, tmp_path / "p.csv", output_dir=None, pooling="mean", device="cpu")


# ---- rows

def test_rows_of_three_texts(bert):
    rows = [("the red sun", "ice", "snow frost"), ("old", "the red sun", "ice"), ("a", "b", "c")]
    tokenizer = get_tokenizer(bert)
    dataset = RankingDataset(rows, tokenizer, 5)
    batch, = make_loader(dataset, 3, shuffle=False)
    assert batch["query"].tolist() == [0, 3, 4] and batch["labels"].tolist() == [1, 0, 5]
    assert batch["wrong"].tolist() == [2, 1, 6]
    sides = split_pairs(batch, 3)
    for ids, mask, text in zip(sides["input_ids"], sides["attention_mask"],
                               [text for side in zip(*rows) for text in side], strict=True):
        assert ids[mask.bool()].tolist() == tokenizer.encode(text, max_length=5).ids
    assert not sides["token_type_ids"].any()
    nothing = split_pairs(pad_batch([], example=dataset[0]), 3)  # a process without rows
    assert nothing["input_ids"].shape == (0, 1)


# ---- the job

def test_training_learns_what_answers_what(bert, tmp_path, capsys):
    columns = ("text_a", "text_b", "text_c")
    train, dev, test = (write_bare(tmp_path / f"{name}.csv", count, seed, columns)
                        for seed, (name, count) in enumerate([("train", 144), ("dev", 36),
                                                              ("test", 72)]))
    results = train_similarity(bert, train, validation_file=dev, test_file=test,
                               output_dir=tmp_path / "run", symmetric=True, **QUICK)
    said = capsys.readouterr().out
    assert "those of other rows are wrong for it, in a batch of 12" in said
    assert "NDCG@10" in said and "Spearman" not in said
    baselines, scores = results["baselines"], results["test"]
    assert baselines.keys() == {"before training", "TF-IDF"} and not results["rated"]
    assert baselines["TF-IDF"]["recall@1"] < 0.3 and baselines["before training"]["recall@1"] < 0.4
    assert scores["recall@1"] > 0.5 and results["verdict"]["learned"]
    log = [row["eval_ndcg@10"] for row in json.loads(
        (tmp_path / "run" / f"checkpoint-{results['steps']}" / "trainer_state.json").read_text()
    )["log"] if "eval_ndcg@10" in row]
    assert results["validation"]["ndcg@10"] == pytest.approx(max(log))  # of the best epoch
    encoder = SentenceEncoder(tmp_path / "run", device="cpu")
    assert evaluate_similarity(encoder, test) == scores
    with open(test, newline="") as file:
        rows = [tuple(row) for row in csv.reader(file)][1:]
    assert ranking_metrics(encoder.answers(Searched.of(rows))) == scores
    done = here("embed", "--model", "run", "--data_file", "test.csv", "--pairs", "--device", "cpu",
                folder=tmp_path)
    assert done.stdout.startswith(f"NDCG@10 {scores['ndcg@10']:.4f}  MRR@10")
    done = here("evaluate", "--model", "run", "--device", "cpu", "--no_plots", folder=tmp_path)
    assert f"recall@1              {scores['recall@1']:.4f}" in done.stdout
    assert "it has learned: ndcg@10" in done.stdout and "TF-IDF" in done.stdout


def test_what_has_learned_nothing_is_told(bert, tmp_path):
    """Random weights at a rate that moves nothing: no better than words, nor than before."""
    train = tmp_path / "train.csv"
    train.write_text("text_a,text_b\n" + "".join(
        f"the {word} thing,a {word} one\n" for word in sum(WORDS.values(), [])) * 2)
    results = train_similarity(bert, train, test_file=train, output_dir=None, pooling="mean",
                               learning_rate=1e-9, max_steps=1, device="cpu", verbosity=0)
    assert results["baselines"]["TF-IDF"]["recall@1"] == 1
    assert not results["verdict"]["learned"]
    assert {found["says"].split(":")[0] for found in results["verdict"]["findings"]} >= {
        "no better than before training", "no better than TF-IDF"}


def test_rows_without_scores_are_drawn_like_others():
    from bert_kit.data import limit
    part = Part([("a", "b"), ("c", "d"), ("e", "f")], np.zeros((3, 0), np.float32))
    few = limit(part, 2)
    assert len(few) == 2 and np.shape(few.labels) == (2, 0)
