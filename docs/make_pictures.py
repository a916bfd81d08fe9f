"""Draw docs/pictures/*.svg from the kit's own functions and from runs whose numbers are stored.

    PYTHONPATH=. python docs/make_pictures.py

The numbers of trained models stand in docs/pictures/runs.json, each run with what gave it. This
trains the alphabet again (15 seconds on one core):

    PYTHONPATH=. python docs/make_pictures.py --train

and this stores a learning curve from the folder of a run, with the loss that its last lines call
the unigram entropy (the command is CURVE below; on a core that others used too, 50 minutes):

    PYTHONPATH=. python docs/make_pictures.py --curve runs/curve 6.1
"""

import argparse
import csv
import json
import math
import random
from pathlib import Path

import torch
from drawing import Chart, box, brace, label, line, named, picture
from model_pictures import PICTURES as MODEL_PICTURES
from search_pictures import PICTURES as SEARCH_PICTURES

from bert_kit import (BertConfig, BERTForMaskedLM, Tokenizer, compute_mlm_loss,
                      create_mlm_dataloader)
from bert_kit.model import Packing
from bert_kit.training import schedule_factor

FOLDER = Path(__file__).with_name("pictures")
CURVE = ("python examples/pretrain_mlm.py --model bert-tiny --vocab_size 4000 --max_length 64 "
         "--optim adamw --initial_weights random --mask_probability 0.15 --epochs 4 "
         "--output_dir runs/curve")


# ---- runs

def train_alphabet():
    """The run of the page "See it learn": losses, the probability of e, and attention."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters])
    draw, rows = random.Random(0), []
    for _ in range(2000):
        length = draw.randint(5, 9)
        start = draw.randrange(27 - length)
        rows.append(" ".join(letters[start:start + length]))
    question = tokenizer.encode("c d [MASK] f g", allow_special_tokens=True)
    ids, place = torch.tensor([question.ids]), question.ids.index(tokenizer.mask_id)
    torch.manual_seed(0)
    model = BERTForMaskedLM(BertConfig(
        vocab_size=31, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=13, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, initializer_range=0.1))
    loader = create_mlm_dataloader(rows, tokenizer, batch_size=32, max_length=13)
    total, losses, found = 8 * len(loader), [], []
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    for _ in range(8):
        for batch in loader:
            with torch.no_grad():
                shares = model(ids)[0, place].softmax(-1)
            found.append(shares[tokenizer.encode("e").ids[1]].item())
            optimizer.param_groups[0]["lr"] = 5e-3 * schedule_factor(len(losses), "linear",
                                                                     total // 10, total)
            loss = compute_mlm_loss(model, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    padded = torch.tensor([[*question.ids, tokenizer.pad_id, tokenizer.pad_id]])
    with torch.no_grad():
        weights, = model.eval().bert(padded, padded != tokenizer.pad_id,
                                     output_attentions=True).attentions
    every = 6  # steps for one point of the curves
    return {"command": "docs/make_pictures.py --train", "steps": [*range(every, total + 1, every)],
            "loss": [round(sum(losses[k:k + every]) / every, 3) for k in range(0, total, every)],
            "probability": [round(found[k + every - 1], 3) for k in range(0, total, every)],
            "tokens": tokenizer.tokens(padded[0].tolist()),
            "attention": [[[round(100 * weight) for weight in row] for row in head[:ids.shape[1]]]
                          for head in weights[0].tolist()]}


def read_curve(folder, unigram):
    """Return the losses of a run's metrics.csv."""
    with open(Path(folder, "metrics.csv"), encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("loss")]
    return {"command": CURVE, "unigram": unigram, "vocabulary": 4000,
            "steps": [int(row["step"]) for row in rows],
            "loss": [round(float(row["loss"]), 3) for row in rows]}


# ---- training

def schedule():
    """The learning rate over 100 steps: it climbs for 20, then stays, or falls"""
    chart = Chart(70, 46, 420, 190, (0, 100), (0, 1.05))
    steps = range(101)
    parts = [chart.axes("step", "learning rate", (0, 20, 40, 60, 80, 100),
                        ((0, "0"), (0.5, "half"), (1, "highest")))]
    places = {"constant": (60, 1.05), "cosine": (57, 0.66), "linear": (38, 0.44)}
    for kind, colour in (("constant", "green"), ("cosine", "orange"), ("linear", "blue")):
        parts += [chart.curve(steps, [schedule_factor(step, kind, 20, 100) for step in steps],
                              colour),
                  label(*chart.at(*places[kind]), kind, "start", colour)]
    return 560, 290, [*parts, line([chart.at(20, 0), chart.at(20, 1)], dashed=True),
                      label(*chart.at(10, 0.06), "warm-up", fill="dim", size=13)]


def learning_curve(runs):
    """A healthy loss of masked tokens: a first fall, the plateau, and how it is left"""
    run = runs["curve"]
    steps, loss, unigram = run["steps"], run["loss"], run["unigram"]
    first, places = math.log(run["vocabulary"]), [math.log2(step) for step in steps]
    top, bottom = math.ceil(first), math.floor(min(loss))
    chart = Chart(64, 76, 560, 250, (places[0], places[-1]), (bottom, top))
    ticks = [(math.log2(50 * 2**k), f"{50 * 2**k}") for k in range(7)]
    parts = [chart.axes("step, twice as many at each mark", "loss of masked tokens", ticks,
                        range(bottom, top + 1)),
             chart.level(first, f"ln V = {first:.2f}: every piece is as likely as any other"),
             chart.level(unigram, f"{unigram:.2f}: token counts alone", "orange"),
             chart.curve(places, loss, "blue")]
    for begin, end, text in ((50, 200, "first fall: counts"), (200, 400, "plateau"),
                             (400, steps[-1], "second fall: what stands around a token")):
        x, far = (chart.at(math.log2(step), top)[0] for step in (begin, end))
        parts.append(brace(x + 3, 40, far - x - 6, text))
    return 660, 380, parts


def learning(runs):
    """The alphabet run: its loss, and the probability of e in c d [MASK] f g"""
    run = runs["alphabet"]
    end = run["steps"][-1]
    loss = Chart(56, 46, 240, 210, (0, end), (0, 4))
    probability = Chart(392, 46, 240, 210, (0, end), (0, 1))
    ticks = [*range(0, end, 100)]
    return 660, 306, [
        loss.axes("step", "loss of masked tokens", ticks, range(5)),
        loss.level(math.log(31), "ln 31 = 3.43"),
        loss.curve(run["steps"], run["loss"], "blue"),
        probability.axes("step", "probability of e in “c d [MASK] f g”", ticks,
                         (0, 0.25, 0.5, 0.75, 1)),
        probability.curve(run["steps"], run["probability"], "green")]


# ---- files and speed

def checkpoint():
    """What lies in the folder of a run and in a checkpoint, and who reads it"""
    tree = [
        (0, "runs/mine/", None, None),
        (1, "config.json", "sizes, names of the classes", "model"),
        (1, "model.safetensors", "the weights, at the best step", "model"),
        (1, "tokenizer.json, vocab.txt, …", "the pieces", "model"),
        (1, "metrics.csv, results.json", "losses and scores", "person"),
        (1, "README.md", "the model card", "person"),
        (1, "manifest.json", "seed, versions, all settings", "run"),
        (1, "training_args.json, split.json", "rates and steps; the rows", "run"),
        (1, "checkpoint-500/", None, None),
        (2, "the model's files, as above", "at step 500", "model"),
        (2, "optimizer.pt", "both moments of each weight", "run"),
        (2, "scaler.pt", "the scale of float16", "run"),
        (2, "rng_state.pt", "dropout, order of the rows", "run"),
        (2, "trainer_state.json", "step, epoch, best score, log", "run"),
        (2, "digests.json", "SHA-256 of each file here", "run")]
    colours = {"model": ("sky", "blue"), "person": ("sand", "orange"), "run": ("mint", "green"),
               None: ("paper", "edge")}
    parts = []
    for number, (depth, name, what, reader) in enumerate(tree):
        y, x = 16 + 32 * number, 16 + 26 * depth
        fill, _ = colours[reader]
        if depth:
            parts.append(line([(x - 14, y - (6 if tree[number - 1][3] is None else 19)),
                               (x - 14, y + 13), (x - 2, y + 13)], width=1))
        parts.append(label(x + 8, y + 18, name, "start", weight=600) if what is None else
                     box(x, y, 600 - x, 26, fill, radius=4)
                     + label(x + 8, y + 18, name, "start", size=13)
                     + label(340, y + 18, what, "start", "ink", 13))
    y = 16 + 32 * len(tree) + 12
    for number, (reader, text) in enumerate((
            ("model", "read by load_pretrained, predict and transformers"),
            ("run", "read by --resume auto"), ("person", "for you"))):
        x, top = ((16, y), (16, y + 26), (240, y + 26))[number]
        parts += [box(x, top, 16, 16, colours[reader][0], colours[reader][1]),
                  label(x + 23, top + 13, text, "start", "dim", 13)]
    y += 86
    parts.append(label(16, y - 12, "model.safetensors, from its first byte to its last", "start",
                       weight=600))
    for x, width, text, what in ((16, 92, "8 bytes", "N, its length"),
                                 (112, 236, "N bytes of JSON", "name, type, shape, from, to"),
                                 (352, 248, "the numbers", "row by row, no gaps; 0 is here")):
        parts += [named(x, y, width, 32, text, "sky", "blue", size=13),
                  label(x, y + 50, what, "start", "dim", 13)]
    parts += [line([(352, y - 6), (352, y + 38)], "ink", 2)]
    return 620, y + 66, parts


def packing():
    """Eight rows as a grid, and the same tokens packed"""
    lengths = torch.tensor([3, 9, 5, 14, 7, 4, 11, 6])
    mask = torch.arange(16) < lengths[:, None]
    index = Packing.of(mask, mask.shape, mask.device).index[:int(mask.sum())]
    fills = [(colour, share) for share in (1.0, 0.5)
             for colour in ("blue", "orange", "green", "purple")]
    side, right, parts = 18, 346, []

    def place(x, y, row):
        return box(x, y, side - 2, side - 2, fills[row][0], share=fills[row][1], radius=2)

    parts += [label(16, 26, f"8 rows of 16: 128 places, {int(mask.sum())} tokens", "start"),
              label(right, 26, f"packed, the shortest row first: {int(mask.sum())}", "start")]
    for row, length in enumerate(lengths.tolist()):
        parts += [place(16 + side * s, 40 + side * row, row) if s < length
                  else box(16 + side * s, 40 + side * row, side - 2, side - 2, "pale", radius=2)
                  for s in range(16)]
    parts += [place(right + side * (n % 16), 40 + side * (n // 16), row)
              for n, row in enumerate((index // 16).tolist())]
    return 660, 202, parts


PICTURES = {**MODEL_PICTURES, **SEARCH_PICTURES, "schedule": schedule, "learning": learning,
            "learning-curve": learning_curve, "checkpoint": checkpoint, "packing": packing}
OF_RUNS = {"attention", "learning", "learning-curve"}  # drawn from runs.json


def svg(name, runs):
    """Return the text of one picture."""
    draw = PICTURES[name]
    return picture(draw.__doc__, *(draw(runs) if name in OF_RUNS else draw()))


def stored_runs():
    """Return the numbers of the trained models."""
    return json.loads((FOLDER / "runs.json").read_text("utf-8"))


def main():
    """Draw everything, after training or reading a run where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", action="store_true", help="train the alphabet again")
    parser.add_argument("--curve", nargs=2, metavar=("FOLDER", "UNIGRAM"),
                        help="read the learning curve of a run")
    arguments = parser.parse_args()
    runs = stored_runs()
    if arguments.train:
        runs["alphabet"] = train_alphabet()
    if arguments.curve:
        runs["curve"] = read_curve(arguments.curve[0], float(arguments.curve[1]))
    (FOLDER / "runs.json").write_text(json.dumps(runs, separators=(",", ":")) + "\n", "utf-8")
    for name in PICTURES:
        (FOLDER / f"{name}.svg").write_text(svg(name, runs), "utf-8")


if __name__ == "__main__":
    main()
