"""The command `answer`: a question and a text in, the best answers out."""

from dataclasses import dataclass
from typing import ClassVar

from bert_kit.data import read_squad
from bert_kit.errors import ConfigError
from bert_kit.evaluation import NBest, answer_metrics
from bert_kit.files import write_json
from bert_kit.jobs.options.declare import option
from bert_kit.jobs.options.groups import (PrecisionOptions, RowOptions, UseOptions,
                                          check_output)
from bert_kit.jobs.run.left_out import tell_reading
from bert_kit.jobs.tasks.answers import Answerer, format_answer_scores, right_answers
from bert_kit.printing import one_line, show


@dataclass(frozen=True)
class UseAnswererOptions(UseOptions, PrecisionOptions, RowOptions):
    """What to answer, and where to."""

    title: ClassVar[str] = "data"
    examples = ('bert-kit answer --model runs/answerer --question "Where?" --context "In Rome."',
                "bert-kit answer --model runs/answerer --input_file dev.json --output_file a.json")
    main = ("model", "question", "context", "input_file", "output_file")

    question: str | None = option(None, "what to answer", may_be_empty=True)
    context: str | None = option(None, "the text that may hold the answer",
                                 may_be_empty=True)
    n_best: int | None = option(None, "answers to list (default: 5)", least=1)
    input_file: str | None = option(None, "questions to answer, JSON as SQuAD's; scored if it "
                                    "holds their answers")
    output_file: str | None = option(None, "JSON to write: the answer of each id")

    def __post_init__(self) -> None:
        super().__post_init__()
        single = {"question": self.question, "context": self.context, "n_best": self.n_best}
        needed = {"question": self.question, "context": self.context}
        if self.input_file is not None or self.output_file is not None:
            needed = {"input_file": self.input_file}
            for name, value in single.items():
                if value is not None:
                    raise ConfigError(f"{name} is for a single question; leave it out with a file")
        for name, value in needed.items():
            if value is None:
                raise ConfigError(f"{name} is missing; expected a model, a question and a context, "
                                  "or a model and an input_file")
        check_output(self.output_file, self.input_file)


def run(options: UseAnswererOptions) -> str:
    """Answer a question, or those of a file; print and return what was found, as text for people.
    """
    text = _one(options) if options.input_file is None else _file(options)
    show(text)
    return text


def _load(options: UseAnswererOptions) -> Answerer:
    return Answerer.load(options.model, options.device, options.download,
                         precision=options.precision)


def _one(options: UseAnswererOptions) -> str:
    answerer = _load(options)
    return format_answers(answerer, answerer.answer(
        str(options.question), str(options.context), options.n_best or 5))


def _file(options: UseAnswererOptions) -> str:
    """Answer the questions of a file, write and score the answers; return what to say of it."""
    reading = options.row_reading()
    questions = list(read_squad(str(options.input_file), labelled=False, **reading))
    tell_reading(reading, len(questions), options)
    labelled = all(question.answers is not None for question in questions)
    if not labelled and options.output_file is None:
        raise ConfigError(f"{options.input_file}: does not hold all answers, so there is nothing "
                          "to score; expected an output_file for those found")
    answerer, lines = _load(options), []
    found = answerer.decisions(questions, answerer.answers(answerer.dataset(questions)))
    if options.output_file is not None:
        write_json(options.output_file, found)
        lines.append(f"{len(found):,} answers: {options.output_file}")
    if labelled:
        lines.append(format_answer_scores(answer_metrics(found, right_answers(questions))))
    return "\n".join(lines)


def format_answers(answerer: Answerer, best: NBest) -> str:
    """Return an NBest as text: the answer, a table of the best, and the odds of none."""
    lines = [_shown(answerer.decide(best)), "", f"{'score':>8}{'probability':>13}  answer"]
    lines += [f"{found.score:8.2f}{found.probability:13.3f}  {_shown(found.text)}"
              for found in best.answers]
    rule = "it always answers" if answerer.null_threshold is None else (
        f"no answer where they are above {answerer.null_threshold:.2f}")
    lines.append(f"\nno answer: score {best.null_score:.2f}, odds {best.null_odds:.2f} ({rule})")
    return "\n".join(lines)


def _shown(text: str) -> str:
    return one_line(text, 200) or "(no answer)"
