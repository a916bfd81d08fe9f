"""The head of a model card, read by PyYAML and by the hub's own library."""

import json

import pytest

from bert_kit.jobs.run.card import HUB_METRICS, HUB_TASKS, write_card
from bert_kit.jobs.tasks.table import PLACES, task_named
from bert_kit.jobs.tasks.classes import ClassTask

RESULTS = {"task": "classification", "model": "google/bert_uncased_L-2_H-128_A-2",
           "parameters": 1_000, "classifier": "standard", "steps": 3, "seconds": 1.0,
           "classes": ["no: really", 'a "quoted" one', "two\nlines"],
           "rows": {"train": 8, "test": 2}, "baselines": {},
           "test": {"accuracy": 0.91239, "f1_macro": 0.5, "matthews_correlation": float("nan")}}


def card(folder, model_type="bert", **changes):
    """Return the metadata and the text of a card."""
    yaml = pytest.importorskip("yaml")
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    write_card(folder, {**RESULTS, **changes}, "gives a text one class", ClassTask.columns,
               "predict --model x")
    first, head, text = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    assert first == ""
    return yaml.safe_load(head), text


def test_the_head_says_what_the_hub_asks(tmp_path):
    metrics = [{"type": "accuracy", "name": "accuracy", "value": 0.9124},
               {"type": "f1", "name": "macro F1", "value": 0.5}]
    head, text = card(tmp_path / "run")
    assert head == {
        "library_name": "transformers", "pipeline_tag": "text-classification",
        "base_model": "google/bert_uncased_L-2_H-128_A-2",
        "tags": ["bert", "bert_kit", "text-classification"], "metrics": ["accuracy", "f1"],
        "model-index": [{"name": "run", "results": [{
            "task": {"type": "text-classification"},
            "dataset": {"type": "unpublished", "name": "the test rows of the training"},
            "metrics": metrics}]}]}
    assert text.startswith("\n# run\n") and "opens in bert_kit only" not in text
    assert "Leave the rest here. test_predictions.csv" in text
    assert card(tmp_path / "run", "roberta")[0]["tags"][0] == "roberta"  # whose weights they are
    head, _ = card(tmp_path / "run", test=None, validation={"accuracy": 0.25})
    assert head["metrics"] == ["accuracy"]
    assert head["model-index"][0]["results"][0]["dataset"]["name"].startswith("the validation")
    head, _ = card(tmp_path / "run", test=None)
    assert "metrics" not in head and "model-index" not in head


def test_the_library_of_the_hub_reads_the_same(tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    head, _ = card(tmp_path / "run")
    read = hub.ModelCard((tmp_path / "run" / "README.md").read_text("utf-8"))
    assert read.data.to_dict() == head
    scores = [hub.EvalResult("text-classification", "unpublished",
                             "the test rows of the training", kind, value, metric_name=name)
              for kind, name, value in (("accuracy", "accuracy", 0.9124), ("f1", "macro F1", 0.5))]
    ours = hub.ModelCardData(**{key: head[key] for key in (
        "library_name", "pipeline_tag", "base_model", "tags", "metrics")},
        model_name="run", eval_results=scores)
    assert ours.to_dict() == read.data.to_dict()


@pytest.mark.parametrize("name", ["a: b", 'say "x" #1', "- 'y'", "tab\there", "\x85 \u2028 \x7f",
                                  "{a}: [b]", "&anchor *star !tag", "\U0001f600 é"])
def test_any_name_is_one_plain_text(name, tmp_path):
    head, _ = card(tmp_path / name)
    shown = " ".join("".join(char if char.isprintable() else " " if char.isspace() else ""
                             for char in name).split())
    assert head["model-index"][0]["name"] == shown


def test_only_weights_with_a_name_are_a_base_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "pretrained").mkdir(parents=True)
    for model, named in (("bert-base-uncased", True), ("runs/pretrained", False), (None, False),
                         (str(tmp_path / "gone"), False), ("../gone", False), ("a/b/c", False)):
        head, _ = card(tmp_path / "run", model=model)
        assert head.get("base_model") == (model if named else None), model


def test_a_head_of_the_kit_alone_is_said_to_be_one(tmp_path):
    head, text = card(tmp_path / "run", model_type="bert_kit", classifier="cnn")
    assert head["library_name"] == "bert_kit" and "It opens in bert_kit only" in text
    head, text = card(tmp_path / "run", model_type="roberta")
    assert head["tags"][0] == "roberta" and "A roberta (standard head" in text
    head, _ = card(tmp_path / "run", task="package.module:Own")
    assert head["library_name"] == "bert_kit" and "pipeline_tag" not in head
    head, _ = card(tmp_path / "run", task="similarity", test={"accuracy": 1.0})
    assert head["library_name"] == "sentence-transformers"


def test_every_task_and_score_of_the_kit_has_a_name_on_the_hub():
    tasks = [task_named(name) for name in PLACES]
    assert HUB_TASKS.keys() == {task.name for task in tasks}
    headings = {heading for task in tasks for _, heading, *_ in task.columns}
    assert HUB_METRICS.keys() < headings
    named = {HUB_METRICS.get(heading, key) for task in tasks for key, heading, *_ in task.columns}
    assert named <= {"accuracy", "f1", "matthews_correlation", "precision", "recall", "spearmanr",
                     "pearsonr", "mse", "exact_match", "perplexity",  # of hf.co/metrics
                     "jaccard", "loss",  # which it has not, as these
                     "ndcg@10", "mrr@10", "recall@1", "recall@10"}
