"""Training a tagger: a tag for each word, such as the entities of a text or parts of speech."""

import dataclasses
from array import array
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from bert_kit.data import read_conll
from bert_kit.modes import IGNORE
from bert_kit.errors import ConfigError
from bert_kit.evaluation import format_invalid_tags, format_per_type, invalid_tags
from bert_kit.files import write_text
from bert_kit.recipes.options import make_settings
from bert_kit.recipes.tagger import Tagger, are_entities, tag_scores, unknown_tags
from bert_kit.recipes.token_settings import TaggingSettings
from bert_kit.recipes.token_training import TokenJob, rows_to_keep, run_job
from bert_kit.training import compute_tagging_loss

COMMONEST = 10  # kinds of invalid tags to show


def train_tagger(model_path=None, data_path=None, **settings):
    """Train a tagger and return the results, which results.json holds too.

    Parameters
    ----------
    model_path : path, optional
        Folder or name of a BERT to start from; without it a small one is trained from nothing.
    data_path : path
        File with one word a line and its tag in the last column, or a folder with the files
        train, dev and test (.txt, .conll, .tsv, .bio or .iob).
    **settings
        Fields of TaggingSettings, under any of their spellings; for instance `train_file`,
        `num_train_epochs`, `tag_column`, `lenient`, `output_dir`.

    Returns
    -------
    dict
        `classes`, `rows`, `validation` and `test` scores (see `entity_metrics`; only `accuracy`
        where tags are no entities), `baselines`, `seconds`, `output_dir` and more.

    Raises
    ------
    BertKitError
        For input that cannot be used; before any training.
    """
    given = {"model": model_path, "data_file": data_path}
    return run(make_settings(TaggingSettings, given, settings))


def run(settings):
    """Do the whole job for TaggingSettings; see `train_tagger`."""
    return run_job(TaggingJob, settings)


class TaggingJob(TokenJob):
    """From sentences with tags to a Tagger; see `TokenJob`. A part is a TaggedSentences."""

    predictor_class = Tagger
    loss = staticmethod(compute_tagging_loss)
    name, what, use = "tagger", "gives each word a tag", 'tag --model {model} --text "…"'
    suffixes = (".txt", ".conll", ".tsv", ".bio", ".iob")

    @property
    def columns(self):
        """The scores of the table of results."""
        accuracy = ("accuracy", "accuracy", 10, ".4f")
        return (("f1", "F1", 8, ".4f"), ("precision", "precision", 11, ".4f"),
                ("recall", "recall", 8, ".4f"), accuracy) if self.entities else (accuracy,)

    @property
    def metric(self):
        return self.settings.metric or ("f1" if self.parts is None or self.entities
                                        else "accuracy")

    def read(self, path):
        """Read the sentences of a file."""
        settings = self.settings
        return read_conll(path, settings.word_column, settings.tag_column, settings.encoding)

    @property
    def classes(self):
        """The tags of the rows to train on and to choose by, sorted."""
        return self._tags("train", "validation")

    @property
    def entities(self):
        """Whether the tags mark entities."""
        return are_entities(self._tags(*self.parts))

    def _tags(self, *names):
        return sorted({tag for name in names if name in self.parts
                       for tag in self.parts[name].classes})

    def check_parts(self):
        """Say what is in the parts, and refuse options that do not go with it."""
        parts, settings = self.parts, self.settings
        counts = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
        settings.say(f"data      {counts} sentences; tags {', '.join(self.classes)}")
        if "test" in parts and (line := unknown_tags(parts["test"], self.classes)):
            settings.say(line)
        if not self.entities:
            if settings.metric not in (None, "accuracy", "loss") or settings.lenient:
                raise ConfigError(f"{parts['train'].path}: the tags are not B-TYPE, I-TYPE and O "
                                  "(or BIOES), so there are no entities to score; expected the "
                                  "metric accuracy or loss, and no lenient")
            settings.say("note: the tags are not B-TYPE, I-TYPE and O (or BIOES), so words are "
                         "scored one by one")
            return
        for part in parts.values():
            invalid = len(invalid_tags(part.tags))
            if invalid and not settings.lenient:
                settings.say(f"warning: {part.path.name} has {invalid:,} I- tags that go on with "
                             "nothing, read as O; with lenient they begin an entity")

    def cut(self, part, share):
        """Cut sentences off the end: neighbours are often of one document."""
        kept = rows_to_keep(len(part), share, part.path)
        return tuple(dataclasses.replace(
            part, words=part.words[rows], tags=part.tags[rows],
            lines=array("q", part.lines[rows])) for rows in (slice(kept), slice(kept, None)))

    def content(self, part):
        """Return all that is in a part, for its fingerprint."""
        return [part.words, part.tags]

    def texts(self, part):
        """Return the text of each sentence, for a tokenizer to learn from."""
        return [" ".join(words) for words in part.words]

    def config_changes(self):
        """Return the names of the tags."""
        return {"labels": tuple(self.classes)}

    def to_remember(self):
        """Return how long sentences are cut, and how I- tags are read."""
        return {"tagging_stride": self.settings.stride, "tagging_lenient": self.settings.lenient}

    def dataset(self, part):
        """Return the TaggingDataset of a part; only that to train on needs labels."""
        return self.predictor.dataset(
            part.words, part.numbers(self.classes) if part is self.parts["train"] else None)

    def score(self, name):
        """Return the loss of the tags of a part that are known, and the predictions' scores."""
        part, number_of = self.parts[name], {tag: i for i, tag in enumerate(self.classes)}
        logits = self.predictor.word_logits(self.datasets[name])
        loss = F.cross_entropy(torch.from_numpy(np.concatenate(logits)), torch.tensor(
            [number_of.get(tag, IGNORE) for tags in part.tags for tag in tags])).item()
        self.predictions = [[self.classes[best] for best in row.argmax(-1)] for row in logits]
        return {"loss": loss, **self._metrics(self.predictions, part.tags)}

    def _metrics(self, predictions, labels):
        return tag_scores(predictions, labels, self.entities, self.settings.lenient)

    def baselines(self, name):
        """Return the scores of what needs no model: of each word the tag it had most often."""
        guesses = commonest_tags(self.parts["train"], self.parts[name].words)
        return {"commonest tag of each word": self._metrics(guesses, self.parts[name].tags)}

    def facts(self):
        """Return the names of the tags."""
        return {"classes": self.classes}

    def report(self, name, results):
        """Say how each type is found, and write the words of a part with both tags."""
        part, say = self.parts[name], self.settings.say
        if self.entities:
            say(f"\n{name} rows\n{format_per_type(results[name])}")
            if results[name]["invalid_tags"]:
                table = format_invalid_tags(invalid_tags(self.predictions)).splitlines()
                say(f"\n{results[name]['invalid_tags']:,} predicted I- tags go on with nothing; "
                    "the commonest:\n" + "\n".join(table[:1 + COMMONEST]))
        # The columns as conlleval reads them: the word, the right tag, the predicted one.
        write_text(Path(self.settings.output_dir) / f"{name}_predictions.tsv", "\n".join("".join(
            f"{word}\t{tag}\t{guess}\n" for word, tag, guess in zip(*rows))
            for rows in zip(part.words, part.tags, self.predictions)))


def commonest_tags(train, sentences):
    """Return tags by heart: of each word the one it had most often, of new words the commonest.

    Parameters
    ----------
    train : TaggedSentences
    sentences : sequence of list of str
    """
    seen, every = defaultdict(Counter), Counter()
    for words, tags in zip(train.words, train.tags):
        every.update(tags)
        for word, tag in zip(words, tags):
            seen[word][tag] += 1
    best = {word: counts.most_common(1)[0][0] for word, counts in seen.items()}
    new = every.most_common(1)[0][0]
    return [[best.get(word, new) for word in words] for words in sentences]
