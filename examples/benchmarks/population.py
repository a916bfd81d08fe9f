"""Does a population that trains beat as many fixed draws? Both take the same steps.

    python examples/benchmarks/population.py

For each seed four sets of learning rate, weight decay, dropout and warm-up are drawn. Left alone
they are "fixed". In a population, after every epoch the worst of the four copies the best with the
probability `exploit`, and changes the copy's parameters or else its own. "end" is the macro F1 of
the best of the four after the last epoch, "best" that of the best of all epochs, both on the
validation rows, by which all the choices were made; "test" is the accuracy of the latter on the
test rows. The model is a new BERT of 2 layers, 64 wide, unless --weights names another, and the
rows are those of the docstring task unless --data_file names others. A seed takes about two
minutes of one core.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import torch

from bert_kit import BERTForMaskedLM, BertConfig, save_pretrained, train_tokenizer
from bert_kit.jobs.run.job import TrainingJob
from bert_kit.jobs.tasks.classes import ClassOptions, ClassTask
from bert_kit.jobs.tasks.texts import Predictor
from bert_kit.jobs.tuning.legs import BertStep
from bert_kit.tuner import PBT, SearchSpace

SPACE = (SearchSpace().log_uniform("lr", 1e-4, 1e-2).log_uniform("weight_decay", 1e-4, 0.3)
         .continuous("dropout_rate", 0.0, 0.5).continuous("warmup_ratio", 0.0, 0.5))
SIDES = {"exploit .5": {"exploit": 0.5}, "exploit 1": {"exploit": 1.0},
         "fixed": {"exploit": 0.0, "factors": (1.0,)}}  # changes nothing
SCORES = ("end", "best", "test")


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", help="model folder; default a new small BERT")
    parser.add_argument("--data_file", help="labelled rows; default the docstring task")
    parser.add_argument("--rows", type=int, default=1_000, help="to train on")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--generations", type=int, default=10, help="epochs of the run")
    return parser.parse_args(arguments)


def small_bert(folder, texts):
    """Write a BERT with random weights and a vocabulary of the texts, and return its folder."""
    tokenizer = train_tokenizer(texts, 4_000)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BERTForMaskedLM(BertConfig(
            vocab_size=tokenizer.vocab_size, hidden_size=64, num_hidden_layers=2,
            num_attention_heads=2, intermediate_size=256, max_position_embeddings=64))
    save_pretrained(model, folder, tokenizer)
    return folder


def measure(args, step, test, seed, side, folder):
    """Return the SCORES of one side with one seed."""
    population = PBT(SPACE, seed=seed, **side).run(step, args.generations, folder / "population")
    end = max(member.score for member in population.lineage[-4:] if member.score is not None)
    step.save_model(population.best.checkpoint, folder / "model")
    guesses = Predictor.load(folder / "model", "cpu").logits(test.texts).argmax(1)
    right = (guesses == torch.tensor(test.labels)).float().mean().item()
    return end, population.best.score, right


def main(args):
    options = ClassOptions(
        model=args.weights, data_file=args.data_file, max_train_samples=args.rows, val_size=0.2,
        test_size=0.2, max_length=64, group_by_length=True, num_train_epochs=args.generations,
        output_dir=None, device="cpu", precision="float32", verbosity=0)
    parts, rows = TrainingJob(ClassTask(), options).read(), []
    print(f"{parts.description}\n\n{'':4}" + "".join(f"{name:>27}" for name in SIDES))
    print("seed" + "".join(f"{name:>9}" for name in SCORES) * len(SIDES), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if args.weights is None:
            options = options.replace(model=small_bert(f"{folder}/bert", parts.train.texts))
        for seed in range(args.seeds):
            rows.append([score for name, side in SIDES.items() for score in measure(
                args, BertStep(options), parts.test, seed, side, Path(folder, f"{seed} {name}"))])
            print(line(seed, rows[-1]), flush=True)
    columns = list(zip(*rows, strict=True))
    print(line("mean", map(statistics.mean, columns)))
    fixed = columns[-len(SCORES):]
    for i, name in enumerate(list(SIDES)[:-1]):
        for score, ours, theirs in zip(SCORES, columns[len(SCORES) * i:], fixed, strict=False):
            gains = [one - other for one, other in zip(ours, theirs, strict=True)]
            error = statistics.stdev(gains) / len(gains)**0.5 if len(gains) > 1 else float("nan")
            print(f"{name} - fixed, {score:4}: {statistics.mean(gains):+.4f} ± {error:.4f} "
                  f"(standard error), better in {sum(gain > 0 for gain in gains)} of {len(gains)}")


def line(name, values):
    """Lay out one line of the table."""
    return f"{name:>4}" + "".join(f"{value:9.4f}" for value in values)


if __name__ == "__main__":
    main(parse_arguments())
