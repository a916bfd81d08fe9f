"""Training a model that finds the answer to a question in a text."""

from pathlib import Path

from bert_kit.data import read_squad
from bert_kit.errors import DataError
from bert_kit.evaluation import answer_metrics, best_null_threshold
from bert_kit.files import write_json
from bert_kit.recipes.answerer import Answerer
from bert_kit.recipes.options import make_settings
from bert_kit.recipes.token_settings import AnsweringSettings
from bert_kit.recipes.token_training import TokenJob, rows_to_keep, run_job
from bert_kit.training import compute_answering_loss


def train_answerer(model_path=None, data_path=None, **settings):
    """Train on questions and return the results, which results.json holds too.

    Parameters
    ----------
    model_path : path, optional
        Folder or name of a BERT to start from; without it a small one is trained from nothing.
    data_path : path
        JSON file in the format of SQuAD 1.1 or 2.0, or a folder with train.json and, where they
        exist, dev.json and test.json.
    **settings
        Fields of AnsweringSettings, under any of their spellings; for instance `train_file`,
        `num_train_epochs`, `stride`, `longest_answer`, `output_dir`.

    Returns
    -------
    dict
        `rows`, `validation` and `test` scores (see `answer_metrics`), `null_threshold`, `seconds`,
        `output_dir` and more.

    Raises
    ------
    BertKitError
        For input that cannot be used; before any training.
    """
    given = {"model": model_path, "data_file": data_path}
    return run(make_settings(AnsweringSettings, given, settings))


def run(settings):
    """Do the whole job for AnsweringSettings; see `train_answerer`."""
    return run_job(AnsweringJob, settings)


class AnsweringJob(TokenJob):
    """From questions to an Answerer; see `TokenJob`. A part is a list of Question."""

    predictor_class = Answerer
    loss = staticmethod(compute_answering_loss)
    name, what = "answerer", "finds the answer to a question in a text"
    use = 'answer --model {model} --question "…" --context "…"'
    suffixes = (".json",)
    columns = (("exact_match", "exact match", 13, ".4f"), ("f1", "F1", 10, ".4f"))

    def read(self, path):
        """Read the questions of a file."""
        return read_squad(path)

    def check_parts(self):
        """Say what is in the parts; questions that nothing answers teach nothing."""
        parts = self.parts
        silent = sum(not question.answers for question in parts["train"])
        if silent == len(parts["train"]):
            raise DataError("no question to train on has an answer; expected some with one")
        self.settings.say("data      " + ", ".join(
            f"{len(part):,} {name}" for name, part in parts.items())
            + " questions" + f"; {silent:,} to train on have no answer" * (silent > 0))

    def cut(self, part, share):
        """Cut questions off the end, so that each paragraph stays on one side."""
        kept = rows_to_keep(len(part), share, "the training file")
        edges = [row for row in range(1, len(part))
                 if part[row].context != part[row - 1].context]
        if not edges:
            raise DataError("the training file has one paragraph, so none can be held out; "
                            "expected more, a validation_file or val_size 0")
        kept = min(edges, key=lambda row: abs(row - kept))
        return part[:kept], part[kept:]

    def content(self, part):
        """Return all that is in a part, for its fingerprint."""
        return part

    def texts(self, part):
        """Return questions and paragraphs, for a tokenizer to learn from."""
        return [*(question.question for question in part),
                *dict.fromkeys(question.context for question in part)]

    def to_remember(self):
        """Return how long contexts are cut, how long an answer may be, and if there may be none."""
        silent = any(not question.answers for question in self.parts["train"])
        return {"answering_stride": self.settings.stride,
                "longest_answer": self.settings.longest_answer,
                "null_threshold": 0.0 if silent else None}

    def dataset(self, part):
        """Return the AnsweringDataset of a part."""
        return self.predictor.dataset(part)

    def score(self, name):
        """Return the scores of the predictions for a part.

        With questions that have no answer, the threshold on the odds of that is chosen on the
        validation questions, and stays for the others.
        """
        part, answerer = self.parts[name], self.predictor
        found = answerer.find(part, self.datasets[name])
        best = {question.id: nbest for question, nbest in zip(part, found)}
        answers = {question.id: [text for text, _ in question.answers] for question in part}
        if answerer.null_threshold is not None and name == "validation":
            threshold, _ = best_null_threshold(
                {number: nbest.null_odds for number, nbest in best.items()},
                {number: nbest.text for number, nbest in best.items()}, answers)
            answerer.remember(null_threshold=threshold)
        self.predictions = {number: answerer.decide(nbest) for number, nbest in best.items()}
        return answer_metrics(self.predictions, answers)

    def facts(self):
        """Return the threshold on the odds of no answer."""
        return {"null_threshold": self.predictor.null_threshold}

    def report(self, name, results):
        """Write the predictions for a part, in the form that SQuAD's own script reads."""
        write_json(Path(self.settings.output_dir) / f"{name}_predictions.json", self.predictions)
