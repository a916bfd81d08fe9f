"""A model that finds answers, put to use: a question and a context in, the best answers out."""

import os

from bert_kit.data import AnsweringDataset, Question, read_squad
from bert_kit.errors import ConfigError
from bert_kit.evaluation import answer_metrics, best_spans
from bert_kit.printing import align, one_line
from bert_kit.files import write_json
from bert_kit.model import BERTForQuestionAnswering
from bert_kit.recipes.token_predictor import TokenPredictor


class Answerer(TokenPredictor):
    """A model that finds where in a text the answer stands; see `TokenPredictor`.

    Attributes
    ----------
    null_threshold : float or None
        Above these odds a question has no answer. None for a model that was never shown a question
        without one: it always answers.

    Examples
    --------
    ::

        answerer = Answerer.load("runs/answerer")
        print(answerer.answer("Where was Ada born?", "Ada Lovelace was born in London.").text)
    """

    model_class, job = BERTForQuestionAnswering, "answer"

    @property
    def null_threshold(self):
        return self.remembered("null_threshold", float, None)

    def dataset(self, questions):
        """Return the AnsweringDataset of a list of Question."""
        stride = self.remembered("answering_stride", int, 128)
        return AnsweringDataset(questions, self.tokenizer, self.max_length, stride)

    def find(self, questions, dataset=None, count=20):
        """Return the NBest of each Question, of up to `count` answers.

        If questions may have no answer, the text "" stands among the answers with its score.
        `dataset` is that of the questions, if it is at hand.
        """
        dataset = self.dataset(questions) if dataset is None else dataset
        logits, found = self.dataset_logits(dataset), []
        longest = self.remembered("longest_answer", int, 30)
        for question, first, end in zip(questions, dataset.row_of, dataset.row_of[1:]):
            windows = [(logits[row], dataset.offsets(row)) for row in range(first, end)]
            found.append(best_spans(windows, question.context, count, longest,
                                    self.null_threshold is not None))
        return found

    def answer(self, question, context, count=5):
        """Return the NBest of one question, of up to `count` answers."""
        best, = self.find([Question("", question, context)], count=count)
        return best

    def decide(self, best):
        """Return the answer that an NBest stands for: "" if none is more likely than any."""
        threshold = self.null_threshold
        return "" if threshold is not None and best.null_odds > threshold else best.text


def answer(model=None, question=None, context=None, n_best=None, input_file=None,
           output_file=None, device="auto", download=False, precision="float32"):
    """Answer a question, or those of a file; return what was found as text for people.

    Parameters
    ----------
    model : path
        Folder that training wrote, or another model for extractive question answering.
    question, context : str, optional
    n_best : int, optional
        Answers to list to this question; 5 by default.
    input_file : path, optional
        Questions in the format of SQuAD, instead of a single one. If all have their answers there,
        they are scored.
    output_file : path, optional
        JSON to write: the answer by question id, as SQuAD's own script reads it.
    device, download, precision
        As of `Answerer.load`.
    """
    if input_file is None and output_file is None:
        needed = {"model": model, "question": question, "context": context}
    else:
        needed = {"model": model, "input_file": input_file}
        for name, value in {"question": question, "context": context, "n_best": n_best}.items():
            if value is not None:
                raise ConfigError(f"{name} is for a single question; leave it out with a file")
    for name, value in needed.items():
        if value is None:
            raise ConfigError(f"{name} is missing; expected a model, a question and a context, or "
                              "a model and an input_file")
    if n_best is not None and n_best < 1:
        raise ConfigError(f"n_best is {n_best}; expected a whole number from 1")

    def load():
        return Answerer.load(model, device, download, precision)

    if input_file is not None:
        return _answer_file(load, input_file, output_file)
    answerer = load()
    return _format_answers(answerer, answerer.answer(question, context, n_best or 5))


def _answer_file(load, input_file, output_file):
    """Answer the questions of a file, write and score the answers; return what to say of it."""
    if output_file is not None and os.path.exists(output_file) \
            and os.path.exists(input_file) and os.path.samefile(output_file, input_file):
        raise ConfigError(f"{output_file}: is the file to read; expected another to write")
    questions = read_squad(input_file, labelled=False)
    labelled = all(question.answers is not None for question in questions)
    if not labelled and output_file is None:
        raise ConfigError(f"{input_file}: does not hold all answers, so there is nothing to score; "
                          "expected an output_file for those found")
    answerer, lines = load(), []
    found = {question.id: answerer.decide(best)
             for question, best in zip(questions, answerer.find(questions))}
    if output_file is not None:
        write_json(output_file, found)
        lines.append(f"{len(found):,} answers: {output_file}")
    if labelled:
        lines.append(_format_scores(answer_metrics(found, {
            question.id: [text for text, _ in question.answers] for question in questions})))
    return "\n".join(lines)


def _format_answers(answerer, best):
    """Return an NBest as text: the answer, a table of the best, and the odds of none."""
    lines = [_shown(answerer.decide(best)), "", f"{'score':>8}{'probability':>13}  answer"]
    lines += [f"{found.score:8.2f}{found.probability:13.3f}  {_shown(found.text)}"
              for found in best.answers]
    rule = "it always answers" if answerer.null_threshold is None else (
        f"no answer where they are above {answerer.null_threshold:.2f}")
    lines.append(f"\nno answer: score {best.null_score:.2f}, odds {best.null_odds:.2f} ({rule})")
    return "\n".join(lines)


def _format_scores(scores):
    """Return `answer_metrics` as a table, a line a kind of question."""
    kinds = {"": "all", "has_answer_": "with an answer", "no_answer_": "without"}
    return align(["questions", "", "exact match", "F1"], [
        [name, f"{scores[f'{kind}questions']:,}", f"{scores[f'{kind}exact_match']:.4f}",
         f"{scores[f'{kind}f1']:.4f}"] for kind, name in kinds.items()
        if f"{kind}questions" in scores], left=[0])


def _shown(text):
    return one_line(text, 200) or "(no answer)"
