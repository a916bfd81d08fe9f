"""Find the hyperparameters of a text classifier: by trials, and then while a population trains.

    python examples/tune_classifier.py                            # a small BERT from scratch
    python examples/tune_classifier.py --weights runs/pretrained  # pre-trained weights
    python examples/tune_classifier.py --data_file reviews.csv    # columns text,category

The same command once more goes on where the last one was interrupted.

Without a file the task is to tell which library a description comes from. All choices are made on
the validation rows; the test rows are scored once, at the end. `python -m bert_kit tune` is this
with more options, for every head.
"""

import argparse
from pathlib import Path

from bert_kit import BertKitError, Predictor
from bert_kit.evaluation import classification_metrics
from bert_kit.files import read_json, write_json
from bert_kit.jobs.run.job import TrainingJob
from bert_kit.jobs.tasks.classes import ClassOptions, ClassTask
from bert_kit.jobs.tuning.legs import BertStep
from bert_kit.tuner import LoggingCallback, parameters_text
from bert_kit.jobs.tuning.trial import Objective, trial_options
from bert_kit.tuner import PBT, TPE, Median, SearchSpace, Study


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--weights", help="folder or name of a BERT to start from")
    parser.add_argument("--data_file", help="CSV with the columns text and category")
    parser.add_argument("--output_dir", default="runs/tuning", help="where everything goes")
    parser.add_argument("--model", default="bert-tiny", help="size of a model from scratch")
    parser.add_argument("--classifier", default="standard", help="which head")
    parser.add_argument("--rows", type=int, help="train on so many rows")
    parser.add_argument("--max_length", type=int, default=64, help="tokens in a row")
    parser.add_argument("--epochs", type=int, default=4, help="of a trial, and of the population")
    parser.add_argument("--n_trials", type=int, default=12)
    parser.add_argument("--population", type=int, default=4, help="models that train side by side")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main(args):
    folder = Path(args.output_dir)

    # 1. What stays the same in every training.
    task, base = ClassTask(), ClassOptions(
        model=args.weights, from_scratch=args.model, data_file=args.data_file,
        classifier=args.classifier, max_train_samples=args.rows, max_length=args.max_length,
        num_train_epochs=args.epochs, val_size=0.15, test_size=0.2, group_by_length=True,
        metric="f1_macro", seed=args.seed, output_dir=None, plots=False, baselines=False,
        verbosity=0)
    begun = folder / "arguments.json"  # trials that were trained otherwise would not compare
    for name, value in (read_json(begun) if begun.exists() else {}).items():
        if value != getattr(args, name):
            raise BertKitError(f"{folder}: --{name} was {value} and is now {getattr(args, name)}; "
                               "expected the same command, or another --output_dir")
    rows = TrainingJob(task, base).read()
    write_json(begun, vars(args))
    print(f"data         {rows.description}")

    # 2. What may change: names are options of training, ranges are those worth a try.
    space = (SearchSpace()
             .log_uniform("lr", 1e-5, 5e-3)
             .log_uniform("weight_decay", 1e-8, 1e-1)
             .continuous("dropout_rate", 0.1, 0.6)
             .continuous("warmup_ratio", 0.0, 0.3)
             .ordered("batch_size", [8, 16, 32, 64]))

    # 3. Trials: each trains a model from the start. TPE draws the next parameters where good
    #    trials are dense and bad ones are not; the pruner ends what falls behind half of them.
    print(f"\ntrials       {args.n_trials} of {args.epochs} epochs")
    study = Study("trials", space, folder / "trials", direction="maximize", sampler=TPE(),
                  pruner=Median(), seed=args.seed, resume=True)
    over = sum(trial.over for trial in study.trials)
    study.optimize(Objective(base, keep=False), n_trials=args.n_trials - over,
                   callbacks=[LoggingCallback(base.metric)])
    shares = study.importance()
    print("importance   " + (", ".join(f"{name} {share:.0%}" for name, share in shares.items())
                             if any(shares.values()) else "too few trials to tell"))

    # 4. A population: after every epoch the worst member goes on from the weights of the best,
    #    with parameters a little larger or smaller. A parameter becomes a schedule.
    print(f"\npopulation   {args.population} members, {args.epochs} epochs")
    step = BertStep(base)
    pbt = PBT(space.only("lr", "weight_decay", "dropout_rate", "warmup_ratio"),
              population=args.population, seed=args.seed)
    population = pbt.run(step, generations=args.epochs, path=folder / "population",
                         resume=True, callbacks=[LoggingCallback(base.metric)])
    print("the schedule of the best")
    for generation, params, _ in population.schedule(population.best):
        print(f"  epoch {generation + 1}  {parameters_text(params)}")

    # 5. The test rows, once: by the defaults, the best trial trained again, the best member.
    step.save_model(population.best.checkpoint, folder / "best_member")
    scores = {}
    for name, options in (("defaults", base),
                          ("best_trial", trial_options(base, study.best.params))):
        options = options.replace(output_dir=str(folder / name), resume="auto")
        scores[name] = TrainingJob(task, options).run()["test"]
    guesses = Predictor.load(folder / "best_member").logits(rows.test.texts).argmax(1)
    scores["best_member"] = classification_metrics(
        guesses, rows.test.labels, len(rows.classes))
    print(f"\n{'test rows':30}accuracy  macro F1")
    for name, score in {**dict(task.text_baselines(rows, rows.test)), **scores}.items():
        shown_f1 = f"{score['f1_macro']:10.3f}" if "f1_macro" in score else ""
        print(f"{name:30}{score['accuracy']:8.3f}{shown_f1}")
    print(f"\nsaved in {folder}")
    return scores


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except BertKitError as error:
        raise SystemExit(f"error: {error}") from None
