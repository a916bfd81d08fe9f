"""The kit and a plain transformers loop with equal settings have equal losses, step for step.

Without dropout nothing is random but the order of the rows, which is the kit's on both sides: as
many steps of the real Trainer, with the loss, the groups and the schedule of a job's options.
"""

import pytest
import torch
from tiny_jobs import table, write_table
from tiny_tasks import labelled, write_conll, write_documents, write_squad

from bert_kit import train_tokenizer
from bert_kit.jobs.run.job import TrainingJob
from bert_kit.jobs.tasks.table import task_named
from bert_kit.weights import to_hugging_face

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")

STEPS, WARMUP, RATE, HEAD_RATE, DECAY = 100, 9, 2e-3, 5e-3, 0.1
NONE = {"dropout": 0.0, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
CLASSES = {"classification": "BertForSequenceClassification",
           "multi_label": "BertForSequenceClassification",
           "regression": "BertForSequenceClassification",
           "tagging": "BertForTokenClassification",
           "answering": "BertForQuestionAnswering",
           "masked": "BertForMaskedLM"}


def rows_of(task, folder):
    """Write the training file of a task and return what options name it."""
    write = {
        "classification": lambda: write_table(folder / "train.csv", 60),
        "multi_label": lambda: labelled(folder, "train.csv", "labels",
                                        lambda name: "" if name == "cold" else name),
        "regression": lambda: labelled(folder, "train.csv", "label", len),
        "tagging": lambda: write_conll(folder / "train.conll", 60),
        "answering": lambda: write_squad(folder / "train.json", 20, impossible=True),
        "masked": lambda: write_documents(folder / "train.txt", 40, 0)}
    if task == "answering":
        return {"train_file": write[task](), "stride": 8}
    return {"train_file": write[task](), **({"nsp": False} if task == "masked" else {})}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A BERT that transformers wrote, with a vocabulary of the rows."""
    folder = tmp_path_factory.mktemp("start")
    tokenizer = train_tokenizer(table()[0], vocab_size=120, min_frequency=1)
    torch.manual_seed(2)
    model = transformers.BertForPreTraining(transformers.BertConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=24, num_hidden_layers=2,
        num_attention_heads=3, intermediate_size=40, max_position_embeddings=40,
        initializer_range=0.1))
    model.save_pretrained(folder)
    tokenizer.save(folder)
    return folder


def training_of(task, start, folder, fused):
    """Return what a job trains, before its first step; its batches are of odd sizes and ragged."""
    task = task_named(task)

    class Chosen(type(task)):
        def config(self, options, parts, before):
            return {**super().config(options, parts, before), "fused": fused}

    rates = {"head_learning_rate": HEAD_RATE} if task.has_head else {}
    options = task.options(
        **rows_of(task.name, folder), **NONE, **rates, model=start, learning_rate=RATE,
        max_steps=STEPS, warmup_steps=WARMUP, weight_decay=DECAY, optim="adamw", batch_size=7,
        max_grad_norm=0.5, max_length=24, val_size=0, precision="float32", device="cpu",
        logging_steps=1, output_dir=None, verbosity=0, **(
            {"test_size": 0} if hasattr(task.options, "test_size") else {}))
    job = TrainingJob(Chosen(), options)
    return job.build(job.tokenize(job.read()))


def begin_alike(theirs, ours):
    """Copy the new head; what both read from the folder is equal already."""
    weights = to_hugging_face(ours.state_dict())
    for name, value in theirs.state_dict().items():
        if name.startswith(("bert.", "cls.")) and name in weights:
            assert torch.equal(value, weights[name]), name
    missing, unknown = theirs.load_state_dict(weights, strict=False)
    assert not unknown and not any(name.startswith(("classifier", "qa")) for name in missing)


def optimizer_of(model):
    """Return AdamW with the usual groups: no decay of biases and LayerNorm, a rate for the head."""
    groups = {}
    for name, parameter in model.named_parameters():
        decay = not (name.endswith("bias") or "LayerNorm" in name)
        head = name.startswith(("classifier", "qa_outputs"))
        groups.setdefault((decay, head), []).append(parameter)
    return torch.optim.AdamW([
        {"params": parameters, "weight_decay": DECAY * decay, "lr": HEAD_RATE if head else RATE}
        for (decay, head), parameters in groups.items()], foreach=True)


def answers_loss(model, batch):
    """Return the library's loss, where padding takes no share of the probability.

    Its own model lets it take one, so that a row's loss depends on how long the others are.
    """
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask", "token_type_ids")}
    output, padding = model(**inputs), batch["attention_mask"] == 0
    return sum(torch.nn.functional.cross_entropy(
        logits.masked_fill(padding, -1e9), batch[f"{side}_positions"]) for side, logits in (
            ("start", output.start_logits), ("end", output.end_logits))) / 2


def plain_loop(model, loader, loss_of):
    """Return the losses of the loop that transformers' own examples show.

    The kit's schedule is theirs without its first step, whose rate is 0.
    """
    optimizer, losses = optimizer_of(model.train()), []
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, WARMUP + 1, STEPS + 1)
    schedule.step()
    loader.batch_sampler.start_at(0, 0)
    while len(losses) < STEPS:
        for batch, _ in zip(loader, range(STEPS - len(losses))):
            loss = loss_of(model, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize("task", CLASSES)
def test_both_follow_each_other(task, start, tmp_path):
    # What fused=False changes is the encoder, the head of masked tokens and the tokens' loss.
    kinds = (True, False) if task in ("classification", "tagging", "masked") else (True,)
    runs = [training_of(task, start, tmp_path, fused) for fused in kinds]
    parts = runs[0].parts
    problem = {"multi_label": "multi_label_classification", "regression": "regression"}.get(task)
    theirs = getattr(transformers, CLASSES[task]).from_pretrained(
        start, num_labels=len(parts.classes) or (1 if task == "regression" else 2),
        problem_type=problem, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    for run in runs:
        begin_alike(theirs, run.model)
    losses = []
    for run in runs:
        with run.at_work() as trainer:
            trainer.train()
        losses.append([row["loss"] for row in trainer.state.log if "loss" in row])
    plain = plain_loop(theirs, runs[0].trainer.train_loader,
                       answers_loss if task == "answering" else lambda model, batch:
                       model(**batch).loss)
    assert sum(plain[-20:]) < 0.95 * sum(plain[:20])  # it learned: there is much to follow
    for found in losses:
        torch.testing.assert_close(torch.tensor(found), torch.tensor(plain), atol=1e-4, rtol=0)
