"""A tag for each word, such as the entities of a text or parts of speech."""

import dataclasses
import itertools
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch.nn import functional as F

from bert_kit.checks import one_of
from bert_kit.cells import MARK, guard_line, is_word
from bert_kit.config import BertConfig
from bert_kit.data import (TaggedSentences, TaggingDataset, WordCut, check_names, find_parts,
                           learn_cut, read_tagged, word_spans)
from bert_kit.data.read.conll import DOCUMENT
from bert_kit.data.read.json_rows import JSON_SUFFIXES
from bert_kit.data.read.memory import RowsInMemory
from bert_kit.errors import ConfigError, DataError, UsageError
from bert_kit.evaluation import (Finding, entity_metrics, few_rows, find_entities,
                                 format_invalid_tags, format_per_type, guess_scheme,
                                 invalid_tags, never_predicted, same_answers)
from bert_kit.evaluation.scores.entities import MARKS, SCHEMES
from bert_kit.files import write_text
from bert_kit.jobs.options.declare import Options, option, with_defaults
from bert_kit.jobs.options.groups import (FileOptions, SpanOptions, TrainOptions,
                                          reading_notes)
from bert_kit.jobs.run.left_out import tell_reading
from bert_kit.jobs.run.predictor import TrainedModel, warn
from bert_kit.jobs.run.task import Parts, Scores, Task, drawn_rows, fingerprint_of, rows_to_keep
from bert_kit.model import BERTForTokenClassification
from bert_kit.modes import IGNORE
from bert_kit.printing import Column, one_line
from bert_kit.tokenization import Tokenizer
from bert_kit.training import ALONE, Loss, Processes, balanced_class_weights, tagging_loss

if TYPE_CHECKING:
    from bert_kit.jobs.run.job import Training

COMMONEST = 10  # kinds of invalid tags to show


@dataclass(frozen=True)
class TagLossOptions(Options):
    """What the loss of tags looks at."""

    title: ClassVar[str] = "training"

    label_smoothing: float = option(0.0, "share given to the other tags",
                                    "label_smoothing_factor")
    class_weight: str | None = option(None, "balanced weighs rare tags up",
                                      choices=("balanced",))


@dataclass(frozen=True)
@with_defaults({"data_file": "file with a word a line, or of labelled spans (.json, .jsonl), or a "
                "folder with the files train, dev and test",
                "max_length": "tokens in a row; a longer sentence fills several rows",
                "learning_rate": "peak rate; 1e-4 with weights, 5e-4 from scratch; auto finds one "
                "by a range test", "metric": "what decides which epoch is best; f1 of the "
                "entities, or accuracy where tags are no entities",
                "val_size": "share to choose the best epoch on, from the end of the training "
                "file, where there is no file for it; 0 for none"}, task="tagging")
class TagOptions(TrainOptions, FileOptions, SpanOptions, TagLossOptions):
    """What to train a tagger on and how; checked when it is made, before any work."""

    examples = ("bert-kit train --task tagging --data_file entities/ --model minilm",
                "bert-kit train --task tagging --train_file train.conll --test_file test.conll")
    title: ClassVar[str] = "data"

    word_column: int = option(0, "number of the column with the words, from 0")
    tag_column: int = option(-1, "number of the column with the tags; -1 is the last")
    lenient: bool = option(
        False, "read entities as conlleval and seqeval's default do: any may begin with I-")
    scheme: str | None = option(
        None, "how the tags mark entities; by default BIOES, BILOU or IOB2, as they look",
        choices=SCHEMES)
    stride: int | None = option(
        None, "how many pieces further each row of a long sentence starts; half a row", least=1)


class TextEntity(NamedTuple):
    """A named piece of a text, `text[start:end]`."""

    type: str
    start: int
    end: int
    text: str


class TaggedText(NamedTuple):
    """A text, the (start, end) characters of its words, their tags, and the entities they make."""

    text: str
    spans: list[tuple[int, int]]
    tags: list[str]
    entities: list[TextEntity]


class Tagger(TrainedModel):
    """A model that gives each word a tag; see `TrainedModel` for the parameters.

    Examples
    --------
    ::

        tagger = Tagger.load("runs/tagger")
        found, = tagger.tag(["Ada Lovelace was born in London."])
        print(found.entities)
    """

    model_class, command = BERTForTokenClassification, "tag"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the tags, in the order of the logits."""
        return self.model.config.labels

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto", download: bool = False,
             processes: Processes = ALONE, precision: str = "float32") -> Self:
        """Read what `train` wrote, and tell of tags that are read as they look."""
        tagger = super().load(folder, device, download, processes, precision)
        if processes.first:
            tell_guessed_scheme(tagger.config)
        return tagger

    @property
    def lenient(self) -> bool:
        """Whether an entity may begin with I-."""
        return self.remembered("tagging_lenient", bool, False)

    @property
    def scheme(self) -> str:
        """How the tags mark entities: as stored by the training, else as they look."""
        stored = self.remembered("tagging_scheme", str, None)
        if stored is None:
            return guess_scheme(self.classes)
        return one_of("config.json: tagging_scheme", stored, SCHEMES)

    @property
    def cut(self) -> WordCut:
        """Which signs stay inside a word; none in a model that does not say it."""
        return WordCut(self.remembered("tagging_joined", str, ""),
                       self.remembered("tagging_alone", str, ""))

    def dataset(self, sentences: Sequence[list[str]]) -> TaggingDataset:
        """Return the TaggingDataset of some sentences, each a list of words."""
        stride = self.remembered("tagging_stride", int, None)
        return TaggingDataset(sentences, None, self.tokenizer, self.max_length, stride)

    def answers(self, dataset: TaggingDataset) -> list[np.ndarray]:
        """Rows of a TaggingDataset -> list of logits (words, C), one array a sentence.

        Only the first piece of a word is asked.
        """
        return dataset.word_values(super().answers(dataset))

    def tag_words(self, sentences: Sequence[list[str]]) -> list[list[str]]:
        """Sentences, each a list of words -> the tags of each, a list of as many names.

        How words were cut in training is how they should be cut here.
        """
        return self.names(self.answers(self.dataset(sentences)))

    def names(self, logits: Iterable[np.ndarray]) -> list[list[str]]:
        """Return the likeliest tag of each word."""
        return [[self.classes[best] for best in row.argmax(-1)] for row in logits]

    def tag(self, texts: Sequence[str]) -> list[TaggedText]:
        """Return the TaggedText of each text, cut into words as those of the training were."""
        return self._tag_spans(texts, [word_spans(text, self.tokenizer, self.cut)
                                       for text in texts])

    def tag_sentences(self, sentences: Sequence[list[str]]) -> list[TaggedText]:
        """Return the TaggedText of each list of words, joined by spaces."""
        texts, spans = [], []
        for words in sentences:
            ends = list(itertools.accumulate(len(word) + 1 for word in words))
            spans.append([(end - 1 - len(word), end - 1)
                          for word, end in zip(words, ends, strict=True)])
            texts.append(" ".join(words))
        return self._tag_spans(texts, spans)

    def _tag_spans(self, texts: Sequence[str],
                   spans: Sequence[list[tuple[int, int]]]) -> list[TaggedText]:
        sentences = [[text[start:end] for start, end in places]
                     for text, places in zip(texts, spans, strict=True)]
        with_words = [words for words in sentences if words]
        tags = iter(self.tag_words(with_words) if with_words else ())
        return [self._tagged(text, places, next(tags) if places else [])
                for text, places in zip(texts, spans, strict=True)]

    def _tagged(self, text: str, spans: list[tuple[int, int]], tags: list[str]) -> TaggedText:
        if are_entities(self.classes):
            found = find_entities(tags, not self.lenient, self.scheme)
        else:  # parts of speech, for instance: each word by itself
            found = [(tag, word, word + 1) for word, tag in enumerate(tags) if tag != "O"]
        entities = []
        for kind, first, last in found:
            start, end = spans[first][0], spans[last - 1][1]
            entities.append(TextEntity(kind, start, end, text[start:end]))
        return TaggedText(text, spans, tags, entities)


class TagTask(Task[TaggedSentences]):
    """A tag for each word; a part is a TaggedSentences."""

    name, what, use = "tagging", "gives each word a tag", 'tag --model {model} --text "…"'
    options, predictor_class = TagOptions, Tagger
    metrics = ("f1", "f1_macro", "precision", "recall", "accuracy", "loss")
    columns = (("f1", "F1", 8, ".4f"), ("precision", "precision", 11, ".4f"),
               ("recall", "recall", 8, ".4f"), ("accuracy", "accuracy", 10, ".4f"))
    rates = (1e-4, 5e-4)
    suffixes = (".txt", ".conll", ".tsv", ".bio", ".iob")

    def folder_name(self, options: Any) -> str:
        return "tagger"

    def read(self, options: Any) -> Parts[TaggedSentences]:
        files, _ = find_parts(**options.files(), suffixes=self.suffixes, exports=JSON_SUFFIXES)
        reading = self._reading(options)
        if options.data is not None and (options.word_column, options.tag_column) != (0, -1):
            raise UsageError("word_column and tag_column number the columns of a file, which "
                             "changes nothing for data, with columns tokens and tags; leave them "
                             "out")
        if options.scheme not in (None, "IOB2") and any(map(_holds_spans, files.values())):
            raise ConfigError(f"scheme is {options.scheme}; labelled spans become tags of IOB2: "
                              "leave it out")
        parts = {name: read_tagged(path, **reading) for name, path in files.items()}
        if "validation" not in parts and options.val_size:
            parts["train"], parts["validation"] = _cut(parts["train"], options.val_size)
        classes = tuple(sorted({tag for name in ("train", "validation") if name in parts
                                for tag in parts[name].classes}))
        two_ways = check_names(classes, lambda name: f"{parts['train'].path}")
        self._check_tags(parts, classes, options)
        counts = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
        told = reading_notes(reading, sum(map(len, parts.values())))
        return Parts(parts["train"], parts.get("validation"), parts.get("test"),
                     fingerprint_of({name: [part.words, tags_of(part)]
                                     for name, part in parts.items()}),
                     f"{counts} sentences; tags {', '.join(classes)}", classes,
                     "; ".join(filter(None, [two_ways, told])), reading["bad_rows"] or ())

    def _reading(self, options: Any) -> dict[str, Any]:
        """Return how `read_tagged` is to read; `bad_rows` and `notes` take what is to be told."""
        return {**options.row_reading(), "word_column": options.word_column, "notes": [],
                "tag_column": options.tag_column, "widen": options.widen_spans}

    def _check_tags(self, parts: Mapping[str, TaggedSentences], classes: Sequence[str],
                    options: Any) -> None:
        """Refuse options that do not go with the tags, and say what is odd about them."""
        if "test" in parts and (line := unknown_tags(parts["test"], classes)):
            options.say(line)
        if not are_entities({tag for part in parts.values() for tag in part.classes}):
            if (options.metric not in (None, "accuracy", "loss") or options.lenient
                    or options.scheme is not None):
                raise ConfigError(f"{parts['train'].path}: the tags are not B-TYPE, I-TYPE and O "
                                  "(or BIOES), so there are no entities to score; expected the "
                                  "metric accuracy or loss, no lenient and no scheme")
            odd = [tag for tag in classes if tag != "O" and not are_entities(["B-x", tag])]
            first = f" (the first other tag: {odd[0]!r:.40})" if odd else ""
            options.say("note: the tags are not B-TYPE, I-TYPE and O (or BIOES), so words are "
                        f"scored one by one{first}")
            return
        scheme = _scheme_of(options, classes)
        for part in parts.values():
            invalid = invalid_tags(tags_of(part), scheme)
            if invalid and not options.lenient:
                options.say(f"warning: {part.path.name} has {len(invalid):,} tags that cannot "
                            f"follow the one before in {scheme}, such as {_first(invalid)}: such "
                            "entities do not count; with --lenient they do, with --scheme the tags "
                            "are read otherwise")

    def subset(self, part: TaggedSentences, count: int, seed: int) -> TaggedSentences:
        return _rows_of(part, drawn_rows(len(part), count, seed))

    def texts(self, part: TaggedSentences) -> list[str]:
        return [" ".join(words) for words in part.words]

    def dataset(self, part: TaggedSentences, name: str, parts: Parts[TaggedSentences],
                tokenizer: Tokenizer, options: Any) -> TaggingDataset:
        numbers = part.numbers(parts.classes) if name == "train" else None
        return TaggingDataset(part.words, numbers, tokenizer, options.max_length, options.stride)

    def config(self, options: Any, parts: Parts[TaggedSentences],
               before: BertConfig) -> dict[str, Any]:
        changes: dict[str, Any] = {"classifier_dropout": options.dropout}
        cut = learn_cut(itertools.chain.from_iterable(parts.train.words))
        return (changes if options.dropout is not None else {}) | {
            "labels": parts.classes, "classifier": {},
            "extra": {**before.extra, "tagging_stride": options.stride,
                      "tagging_lenient": options.lenient,
                      "tagging_joined": cut.joined, "tagging_alone": cut.alone,
                      "tagging_scheme": _scheme_of(options, parts.classes)}}

    def loss(self, options: Any, training: "Training | None" = None) -> Loss:
        weights = None
        if options.class_weight == "balanced" and training is not None:
            classes = training.parts.classes
            numbers = [number for row in training.parts.train.numbers(classes) for number in row]
            weights = balanced_class_weights(numbers, len(classes))
        return tagging_loss(weights, options.label_smoothing)

    def metric(self, options: Any, parts: Parts[TaggedSentences] | None) -> str:
        entities = parts is None or are_entities(
            {tag for part in parts.present().values() for tag in part.classes})
        return options.metric or ("f1" if entities else "accuracy")

    def scores(self, answers: list[np.ndarray], part: TaggedSentences,
               predictor: Tagger) -> Scores:
        """Return the loss of the tags that are known, and the predictions' scores."""
        number_of = {tag: i for i, tag in enumerate(predictor.classes)}
        loss = F.cross_entropy(torch.from_numpy(np.concatenate(answers)), torch.tensor(
            [number_of.get(tag, IGNORE) for tags in tags_of(part) for tag in tags])).item()
        return {"loss": loss, **_part_scores(predictor.names(answers), part, predictor)}

    def baselines(self, training: "Training", name: str) -> Iterator[tuple[str, Scores]]:
        part = training.parts.present()[name]
        guesses = commonest_tags(training.parts.train, part.words)
        yield "commonest tag of each word", _part_scores(guesses, part, training.predictor)

    def constant_baseline(self, part: TaggedSentences) -> dict[str, Scores]:
        tags = tags_of(part)
        common, _ = Counter(tag for row in tags for tag in row).most_common(1)[0]
        scores = tag_scores([[common] * len(row) for row in tags], tags, are_entities(part.classes))
        return {f"{common} for every word": scores}

    def findings(self, answers: list[np.ndarray], part: TaggedSentences, predictor: Tagger,
                 scores: Scores, rows: str) -> list[Finding]:
        given = [tag for tags in predictor.names(answers) for tag in tags]
        right = [tag for tags in tags_of(part) for tag in tags]
        types = right, given
        if are_entities({*given, *right}):  # B-PER and I-PER are of one type
            types = tuple([tag.partition("-")[2] or tag for tag in tags] for tags in types)
        return [*same_answers(given, right, f"words of the {rows}"),
                *never_predicted(types[1], types[0]),
                *few_rows(len(part), rows)]

    def table_columns(self, results: Scores) -> Sequence[Column]:
        held_out = results.get("test") or results.get("validation") or {}
        return [column for column in self.columns if column[0] in held_out]

    def facts(self, training: "Training") -> dict[str, Any]:
        return {"classes": list(training.parts.classes)}

    def conclude(self, training: "Training", answers: Mapping[str, list[np.ndarray]],
                 results: dict[str, Any]) -> None:
        """Say how each type is found."""
        name, say = next((name for name in ("test", "validation") if name in answers), ""), \
            training.options.say
        if name and "per_type" in results[name]:
            say(f"\n{name} rows\n{format_per_type(results[name])}")
            say(_invalid(results[name], training.predictor.names(answers[name]),
                         training.predictor.scheme))

    def leave(self, training: "Training", answers: Mapping[str, list[np.ndarray]],
              results: dict[str, Any], folder: Path, plots: bool, concluded: None) -> None:
        name = next((name for name in ("test", "validation") if name in answers), None)
        if name is not None:
            part = training.parts.present()[name]
            _write_words(folder / f"{name}_predictions.tsv", part,
                         training.predictor.names(answers[name]))

    # ---- the command `evaluate`

    def read_to_score(self, options: Any, predictor: Tagger, folder: Path) -> TaggedSentences:
        reading = self._reading(options)
        part = read_tagged(options.data_file, **reading)
        tell_reading(reading, len(part), options)
        if line := unknown_tags(part, predictor.classes):
            options.say(line)
        return part

    def dataset_for(self, predictor: Tagger, part: TaggedSentences) -> TaggingDataset:
        return predictor.dataset(part.words)

    def report(self, folder: Path, results: Scores, answers: list[np.ndarray],
               part: TaggedSentences, predictor: Tagger, options: Any) -> str:
        guesses = predictor.names(answers)
        _write_words(folder / "predictions.tsv", part, guesses)
        return "\n".join([f"{results['rows']:,} sentences, loss {results['loss']:.4f}", "",
                          format_tag_scores(results),
                          _invalid(results, guesses, predictor.scheme)]).rstrip()


def tell_guessed_scheme(config: BertConfig) -> None:
    """Say by which scheme tags are read that a model's folder does not name, where it matters."""
    if "tagging_scheme" not in config.extra and are_entities(config.labels):
        warn("note: the model does not say how its tags mark entities; "
             f"{guess_scheme(config.labels)} by its tags")


def _holds_spans(path: str | Path | RowsInMemory) -> bool:
    return not isinstance(path, RowsInMemory) and Path(path).suffix.lower() in JSON_SUFFIXES


def _scheme_of(options: Any, classes: Sequence[str]) -> str:
    return options.scheme or guess_scheme(classes)


def _first(found: Sequence[Scores]) -> str:
    """Return the first of `invalid_tags` in words."""
    tag, before = found[0]["tag"], found[0]["before"]
    return (f"{one_line(tag or 'the end')} "
            f"{f'after {one_line(before)}' if before else 'at the start'}")


def _invalid(scores: Scores, guesses: list[list[str]], scheme: str) -> str:
    """Return what is to be said of predicted tags that cannot follow; "" of none."""
    if not scores.get("invalid_tags"):
        return ""
    table = format_invalid_tags(invalid_tags(guesses, scheme)).splitlines()
    return (f"\n{scores['invalid_tags']:,} predicted tags cannot follow the one before; the "
            "commonest:\n" + "\n".join(table[:1 + COMMONEST]))


def _write_words(path: Path, part: TaggedSentences, guesses: list[list[str]]) -> None:
    """Write the columns that conlleval reads: the word, the right tag, the predicted one."""
    write_text(path, "\n".join(word_lines(path, zip(*rows, strict=True))
                               for rows in zip(part.words, tags_of(part), guesses, strict=True)))


def word_lines(path: str | Path, rows: Iterable[Sequence[str]]) -> str:
    """Return the lines of a sentence, a word each, as `read_conll` reads them.

    Spreadsheets open a .tsv: there a cell that one would run is guarded, see `bert_kit.cells`.
    Elsewhere only what could not be read back is.
    """
    opened = Path(path).suffix.lower() == ".tsv"
    return "".join("\t".join(
        guard_line(cell) if opened or not is_word(cell) or cell.startswith((MARK, DOCUMENT))
        else cell for cell in row) + "\n" for row in rows)


def _cut(part: TaggedSentences, share: float) -> tuple[TaggedSentences, TaggedSentences]:
    """Cut sentences off the end: neighbours are often of one document."""
    left = rows_to_keep(len(part), share, part.path)
    rows = range(len(part))
    return _rows_of(part, rows[:left]), _rows_of(part, rows[left:])


def _rows_of(part: TaggedSentences, rows: Sequence[int]) -> TaggedSentences:
    return dataclasses.replace(part, words=[part.words[row] for row in rows],
                               tags=[tags_of(part)[row] for row in rows],
                               lines=array("q", [part.lines[row] for row in rows]))


def _part_scores(guesses: list[list[str]], part: TaggedSentences, tagger: Tagger) -> Scores:
    """Return the scores of a tagger's answers; a file in another scheme is read by that."""
    return tag_scores(guesses, tags_of(part), are_entities([*tagger.classes, *part.classes]),
                      tagger.lenient, tagger.scheme)


def tags_of(part: TaggedSentences) -> list[list[str]]:
    """Return the tags of sentences that have some.

    Raises
    ------
    DataError
        If they have none.
    """
    if part.tags is None:
        raise DataError(f"{part.path}: no tags; expected a column with them")
    return part.tags


def are_entities(tags: Iterable[str]) -> bool:
    """Say whether tags mark entities: B-TYPE, I-TYPE and O, or BIOES, and nothing else.

    Examples
    --------
    >>> are_entities(["O", "B-per", "E-per"]), are_entities(["NOUN", "VERB"])
    (True, False)
    """
    tags = [tag for tag in tags if tag != "O"]
    marks = {tag.partition("-")[0] for tag in tags}
    # A bare S or E alone may be anything, a part of speech for instance.
    return marks <= MARKS.keys() and (not marks.isdisjoint("BI") or any("-" in tag for tag in tags))


def tag_scores(predictions: Sequence[Sequence[str]], labels: Sequence[Sequence[str]],
               entities: bool, lenient: bool = False, scheme: str | None = None) -> Scores:
    """Return the scores of the tags of some sentences: `entity_metrics`, or only `accuracy`.

    Predictions are in a `scheme`, by default that of the labels, and so are labels without ends of
    entities if it has none either; else these are in their own.
    """
    if entities:
        own = guess_scheme(tag for tags in labels for tag in tags)
        scheme = scheme or own
        if own == "IOB2" and scheme == "IOB1":
            own = scheme
        return entity_metrics(predictions, labels, not lenient, scheme, own)
    same = [a == b for pair in zip(predictions, labels, strict=True)
            for a, b in zip(*pair, strict=True)]
    return {"accuracy": sum(same) / len(same)}


def format_tag_scores(scores: Scores) -> str:
    """Return what `tag_scores` found as text."""
    table = [format_per_type(scores)] if "per_type" in scores else []
    line = "  ".join(f"{name} {scores[key]:.4f}" for key, name in (
        ("f1", "F1"), ("precision", "precision"), ("recall", "recall"), ("accuracy", "accuracy"))
        if key in scores)
    return "\n".join([*table, line])


def unknown_tags(sentences: TaggedSentences, classes: Sequence[str]) -> str:
    """Return a line that names the tags of TaggedSentences that a model does not have, or "".

    Raises
    ------
    DataError
        If it has none of them: they are of another task, or another column.
    """
    unknown = [tag for tag in sentences.classes if tag not in classes]
    if len(unknown) == len(sentences.classes):
        raise DataError(f"{sentences.path}: the tags are {one_line(', '.join(unknown))}; the model "
                        f"knows {one_line(', '.join(classes))}")
    return (f"note: {one_line(sentences.path.name)} has tags that the model does not know, which "
            f"count as missed: {one_line(', '.join(unknown), 200)}") if unknown else ""


def commonest_tags(train: TaggedSentences, sentences: Sequence[list[str]]) -> list[list[str]]:
    """Return tags by heart: of each word the one it had most often, of new words the commonest."""
    seen, every = defaultdict(Counter), Counter()
    for words, tags in zip(train.words, tags_of(train), strict=True):
        every.update(tags)
        for word, tag in zip(words, tags, strict=True):
            seen[word][tag] += 1
    best = {word: counts.most_common(1)[0][0] for word, counts in seen.items()}
    new = every.most_common(1)[0][0]
    return [[best.get(word, new) for word in words] for words in sentences]
