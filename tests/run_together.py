"""What two processes do together in tests/training/test_distributed.py, which does the same in one.

Run as a script, it does it all in a process that torchrun's environment describes.
"""

import os
import shutil
import signal
import sys

import torch
from tiny_jobs import table
from tiny_rows import rows_loader
from tiny_runs import CONFIG, build, weights

from bert_kit import (AMPTrainer, BertKitError, BERTForPreTraining, BERTForSequenceClassification,
                      Predictor, TextClassificationTrainer, TrainingError,
                      compute_classification_loss, train_classifier)
from bert_kit.training import (EarlyStopping, MemoryManager, compute_pretraining_loss,
                               find_learning_rate, gradual_unfreezing, join_processes)

PLAIN = CONFIG.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
SETTINGS = {"num_epochs": 2, "batch_size": 7, "max_length": 24, "gradient_accumulation_steps": 2,
            "learning_rate": 5e-3, "device": "cpu", "precision": "float32", "baselines": False,
            "plots": False, "hidden_dropout_prob": "own", "attention_probs_dropout_prob": "own"}
LONG = {**SETTINGS, "num_epochs": 8}
# Name: head, and options of `head_step`. Between them they use every way to read the tokens.
HEADS = {"standard": ("standard", {}), "mlp": ("mlp", {"pooling": "max"}),
         "bilstm": ("bilstm", {"num_layers": 2}), "attention": ("attention", {}),
         "cnn": ("cnn", {}), "formula": ("cnn", {"fused": False}),
         "fourier_kan": ("fourier_kan", {}), "wavelet_kan": ("wavelet_kan", {"pooling": "mean"})}


def trained(trainer, resume=None):
    """Train, and return what should be the same however many processes there are."""
    trainer.train(resume)
    return {"weights": weights(trainer), "log": trainer.state.log}


def small_run(masked, processes):
    """22 rows in batches of 3: 8 batches, the last of one row; 3 batches a step, at the end 2."""
    return trained(build(None, masked, rows=22, gradient_accumulation_steps=3, logging_steps=1,
                         config=PLAIN, processes=processes))


def job_batches(processes, folder):
    """Rows in the batches that the classification job trains this process on."""
    job = TextClassificationTrainer(f"{folder}/bert", processes=processes, output_dir=None,
                                    **SETTINGS)
    datasets = job.prepare_data(f"{folder}/rows.csv")
    job.setup_trainer(datasets)
    return [len(batch["labels"]) for batch in job.trainer.train_loader]


def exchanges(processes):
    """Of the backward passes of a run, which ones add gradients up over the processes."""
    seen = []

    def loss(model, batch, counts):
        seen.append(model.require_backward_grad_sync)
        return compute_classification_loss(model, batch, counts)

    build(None, loss=loss, rows=22, gradient_accumulation_steps=3, num_train_epochs=1,
          processes=processes).train()
    return seen


def rows_seen(processes):
    """The rows of each batch of two epochs, as the first two ids of each."""
    loader = rows_loader(22, 3, share=processes.share)
    return [[tuple(row[:2].tolist()) for row in batch["input_ids"]]
            for _ in range(2) for batch in loader]


def head_step(classifier, processes, fused=True, **options):
    """One step on 4 rows and on one, of which the second process gets none."""
    torch.manual_seed(2)
    model = BERTForSequenceClassification(
        PLAIN.replace(classifier={"type": classifier, **options}, fused=fused))
    model.bert.gradient_checkpointing = True
    amp = AMPTrainer(model, torch.optim.SGD(model.parameters(), lr=0.1), precision="float32",
                     processes=processes)
    results = [amp.train_step(compute_classification_loss, [batch])
               for batch in rows_loader(5, 4, share=processes.share)]
    return {"weights": model.state_dict(), "loss": results[-1].loss, "norm": results[-1].grad_norm}


def pretraining_step(processes):
    """Both tasks on rows of which the second process has none."""
    torch.manual_seed(2)
    model = BERTForPreTraining(PLAIN)
    amp = AMPTrainer(model, torch.optim.SGD(model.parameters(), lr=0.1), precision="float32",
                     processes=processes)
    batch = next(iter(rows_loader(1, 1, masked=True, share=processes.share)))
    batch["next_sentence_label"] = torch.ones(len(batch["input_ids"]), dtype=torch.int64)
    return {"loss": amp.train_step(compute_pretraining_loss, [batch]).loss,
            "weights": model.state_dict()}


def unfrozen(processes):
    return trained(build(None, config=PLAIN, num_train_epochs=4, unfreezing=gradual_unfreezing,
                         processes=processes))


def learning_rate(processes):
    torch.manual_seed(3)
    model = BERTForSequenceClassification(PLAIN)
    return find_learning_rate(model, compute_classification_loss,
                              rows_loader(22, 3, share=processes.share), steps=30,
                              processes=processes)


def logits(count, processes, folder):
    predictor = Predictor.load(f"{folder}/classifier", "cpu", processes=processes)
    return predictor.logits(table(count)[0])


def resumed(processes, folder):
    """Weights of an unbroken run with dropout, and of one that goes on from its third step."""
    settings = dict(save_strategy="steps", save_steps=3, save_total_limit=9, precision="bfloat16",
                    processes=processes)
    trainer = build(f"{folder}/whole", **settings)
    torch.manual_seed(5 + processes.rank)  # each has its own dropout
    whole = trained(trainer)
    if processes.first:
        shutil.copytree(f"{folder}/whole/checkpoint-3", f"{folder}/part/checkpoint-3")
    processes.wait()
    return whole, trained(build(f"{folder}/part", **settings), "auto")


def agreements(processes):
    """Where a run ends that only the last process wants to end."""
    def last_one(do):
        steps = []

        def loss(model, batch, counts):
            steps.append(trainer.state.step)
            if processes.rank == processes.size - 1 and steps[-2:] == [1, 2]:  # once
                do()
            return compute_classification_loss(model, batch, counts)
        return loss

    found = {}
    trainer = build(None, loss=last_one(lambda: os.kill(os.getpid(), signal.SIGTERM)),
                    processes=processes)
    try:
        trainer.train()
    except KeyboardInterrupt:
        found["interrupted"] = trainer.state.step
    trainer = build(None, time_limit=1e6, processes=processes, loss=last_one(
        lambda: setattr(trainer.state, "elapsed", 2e6)))
    found["out of time"] = trainer.train().step, trainer.state.stopped
    values = iter([0.5, 0.4, 0.3] if processes.first else [0.1, 0.2, 0.3])
    trainer = build(None, evaluate=lambda: {"loss": next(values)}, num_train_epochs=3,
                    greater_is_better=True, stopping=EarlyStopping(1), processes=processes)
    found["without patience"] = trainer.train().step
    memory = MemoryManager(0.5, 1, 4, measure=lambda device: 0.9 * (
        processes.first and trainer.state.step == 2))
    trainer = build(None, memory=memory, processes=processes)
    found["short of memory"] = trainer.train().rows_at_a_time, memory.current
    return found


def refused(processes):
    try:
        processes.from_first(lambda: (_ for _ in ()).throw(BertKitError("no such file")))
    except BertKitError as error:
        return str(error), processes.from_first(lambda: processes.rank)


def memory_runs_out(processes):
    """The last process finds no memory; the others must not wait for it."""
    def loss(model, batch, counts):
        if processes.rank == processes.size - 1 and trainer.state.step == 2:
            torch.empty(1 << 50)
        return compute_classification_loss(model, batch, counts)

    trainer = build(None, loss=loss, memory=MemoryManager(1.0, 1, 4), processes=processes)
    trainer.train()


def shared_work(processes):
    """(this process's share, everyone's results in order) of 0, 1, … 5 items, a generator's."""
    found = []
    for count in range(6):
        mine = list(processes.mine(iter(range(count))))
        found.append((mine, processes.in_order(-item for item in mine)))
    return found


def everything(processes, folder):
    found = {f"small run {masked}": small_run(masked, processes) for masked in (False, True)}
    for name, (head, options) in HEADS.items():
        found[name] = head_step(head, processes, **options)
    found["pre-training"] = pretraining_step(processes)
    found["unfrozen"] = unfrozen(processes)
    found["learning rate"] = learning_rate(processes)
    found["rows"] = rows_seen(processes)
    found["shared work"] = shared_work(processes)
    for count in (150, 10):
        found[f"logits {count}"] = logits(count, processes, folder)
    found["job batches"] = job_batches(processes, folder)
    found["job"] = train_classifier("cnn", f"{folder}/bert", f"{folder}/rows.csv",
                                    output_dir=f"{folder}/job-{processes.size}", **SETTINGS)
    return found


def main(folder):
    found = {}
    try:
        with join_processes() as processes:
            found = everything(processes, folder)
            train_classifier("cnn", "dropout", "rows.csv", output_dir="unbroken", **LONG)
            found["resumed"] = resumed(processes, folder)
            found["agreements"] = agreements(processes)
            found["exchanges"] = exchanges(processes)
            found["refused"] = refused(processes)
            memory_runs_out(processes)
    except TrainingError as error:
        found["end"] = str(error)
    torch.save(found, f"{folder}/found-{os.environ['RANK']}")


if __name__ == "__main__":
    main(sys.argv[1])
