"""A model that finds answers, put to use: a question and a context in, the best answers out."""

from bert_kit.data import AnsweringDataset, Question
from bert_kit.errors import ConfigError
from bert_kit.evaluation import best_spans
from bert_kit.evaluation.layout import one_line
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


def answer(model=None, question=None, context=None, n_best=5, device="auto", download=False,
           precision="float32"):
    """Return the answer to a question as text for people: a table of the best, and the odds.

    Parameters
    ----------
    model : path
        Folder that training wrote, or another model for extractive question answering.
    question, context : str
    n_best : int
        Answers to list.
    device, download, precision
        As of `Answerer.load`.
    """
    for name, value in (("model", model), ("question", question), ("context", context)):
        if value is None:
            raise ConfigError(f"{name} is missing; expected a model, a question and a context")
    if n_best < 1:
        raise ConfigError(f"n_best is {n_best}; expected a whole number from 1")
    answerer = Answerer.load(model, device, download, precision)
    best = answerer.answer(question, context, n_best)
    lines = [_shown(answerer.decide(best)), "", f"{'score':>8}{'probability':>13}  answer"]
    lines += [f"{found.score:8.2f}{found.probability:13.3f}  {_shown(found.text)}"
              for found in best.answers]
    rule = "it always answers" if answerer.null_threshold is None else (
        f"no answer where they are above {answerer.null_threshold:.2f}")
    lines.append(f"\nno answer: score {best.null_score:.2f}, odds {best.null_odds:.2f} ({rule})")
    return "\n".join(lines)


def _shown(text):
    return one_line(text, 200) or "(no answer)"
