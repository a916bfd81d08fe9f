"""A trained tagger put to use: texts in, tags and entities out; on a terminal, in colours."""

import csv
import itertools
import os
import sys
from contextlib import contextmanager
from typing import NamedTuple

from bert_kit.data import TaggingDataset, read_conll, stream_texts, word_spans
from bert_kit.errors import ConfigError, DataError
from bert_kit.evaluation import entity_metrics, find_entities, format_per_type, guard_formula
from bert_kit.evaluation.scores.entities import MARKS
from bert_kit.printing import one_line
from bert_kit.files import atomic_file
from bert_kit.model import BERTForTokenClassification
from bert_kit.recipes.prediction import CHUNK
from bert_kit.recipes.token_predictor import TokenPredictor

COLOURS = (31, 32, 33, 34, 35, 36)  # of ANSI terminals, type by type


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


class Tagger(TokenPredictor):
    """A model that gives each word a tag; see `TokenPredictor` for the parameters.

    Examples
    --------
    ::

        tagger = Tagger.load("runs/tagger")
        found, = tagger.tag(["Ada Lovelace was born in London."])
        print(found.entities)
    """

    model_class, job = BERTForTokenClassification, "tag"

    @property
    def classes(self):
        """Names of the tags, in the order of the logits."""
        return self.model.config.labels

    def dataset(self, sentences, tags=None):
        """Return the TaggingDataset of some sentences, each a list of words."""
        stride = self.remembered("tagging_stride", int, None)
        return TaggingDataset(sentences, tags, self.tokenizer, self.max_length, stride)

    def word_logits(self, dataset):
        """Rows of a TaggingDataset -> list of arrays (words, C), one a sentence."""
        return dataset.word_values(self.dataset_logits(dataset))

    def tag_words(self, sentences):
        """Sentences, each a list of words -> the tags of each, a list of as many names.

        Only the first piece of a word is asked. How words were cut in training is how they should
        be cut here.
        """
        return [[self.classes[best] for best in logits.argmax(-1)]
                for logits in self.word_logits(self.dataset(sentences))]

    def tag(self, texts):
        """Return the TaggedText of each text, cut into words as `word_spans` does."""
        return self._tag_spans(texts, [word_spans(text, self.tokenizer) for text in texts])

    def tag_sentences(self, sentences):
        """Return the TaggedText of each list of words, joined by spaces."""
        texts, spans = [], []
        for words in sentences:
            ends = list(itertools.accumulate(len(word) + 1 for word in words))
            spans.append([(end - 1 - len(word), end - 1) for word, end in zip(words, ends)])
            texts.append(" ".join(words))
        return self._tag_spans(texts, spans)

    def _tag_spans(self, texts, spans):
        sentences = [[text[start:end] for start, end in own] for text, own in zip(texts, spans)]
        with_words = [words for words in sentences if words]
        tags = iter(self.tag_words(with_words) if with_words else ())
        return [self._tagged(text, own, next(tags) if own else [])
                for text, own in zip(texts, spans)]

    def _tagged(self, text, spans, tags):
        strict = not self.remembered("tagging_lenient", bool, False)
        if are_entities(self.classes):
            found = find_entities(tags, strict)
        else:  # parts of speech, for instance: each word by itself
            found = [(tag, word, word + 1) for word, tag in enumerate(tags) if tag != "O"]
        entities = []
        for kind, first, last in found:
            start, end = spans[first][0], spans[last - 1][1]
            entities.append(TextEntity(kind, start, end, text[start:end]))
        return TaggedText(text, spans, tags, entities)


def are_entities(tags):
    """Say whether tags mark entities: B-TYPE, I-TYPE and O, or BIOES, and nothing else.

    Examples
    --------
    >>> are_entities(["O", "B-per", "E-per"]), are_entities(["NOUN", "VERB"])
    (True, False)
    """
    marks = {tag.partition("-")[0] for tag in tags if tag != "O"}
    # A bare S or E alone may be anything, a part of speech for instance.
    return marks <= MARKS.keys() and (not marks.isdisjoint("BI") or any("-" in tag for tag in tags))


def tag_scores(predictions, labels, entities, lenient=False):
    """Return the scores of the tags of some sentences: `entity_metrics`, or only `accuracy`."""
    if entities:
        return entity_metrics(predictions, labels, strict=not lenient)
    same = [a == b for pair in zip(predictions, labels) for a, b in zip(*pair)]
    return {"accuracy": sum(same) / len(same)}


def unknown_tags(sentences, classes):
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


def marked(tagged, colours=None):
    """Return a text with its entities marked, on one line without control characters.

    Parameters
    ----------
    tagged : TaggedText
    colours : dict of int, optional
        The ANSI colour of each type, for a terminal; without it entities stand in brackets.

    Examples
    --------
    >>> text = "In London, now"
    >>> marked(TaggedText(text, [], [], [TextEntity("city", 3, 9, "London")]))
    'In [London|city], now'
    """
    parts, place = [], 0
    for kind, start, end, entity in tagged.entities:
        entity, name = one_line(entity, len(tagged.text)), one_line(kind)
        parts += [_plain(tagged.text[place:start]),
                  f"[{entity}|{name}]" if colours is None else
                  f"\033[1;{colours[kind]}m{entity}\033[0m\033[2m|{name}\033[0m"]
        place = end
    return "".join([*parts, _plain(tagged.text[place:])])


def _plain(text):
    """Return what stands between entities: as `one_line`, but the spaces at its ends stay."""
    middle = one_line(text, max(len(text), 1))
    return f"{' ' * text[:1].isspace()}{middle}{' ' * (bool(middle) and text[-1:].isspace())}"


def tag(model=None, texts=None, input_file=None, output_file=None, words=False, text_column="text",
        encoding="utf-8-sig", device="auto", download=False, precision="float32", word_column=0,
        tag_column=None):
    """Tag texts or those of a file and print or write what is found; return how many there were.

    Where the file holds the right tags too, their scores are printed.

    Parameters
    ----------
    model : path
        Folder that training wrote.
    texts : list of str, optional
    input_file : path, optional
        A text a line if it ends in .txt, else a table with the column `text_column`; with `words`
        a file with one word a line.
    output_file : path, optional
        Ending in .csv: a line an entity; in .conll or .tsv: a line a word. By default the texts
        are printed, with their entities in colours on a terminal (unless $NO_COLOR is set).
    encoding, device, download, precision
        As of `Tagger.load` and `stream_texts`.
    word_column, tag_column : int
        Of a file of words; see `read_conll`. With a tag column the tags are scored.
    """
    writers = {".csv": _csv, ".conll": _conll, ".tsv": _conll}
    _check_use(model, texts, input_file, output_file, words, word_column, tag_column, writers)
    tagger, count = Tagger.load(model, device, download, precision), 0
    if words:
        table = read_conll(input_file, word_column, tag_column, encoding)
        note = tag_column is not None and unknown_tags(table, tagger.classes)
        rows = table.words
    else:
        rows = texts if input_file is None else stream_texts(input_file, text_column,
                                                             encoding=encoding)
    rows, told = iter(rows), []
    with (_printed(tagger) if output_file is None
          else writers[_suffix(output_file)](output_file)) as write:
        while chunk := list(itertools.islice(rows, CHUNK)):
            for tagged in (tagger.tag_sentences if words else tagger.tag)(chunk):
                count += 1
                write(count, tagged)
                if tag_column is not None:
                    told.append(tagged.tags)
    if tag_column is not None:
        entities = are_entities([*tagger.classes, *table.classes])
        lenient = tagger.remembered("tagging_lenient", bool, False)
        print(_format_scores(tag_scores(told, table.tags, entities, lenient), note))
    return count


def _check_use(model, texts, input_file, output_file, words, word_column, tag_column, writers):
    """Refuse what does not go together, before any work."""
    if model is None:
        raise ConfigError("model is missing; expected the folder of a tagger")
    if (texts is None) == (input_file is None):
        raise ConfigError("tagging needs texts (--text) or a file (--input_file); expected one of "
                          "the two")
    if words and input_file is None:
        raise ConfigError("words says how an input_file is written; expected a file with it")
    if not words and (word_column, tag_column) != (0, None):
        raise ConfigError("word_column and tag_column are of a file with a word a line; expected "
                          "an input_file and words with them")
    if output_file is None:
        return
    if _suffix(output_file) not in writers:
        raise ConfigError(f"{output_file}: expected a name that ends in {', '.join(writers)}")
    if input_file is not None and os.path.exists(output_file) \
            and os.path.exists(input_file) and os.path.samefile(output_file, input_file):
        raise ConfigError(f"{output_file}: is the file to read; expected another to write")


def _suffix(path):
    return os.path.splitext(path)[1].lower()


def _format_scores(scores, note):
    """Return what `tag_scores` found as text, and a note if there is one."""
    table = [format_per_type(scores)] if "per_type" in scores else []
    line = "  ".join(f"{name} {scores[key]:.4f}" for key, name in (
        ("f1", "F1"), ("precision", "precision"), ("recall", "recall"), ("accuracy", "accuracy"))
        if key in scores)
    return "\n".join(["", *table, line, *filter(None, [note])])


@contextmanager
def _printed(tagger):
    """Yield `write(number, tagged)`, which prints a text."""
    kinds = sorted({tag.partition("-")[2] or "_" if are_entities(tagger.classes) else tag
                    for tag in tagger.classes})
    colours = None
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        colours = {kind: COLOURS[i % len(COLOURS)] for i, kind in enumerate(kinds)}
    yield lambda number, tagged: print(marked(tagged, colours))


@contextmanager
def _csv(path):
    """Yield `write(number, tagged)`, which writes a line for each entity of a text."""
    with atomic_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8",
                                              errors="backslashreplace") as file:
        rows = csv.writer(file)
        rows.writerow(["row", "start", "end", "type", "entity"])
        yield lambda number, tagged: rows.writerows(
            [number, found.start, found.end, guard_formula(found.type), guard_formula(found.text)]
            for found in tagged.entities)


@contextmanager
def _conll(path):
    """Yield `write(number, tagged)`, which writes a line for each word, and one between texts."""
    with atomic_file(path) as temporary, open(temporary, "w", newline="\n", encoding="utf-8",
                                              errors="backslashreplace") as file:
        yield lambda number, tagged: file.write("".join(
            f"{tagged.text[start:end]}\t{' '.join(tag.split())}\n"
            for (start, end), tag in zip(tagged.spans, tagged.tags)) + "\n")
