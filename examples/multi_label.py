"""Texts with any number of labels: train, choose thresholds, calibrate, and look at it all.

    python examples/multi_label.py --model FOLDER --data_file FOLDER --preset fast
    python examples/multi_label.py --model FOLDER --data_file rows.csv --label_column joy anger fear
    python examples/multi_label.py … --preset fast --resume auto              # go on
    python examples/multi_label.py … --warm_start --extra_epochs 2  # from the best

The rows have the columns text and labels (names with | between, or a JSON list), or a column of 0
and 1 for each label. Thresholds and scales are chosen on the validation rows and only applied to
the test rows. Results go to results/statistics.json (of a warm start to statistics_resumed.json),
pictures to results/visualizations/. The preset demo is that of short runs on a model that is tuned
already: a low rate, and of the 12 blocks of BERT-base only the last two move, and the head. What
a preset says is changed by --set, such as: --set freeze_layers=4 time_limit=600
"""

import argparse
import json
import shutil
from pathlib import Path

from bert_kit import BertKitError, Predictor, train_classifier

PRESETS = {
    "fast": {"num_epochs": 3, "max_length": 64, "max_train_samples": 4_000},
    "demo": {"num_epochs": 3, "batch_size": 16, "learning_rate": 5e-6, "max_length": 64,
             "max_train_samples": 4_000, "freeze_layers": 10},
    "paper": {"num_epochs": 40, "early_stopping": 2, "batch_size": 16, "learning_rate": 2e-5,
              "max_length": 128},
}


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="folder or name of a BERT; without it a small one")
    parser.add_argument("--data_file", required=True, help="file, or folder with train, dev, test")
    parser.add_argument("--label_column", nargs="+", default=["labels"])
    parser.add_argument("--preset", choices=PRESETS, default="fast")
    parser.add_argument("--resume", choices=["auto"], help="go on with an interrupted run")
    parser.add_argument("--warm_start", action="store_true", help="start from the run's own model")
    parser.add_argument("--extra_epochs", type=int, help="epochs of a warm start; default 1")
    parser.add_argument("--learning_rate", type=float, help="a low one for a warm start: 5e-6")
    parser.add_argument("--output_dir", default="results", help="where everything goes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE",
                        help="options of training in place of the preset's, or besides")
    return parser.parse_args(arguments)


def main(args):
    folder = Path(args.output_dir)
    run = folder / f"{args.preset}_seed{args.seed}"
    settings = {**PRESETS[args.preset], "model": args.model, "output_dir": run}
    if args.warm_start:  # the weights go on; optimizer and schedule begin anew
        settings |= {"model": run, "output_dir": run.with_name(f"{run.name}_resumed"),
                     "num_epochs": args.extra_epochs or 1, "learning_rate": 5e-6}
    elif args.extra_epochs:
        raise BertKitError("extra_epochs are those of a warm start; give --warm_start too")
    if args.learning_rate is not None:
        settings["learning_rate"] = args.learning_rate
    for name, equals, value in (each.partition("=") for each in args.set):
        if not equals:
            raise BertKitError(f"--set has {name!r}; expected NAME=VALUE, as num_epochs=2")
        settings[name] = value

    # 1. Train: binary cross-entropy that starts from how common each label is.
    results = train_classifier(**{
        "task": "multi_label", "data_file": args.data_file, "resume": args.resume,
        "label_column": args.label_column, "seed": args.seed, **settings})

    # 2. What came out: scores at .5, at one threshold, at one a label; before and after scaling.
    run = Path(results["output_dir"])
    statistics = {name: results.get(name) for name in (
        "test", "validation", "baselines", "calibration", "rows", "seconds")}
    statistics["run"] = json.loads((run / "manifest.json").read_text("utf-8"))
    file = f"statistics{'_resumed' if args.warm_start else ''}.json"  # the first ones stay
    (folder / file).write_text(json.dumps(statistics, indent=1), encoding="utf-8")
    pictures = folder / "visualizations"
    pictures.mkdir(exist_ok=True)
    for path in sorted(run.glob("*.png")):
        shutil.copy(path, pictures / f"{run.name}_{path.name}")

    # 3. The model as a user meets it.
    predictor = Predictor.load(run)
    for text in ("What a lovely surprise, thank you!", "I am so tired of waiting for an answer."):
        print(f"{text}  {', '.join(predictor.predict([text])[0]) or '(no label)'}")
    print(f"\nsaved in {folder}: {file}, visualizations/, {run.name}/")
    return results


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except BertKitError as error:
        raise SystemExit(f"error: {error}") from None
