"""The answer to a question in a text: which words of the text are it, or that none are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bert_kit.config import BertConfig
from bert_kit.data import AnsweringDataset, Question, find_parts, read_squad
from bert_kit.errors import ConfigError, DataError
from bert_kit.evaluation import (Finding, NBest, answer_metrics, best_null_threshold, best_spans,
                                 few_rows, same_answers)
from bert_kit.files import write_json
from bert_kit.jobs.options.declare import option, with_defaults
from bert_kit.jobs.options.groups import FileOptions, TrainOptions, reading_notes
from bert_kit.jobs.run.left_out import tell_reading
from bert_kit.jobs.run.predictor import TrainedModel
from bert_kit.jobs.run.task import Parts, Scores, Task, drawn_rows, fingerprint_of, rows_to_keep
from bert_kit.model import BERTForQuestionAnswering
from bert_kit.printing import align
from bert_kit.tokenization import Tokenizer
from bert_kit.training import Loss, compute_answering_loss

if TYPE_CHECKING:
    from bert_kit.jobs.run.job import Training

CANDIDATES = 20  # answers of which the best is taken


@dataclass(frozen=True)
@with_defaults({"data_file": "JSON in the format of SQuAD 1.1 or 2.0, or a folder with train.json "
                "and, where they exist, dev.json and test.json",
                "max_length": "tokens in a row of question and context",
                "learning_rate": "peak rate; 1e-4 with weights, 5e-4 from scratch; auto finds one "
                "by a range test"}, task="answering", max_length=384, metric="f1")
class AnswerOptions(TrainOptions, FileOptions):
    """What to train on to find answers, and how; checked when it is made, before any work."""

    examples = ("bert-kit train --task answering --data_file squad/ --model minilm",
                "bert-kit train --task answering --train_file train.json --stride 64")
    title: ClassVar[str] = "data"

    stride: int = option(128, "how many pieces further each row of a long context starts",
                         "doc_stride", least=1)
    longest_answer: int = option(30, "most tokens of an answer", "max_answer_length", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_length < 5:
            raise ConfigError(f"max_length is {self.max_length}; expected at least 5, for a "
                              "question and a context")


class Answerer(TrainedModel):
    """A model that finds where in a text the answer stands; see `TrainedModel`.

    Examples
    --------
    ::

        answerer = Answerer.load("runs/answerer")
        print(answerer.answer("Where was Ada born?", "Ada Lovelace was born in London.").text)
    """

    model_class, command = BERTForQuestionAnswering, "answer"

    @property
    def null_threshold(self) -> float | None:
        """Above these odds a question has no answer.

        None for a model that was never shown a question without one: it always answers.
        """
        return self.remembered("null_threshold", float, None)

    def dataset(self, questions: Sequence[Question]) -> AnsweringDataset:
        """Return the AnsweringDataset of some questions."""
        stride = self.remembered("answering_stride", int, 128)
        return AnsweringDataset(questions, self.tokenizer, self.max_length, stride)

    def answers(self, dataset: AnsweringDataset, count: int = CANDIDATES) -> list[NBest]:
        """Return the NBest of each question of a dataset, of up to `count` answers.

        If questions may have no answer, the text "" stands among the answers with its score.
        """
        logits, found = super().answers(dataset), []
        longest = self.remembered("longest_answer", int, 30)
        for question, first, end in zip(dataset.asked, dataset.row_of, dataset.row_of[1:],
                                        strict=False):
            windows = [(logits[row], dataset.offsets(row)) for row in range(first, end)]
            found.append(best_spans(windows, question.context, count, longest,
                                    self.null_threshold is not None))
        return found

    def answer(self, question: str, context: str, count: int = 5) -> NBest:
        """Return the NBest of one question, of up to `count` answers."""
        best, = self.answers(self.dataset([Question("", question, context)]), count)
        return best

    def decide(self, best: NBest) -> str:
        """Return the answer that an NBest stands for: "" if none is more likely than any."""
        threshold = self.null_threshold
        return "" if threshold is not None and best.null_odds > threshold else best.text

    def decisions(self, questions: Sequence[Question], found: Sequence[NBest]) -> dict[str, str]:
        """Return the answer to each question, by its id."""
        return {question.id: self.decide(best)
                for question, best in zip(questions, found, strict=True)}


class AnswerTask(Task[list[Question]]):
    """The answer to a question in a text; a part is a list of Question."""

    name, what = "answering", "finds the answer to a question in a text"
    use = 'answer --model {model} --question "…" --context "…"'
    options, predictor_class = AnswerOptions, Answerer
    metrics, drops_in_head = ("f1", "exact_match"), False
    columns = (("exact_match", "exact match", 13, ".4f"), ("f1", "F1", 10, ".4f"))
    rates = (1e-4, 5e-4)

    def folder_name(self, options: Any) -> str:
        return "answerer"

    def read(self, options: Any) -> Parts[list[Question]]:
        files, _ = find_parts(**options.files(), suffixes=(".json",))
        reading = options.row_reading()
        parts = {name: list(read_squad(path, **reading)) for name, path in files.items()}
        if "validation" not in parts and options.val_size:
            parts["train"], parts["validation"] = _cut(parts["train"], options.val_size)
        silent = sum(not question.answers for question in parts["train"])
        if silent == len(parts["train"]):
            raise DataError("no question to train on has an answer; expected some with one")
        counts = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
        return Parts(parts["train"], parts.get("validation"), parts.get("test"),
                     fingerprint_of(parts), f"{counts} questions"
                     + f"; {silent:,} to train on have no answer" * (silent > 0),
                     note=reading_notes(reading, sum(map(len, parts.values()))),
                     bad_rows=reading["bad_rows"] or ())

    def subset(self, part: list[Question], count: int, seed: int) -> list[Question]:
        return [part[row] for row in drawn_rows(len(part), count, seed)]

    def texts(self, part: list[Question]) -> list[str]:
        return [*(question.question for question in part),
                *dict.fromkeys(question.context for question in part)]

    def dataset(self, part: list[Question], name: str, parts: Parts[list[Question]],
                tokenizer: Tokenizer, options: Any) -> AnsweringDataset:
        return AnsweringDataset(part, tokenizer, options.max_length, options.stride)

    def config(self, options: Any, parts: Parts[list[Question]],
               before: BertConfig) -> dict[str, Any]:
        silent = any(not question.answers for question in parts.train)
        return encoder_dropout(options.dropout) | {
            "classifier": {}, "extra": {
                **before.extra, "answering_stride": options.stride,
                "longest_answer": options.longest_answer,
                "null_threshold": 0.0 if silent else None}}

    def loss(self, options: Any, training: "Training | None" = None) -> Loss:
        return compute_answering_loss

    def choose(self, answers: list[NBest], part: list[Question], predictor: Answerer,
               options: Any) -> dict[str, Any]:
        """With questions that have no answer, choose the threshold on the odds of that."""
        if predictor.null_threshold is None:
            return {}
        best = {question.id: one for question, one in zip(part, answers, strict=True)}
        threshold, _ = best_null_threshold({name: one.null_odds for name, one in best.items()},
                                           {name: one.text for name, one in best.items()},
                                           right_answers(part))
        return {"null_threshold": threshold}

    def scores(self, answers: list[NBest], part: list[Question], predictor: Answerer) -> Scores:
        return answer_metrics(predictor.decisions(part, answers), right_answers(part))

    def findings(self, answers: list[NBest], part: list[Question], predictor: Answerer,
                 scores: Scores, rows: str) -> list[Finding]:
        given = predictor.decisions(part, answers).values()
        right = [texts[0] if texts else "" for texts in right_answers(part).values()]
        return [*same_answers(given, right, rows, lambda text: repr(text) if text else "no answer"),
                *few_rows(len(part), rows)]

    def constant_baseline(self, part: list[Question]) -> dict[str, Scores]:
        right = right_answers(part)
        return {"no answer to any question": answer_metrics(dict.fromkeys(right, ""), right)}

    def facts(self, training: "Training") -> dict[str, Any]:
        return {"null_threshold": training.predictor.null_threshold}

    def leave(self, training: "Training", answers: Mapping[str, list[NBest]],
              results: dict[str, Any], folder: Path, plots: bool, concluded: None) -> None:
        """Write the predictions for a part, in the form that SQuAD's own script reads."""
        name = next((name for name in ("test", "validation") if name in answers), None)
        if name is not None:
            write_json(folder / f"{name}_predictions.json", training.predictor.decisions(
                training.parts.present()[name], answers[name]))

    # ---- the command `evaluate`

    def read_to_score(self, options: Any, predictor: Answerer, folder: Path) -> list[Question]:
        reading = options.row_reading()
        questions = list(read_squad(options.data_file, **reading))
        tell_reading(reading, len(questions), options)
        return questions

    def dataset_for(self, predictor: Answerer, part: list[Question]) -> AnsweringDataset:
        return predictor.dataset(part)

    def report(self, folder: Path, results: Scores, answers: list[NBest], part: list[Question],
               predictor: Answerer, options: Any) -> str:
        write_json(folder / "predictions.json", predictor.decisions(part, answers))
        return format_answer_scores(results)


def encoder_dropout(rate: float | None) -> dict[str, float]:
    """Return the fields of a configuration for dropout in the encoder; None changes nothing."""
    return {} if rate is None else {"hidden_dropout_prob": rate,
                                    "attention_probs_dropout_prob": rate}


def format_answer_scores(scores: Scores) -> str:
    """Return `answer_metrics` as a table, a line a kind of question."""
    kinds = {"": "all", "has_answer_": "with an answer", "no_answer_": "without"}
    return align(["questions", "", "exact match", "F1"], [
        [name, f"{scores[f'{kind}questions']:,}", f"{scores[f'{kind}exact_match']:.4f}",
         f"{scores[f'{kind}f1']:.4f}"] for kind, name in kinds.items()
        if f"{kind}questions" in scores], left=[0])


def right_answers(part: Sequence[Question]) -> dict[str, list[str]]:
    """Return the right answers to each question, by its id; none where there is no answer."""
    return {question.id: [text for text, _ in question.answers or ()] for question in part}


def _cut(part: list[Question], share: float) -> tuple[list[Question], list[Question]]:
    """Cut questions off the end, so that each paragraph stays on one side."""
    left = rows_to_keep(len(part), share, "the training file")
    edges = [row for row in range(1, len(part)) if part[row].context != part[row - 1].context]
    if not edges:
        raise DataError("the training file has one paragraph, so none can be held out; "
                        "expected more, a validation_file or val_size 0")
    left = min(edges, key=lambda row: abs(row - left))
    return part[:left], part[left:]
