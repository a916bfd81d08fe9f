"""The command line: `python -m bert_kit JOB …`, or `bert-kit JOB …`. One subcommand a recipe."""

import argparse
import sys

from bert_kit import __version__
from bert_kit.errors import BertKitError


def corpus(args):
    from bert_kit.recipes.corpus import write_corpus
    print(f"{args.output}: {write_corpus(args.output)}")


def info(args):
    from bert_kit.recipes.inspection import describe_folder
    print(describe_folder(args.model, args.download))


def build_parser():
    """Return the parser of all jobs; each sets `run`, the function that does it."""
    parser = argparse.ArgumentParser("bert-kit", description=__doc__.split(":")[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--version", action="version", version=f"bert_kit {__version__}")
    jobs = parser.add_subparsers(title="jobs", metavar="JOB", required=True)

    job = jobs.add_parser("corpus", help="write the text that every Python already has")
    job.add_argument("--output", default="corpus.txt", help="file to write (default: %(default)s)")
    job.set_defaults(run=corpus)

    job = jobs.add_parser("info", help="say what is in a model folder")
    job.add_argument("model", help="folder or name of a model")
    job.add_argument("--download", action="store_true", help="allow the hub to be asked")
    job.set_defaults(run=info)
    return parser


def main(arguments=None):
    """Run one job and return its exit code: 0, or 1 for input that cannot be used (2: usage)."""
    args = build_parser().parse_args(arguments)
    try:
        args.run(args)
    except BertKitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0
