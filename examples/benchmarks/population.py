"""Does a population that trains beat as many fixed draws? Both take the same steps.

    python examples/benchmarks/population.py

For each seed four sets of learning rate, weight decay, dropout and warm-up are drawn. Left alone
they are the column "fixed". In a population, after every epoch the worst of the four copies the
best with the probability `exploit`, and changes the copy's parameters or else its own. A column
shows the macro F1 of the best of the four at the end of the run, on the validation rows, by which
all the choices were made, and the accuracy of that one on the test rows. The model is a new BERT
of 2 layers, 64 wide, unless --weights names another, and the rows are those of the docstring task
unless --data_file names others. A seed takes about a minute of one core.
"""

import argparse
import contextlib
import statistics
import tempfile
from pathlib import Path

import torch

from bert_kit import BERTForMaskedLM, BertConfig, save_pretrained, train_tokenizer
from bert_kit.errors import BertKitError
from bert_kit.recipes.population import BertStep
from bert_kit.recipes.prediction import Predictor
from bert_kit.recipes.rows import read_rows
from bert_kit.recipes.settings import ClassificationSettings
from bert_kit.tuner import PBT, SearchSpace

SPACE = (SearchSpace().log_uniform("lr", 1e-4, 1e-2).log_uniform("weight_decay", 1e-4, 0.3)
         .continuous("dropout_rate", 0.0, 0.5).continuous("warmup_ratio", 0.0, 0.5))
EXPLOIT = {"exploit .5": 0.5, "exploit 1": 1.0}
COLUMNS = (*EXPLOIT, "fixed")


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


def measure(args, step, test, seed, folder):
    """Return {column: (score on validation rows, accuracy on test rows)} of one seed."""
    found = {}
    for name, exploit in EXPLOIT.items():
        pbt = PBT(SPACE, exploit=exploit, seed=seed)
        population = pbt.run(step, args.generations, folder / name)
        last = [member for member in population.lineage[-4:] if member.score is not None]
        found[name] = max((member.score, member.checkpoint) for member in last)
    ends = []
    for member in population.lineage[:4]:
        alone = [(epoch, member.params, member.seed) for epoch in range(args.generations)]
        with contextlib.suppress(BertKitError):  # a rate at which training diverges
            ends.append((pbt.replay(step, alone, folder / f"{member.slot}"),
                         folder / f"{member.slot}"))
    found["fixed"] = max(ends)
    for name, (score, state) in found.items():
        step.save_model(state, folder / "model")
        guesses = Predictor.load(folder / "model", "cpu").logits(test.texts).argmax(1)
        found[name] = score, (guesses == torch.tensor(test.labels)).float().mean().item()
    return found


def main(args):
    settings = ClassificationSettings(
        model=args.weights, data_file=args.data_file, max_train_samples=args.rows, val_size=0.2,
        test_size=0.2, max_length=64, group_by_length=True, num_train_epochs=args.generations,
        output_dir=None, device="cpu", precision="float32", verbosity=0)
    parts, rows = read_rows(settings), []
    print(f"{parts.description}\n\n{'seed':>6}" + "".join(
        f"{name:>12}{'test':>7}" for name in COLUMNS), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if args.weights is None:
            settings = settings.replace(model=small_bert(f"{folder}/bert", parts.train.texts))
        for seed in range(args.seeds):
            found = measure(args, BertStep(settings), parts.test, seed, Path(folder, str(seed)))
            rows.append([value for name in COLUMNS for value in found[name]])
            print(line(seed, rows[-1]), flush=True)
    columns = list(zip(*rows))
    print(line("mean", map(statistics.mean, columns)))
    for i, name in enumerate(EXPLOIT):
        gains = [ours - alone for ours, alone in zip(columns[2 * i], columns[-2])]
        error = statistics.stdev(gains) / len(gains)**0.5 if len(gains) > 1 else float("nan")
        print(f"{name} - fixed: {statistics.mean(gains):+.4f} ± {error:.4f} (standard error), "
              f"better in {sum(gain > 0 for gain in gains)} of {len(gains)} seeds")


def line(name, values):
    """Lay out one line of the table."""
    return f"{name:>6}" + "".join(
        f"{value:{width}.4f}" for value, width in zip(values, [12, 7] * len(COLUMNS)))


if __name__ == "__main__":
    main(parse_arguments())
