"""The command line: `python -m bert_kit JOB …`, or `bert-kit JOB …`. One subcommand a recipe."""

import argparse
import sys

from bert_kit import __version__
from bert_kit.errors import BertKitError, ConfigError, UsageError
from bert_kit.recipes.active_settings import ActiveSettings
from bert_kit.recipes.job_parser import JobHelp, JobParser
from bert_kit.recipes.options import add_arguments, named, read_config_file, same_spelling
from bert_kit.recipes.settings import (HEADS, ClassificationSettings, PretrainingSettings,
                                       SimilaritySettings)
from bert_kit.recipes.token_settings import AnsweringSettings, TaggingSettings
from bert_kit.recipes.tuning_settings import TuningSettings


def corpus(args):
    from bert_kit.recipes.corpus import write_corpus
    print(f"{args.output}: {write_corpus(args.output)}")


def info(args):
    from bert_kit.recipes.inspection import describe_folder
    print(describe_folder(args.model, args.download))


def pretrain(args):
    from bert_kit.recipes.pretraining import run
    run(_settings(args, PretrainingSettings))


def train(args):
    from bert_kit.recipes.classification import run
    run(_settings(args))


def compare(args):
    from bert_kit.recipes.comparison import compare, compare_runs
    classifiers, runs = args.classifiers, args.runs
    del args.classifiers, args.runs
    settings = _settings(args)
    if runs:
        compare_runs(runs, settings.output_dir, settings.metric, settings.plots,
                     settings.verbosity)
    else:
        compare(settings, classifiers)


def tune(args):
    from bert_kit.recipes.tuning import run, run_all
    classifiers, every = args.classifiers, args.all
    del args.classifiers, args.all
    if (every or classifiers) and "classifier" in args:
        raise UsageError("classifier is one head to search; leave it out beside all or classifiers")
    settings = _settings(args, TuningSettings)
    if every or classifiers:
        run_all(settings, classifiers or HEADS)
    else:
        run(settings)


def active(args):
    from bert_kit.recipes.active_learning import run
    run(_settings(args, ActiveSettings))


def evaluate(args):
    from bert_kit.recipes.scoring import evaluate_classifier
    evaluate_classifier(**_values(args))


def predict(args):
    from bert_kit.recipes.prediction import predict
    values = _values(args)
    count = predict(**values)
    if values["output_file"] is not None and count:
        print(f"{count:,} rows: {values['output_file']}")


def tag(args):
    from bert_kit.recipes.tagger import tag
    from bert_kit.recipes.tagging import run
    values = _to_use(args, "texts", "input_file", "output_file", "words", "text_column",
                     also=("word_column", "tag_column"))
    if values is None:
        run(_settings(args, TaggingSettings))
    elif (count := tag(**values)) and "output_file" in values:
        print(f"{count:,} texts: {values['output_file']}")


def answer(args):
    from bert_kit.recipes.answerer import answer
    from bert_kit.recipes.answering import run
    values = _to_use(args, "question", "context", "n_best", "input_file", "output_file")
    if values is None:
        run(_settings(args, AnsweringSettings))
    else:
        print(answer(**values))


def embed(args):
    from bert_kit.recipes.sentence_vectors import embed
    from bert_kit.recipes.similarity import run
    values = _to_use(args, "data_file", "output_file", "queries", "pairs", "vectors", "top_k",
                     "text_column", also=("pooling", "delimiter"))
    if values is None:
        run(_settings(args, SimilaritySettings))
    else:
        print(embed(**values))


def explore(args):
    from bert_kit.recipes.exploring import explore
    print(f"{explore(**_values(args))} tokens: {args.output_file}")


def _values(args):
    """Return the arguments of a job without the parser's own."""
    return {name: value for name, value in vars(args).items() if name not in ("run", "config")}


def _to_use(args, *own, also=()):
    """Return what `tag`, `answer` or `embed` was given to use a model; None if it is to train one.

    It is to use one where any of its `own` flags is given. Most others then have no meaning, but
    for the few in `also`.
    """
    values = _values(args)
    if not values.keys() & {*own}:
        return None
    others = {*own, *also, "model", "device", "download", "precision", "encoding"}
    for name in [*values, *["config"] * (args.config is not None)]:
        if name not in others:
            raise ConfigError(f"{name} is for training; leave it out where a model is used "
                              f"({', '.join(own)})")
    return values


def _settings(args, kind=ClassificationSettings):
    """Return the settings: command line over config file over defaults."""
    stored = {} if args.config is None else named(kind, read_config_file(args.config), args.config)
    return kind(**{**stored, **_values(args)})


def _add_no_cuda(job):
    job.add_argument("--no_cuda", action="store_const", const="cpu", dest="device",
                     default=argparse.SUPPRESS, help="the same as --device cpu")


def _add_calibrated(job):
    job.add_argument("--calibrated", action="store_true", help="scale probabilities as training "
                     "found to be right; the answers stay the same")


def _add_rows(job, labels=False):
    """Add the flags of a job that reads rows for a model that was trained on such ones."""
    job.add_argument("--text_column", nargs="+", help="column with the texts, two for pairs; "
                     "default: as in training")
    if labels:
        job.add_argument("--label_column", nargs="+", help="column with the label; default: as in "
                         "training")
    job.add_argument("--delimiter", help="of CSV fields")
    job.add_argument("--encoding", default="utf-8-sig", help="of the file")
    job.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    _add_no_cuda(job)
    job.add_argument("--download", action="store_true", help="allow the hub to be asked")


def _add_training(jobs, name, run, text):
    job = jobs.add_parser(name, help=text, description=text, allow_abbrev=False,
                          formatter_class=JobHelp,
                          usage=f"bert-kit {name} [options]; --help lists them")
    job.add_argument("--config", help="file with options, .toml, .json or .yml")
    _add_no_cuda(job)
    job.set_defaults(run=run)
    return job


def _add_embed(jobs):
    job = _add_training(jobs, "embed", embed, "turn texts into vectors, search by them, or train "
                        "an encoder on rated pairs")
    use = job.add_argument_group("using a model")
    absent = argparse.SUPPRESS
    use.add_argument("--data_file", default=absent, help="table, or .txt with a text a line")
    use.add_argument("--text_column", default=absent, help="column of the table (default: text)")
    use.add_argument("--output_file", default=absent, help=".npy to write: a vector for each text")
    use.add_argument("--query", dest="queries", nargs="+", default=absent,
                     help="find the texts nearest to these")
    use.add_argument("--vectors", default=absent,
                     help="what --output_file wrote before, to search in")
    use.add_argument("--top_k", type=int, default=absent,
                     help="texts to find for a query (default: 10)")
    use.add_argument("--pairs", action="store_true", default=absent, help="score the model on the "
                     "columns text_a, text_b and label, a number")
    add_arguments(job, SimilaritySettings, leave_out=("from_scratch",))


def _add_tag(jobs):
    job = _add_training(jobs, "tag", tag, "train a tagger (entities, parts of speech), or use one")
    use = job.add_argument_group("using a model that was trained")
    absent = argparse.SUPPRESS
    use.add_argument("--text", dest="texts", nargs="+", default=absent, help="texts to tag")
    use.add_argument("--input_file", default=absent, help="file to tag: .txt, a text a line, or a "
                     "table")
    use.add_argument("--text_column", default=absent, help="column of the table (default: text)")
    use.add_argument("--words", action="store_true", default=absent,
                     help="input_file has a word a line, as files to train on have")
    use.add_argument("--output_file", default=absent, help=".csv, a line an entity, or .conll, a "
                     "line a word; without it, printed")
    add_arguments(job, TaggingSettings)


def _add_answer(jobs):
    job = _add_training(jobs, "answer", answer, "train on questions about texts, or answer one")
    use = job.add_argument_group("using a model that was trained")
    absent = argparse.SUPPRESS
    use.add_argument("--question", default=absent, help="what to answer")
    use.add_argument("--context", default=absent, help="the text that may hold the answer")
    use.add_argument("--n_best", type=int, default=absent, help="answers to list (default: 5)")
    use.add_argument("--input_file", default=absent, help="questions to answer, JSON as SQuAD's; "
                     "scored if it holds their answers")
    use.add_argument("--output_file", default=absent, help="JSON to write: the answer of each id")
    add_arguments(job, AnsweringSettings)


def _add_explore(jobs):
    job = jobs.add_parser("explore", help="see on a page how a model reads a text",
                          allow_abbrev=False, formatter_class=JobHelp)
    job.add_argument("--model", required=True, help="folder or name of a model")
    job.add_argument("--text", required=True, help="text to read; [MASK] in it is a masked place")
    job.add_argument("--text_b", help="the second text of a pair")
    job.add_argument("--mask", action="store_true", help="let every token be guessed in turn")
    job.add_argument("--output_file", default="exploration.html", help="page to write")
    job.add_argument("--download", action="store_true", help="allow the hub to be asked")
    job.set_defaults(run=explore)


def _add_training_jobs(jobs):
    """Add the jobs whose flags are declared as settings."""
    job = _add_training(jobs, "pretrain", pretrain, "pre-train a model on masked tokens")
    add_arguments(job, PretrainingSettings)

    job = _add_training(jobs, "train", train, "train a text classifier")
    add_arguments(job, ClassificationSettings)

    job = _add_training(jobs, "compare", compare, "train several heads on one split")
    job.add_argument("--classifiers", "--classifier_types", "--classifier", "--classifier_type",
                     nargs="+", default=list(HEADS), choices=[*HEADS, "custom"],
                     help="which heads; all by default")
    job.add_argument("--runs", nargs="+", metavar="FOLDER",
                     help="compare these finished runs instead of training")
    add_arguments(job, ClassificationSettings, leave_out=("classifier",))

    job = _add_training(jobs, "tune", tune, "search the hyperparameters of a text classifier")
    several = job.add_mutually_exclusive_group()
    several.add_argument("--all", "--tune_all", action="store_true", help="of every head")
    several.add_argument("--classifiers", "--classifier_types", nargs="+",
                         choices=[*HEADS, "custom"], help="of these heads, one after the other")
    add_arguments(job, TuningSettings, leave_out=("fast_dev_run", "overfit_batches"))

    job = _add_training(jobs, "active", active, "ask for the labels that help a classifier most")
    add_arguments(job, ActiveSettings, leave_out=("fast_dev_run", "overfit_batches", "time_limit",
                                                  "baselines"))


def build_parser():
    """Return the parser of all jobs; each sets `run`, the function that does it."""
    parser = argparse.ArgumentParser(
        "bert-kit", description="Train, tune and use BERT. bert-kit JOB --help lists its options.")
    parser.add_argument("--version", action="version", version=f"bert_kit {__version__}")
    jobs = parser.add_subparsers(title="jobs", metavar="JOB", required=True,
                                 parser_class=JobParser)
    _add_training_jobs(jobs)

    job = jobs.add_parser("evaluate", help="score a trained classifier", allow_abbrev=False,
                          formatter_class=JobHelp)
    job.add_argument("--model", "--best_model", required=True, help="folder that train wrote")
    job.add_argument("--data_file", help="labelled rows; the run's own test rows without it")
    job.add_argument("--other", help="a second model to compare with on the same rows")
    job.add_argument("--output_dir", "--output_root", help="default: evaluation in the model's")
    job.add_argument("--folds", type=int, default=7, help="parts to score the fixed model on")
    job.add_argument("--mistakes", type=int, default=20, help="most confident ones to show")
    job.add_argument("--seed", type=int, default=0, help="of resamplings and folds")
    job.add_argument("--no_plots", action="store_false", dest="plots", help="draw no pictures")
    _add_calibrated(job)
    job.add_argument("--verbosity", type=int, choices=(0, 1, 2), default=1)
    _add_rows(job, labels=True)
    job.set_defaults(run=evaluate)

    job = jobs.add_parser("predict", help="classify texts", allow_abbrev=False,
                          formatter_class=JobHelp)
    job.add_argument("--model", "--best_model", required=True, help="folder that train wrote")
    job.add_argument("--text", dest="texts", nargs="+", help="texts to classify")
    job.add_argument("--text_b", dest="texts_b", nargs="+", help="the second text of each pair")
    job.add_argument("--data_file", help="file with texts; - is standard input, a text a line")
    job.add_argument("--output_file", help="CSV to write; without it, standard output")
    job.add_argument("--precision", default="float32", choices=("float32", "bfloat16"),
                     help="bfloat16 is faster on most machines, off in the third digit")
    _add_calibrated(job)
    job.add_argument("--raw_cells", action="store_false", dest="guard_formulas",
                     help="leave cells alone that a spreadsheet would run as formulas")
    _add_rows(job)
    job.set_defaults(run=predict)

    _add_tag(jobs)
    _add_answer(jobs)
    _add_embed(jobs)
    _add_explore(jobs)

    job = jobs.add_parser("info", help="say what is in a model folder")
    job.add_argument("model", help="folder or name of a model")
    job.add_argument("--download", action="store_true", help="allow the hub to be asked")
    job.set_defaults(run=info)

    job = jobs.add_parser("corpus", help="write the text that every Python already has")
    job.add_argument("--output", default="corpus.txt", help="file to write (default: %(default)s)")
    job.set_defaults(run=corpus)
    return parser


def main(arguments=None):
    """Run one job and return its exit code: 0, or 1 for input that cannot be used (2: usage)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if hasattr(sys.stdout, "reconfigure"):  # a terminal without Unicode shows \xdf, not an error
        sys.stdout.reconfigure(errors="backslashreplace")
    args = build_parser().parse_args(same_spelling(arguments))
    try:
        args.run(args)
    except BertKitError as error:
        print("error:", *str(error).splitlines(), file=sys.stderr)  # one line, whatever it names
        return 2 if isinstance(error, UsageError) else 1
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
        return 1
    except OSError as error:  # a folder that may not be entered, a disk that is gone
        print(f"error: {BertKitError(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        resumes = args.run in (pretrain, train, compare, tune, active) or args.run in (
            tag, answer, embed) and not {
                "texts", "input_file", "question", "data_file"} & vars(args).keys()
        print("interrupted" + "; go on with --resume auto" * resumes, file=sys.stderr)
        return 130
    return 0
