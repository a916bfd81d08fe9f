"""The command `tag`: texts in, tags and entities out; on a terminal, in colours."""

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TextIO

from bert_kit.data import BadRow, read_conll, stream_texts
from bert_kit.data.read.json_rows import JSON_SUFFIXES
from bert_kit.errors import ConfigError
from bert_kit.evaluation import PredictionWriter
from bert_kit.files import atomic_file
from bert_kit.jobs.options.declare import Needs, option
from bert_kit.jobs.options.groups import (PrecisionOptions, TableReadingOptions, UseOptions,
                                          check_output, is_table)
from bert_kit.jobs.run.left_out import in_place, put_back, tell_reading
from bert_kit.jobs.run.predictor import CHUNK
from bert_kit.jobs.tasks.tags import (TaggedText, Tagger, are_entities, format_tag_scores,
                                      tag_scores, unknown_tags, word_lines)
from bert_kit.printing import one_line, show

COLOURS = (31, 32, 33, 34, 35, 36)  # of ANSI terminals, type by type
Write = Callable[[int, TaggedText], Any]


@dataclass(frozen=True)
class UseTaggerOptions(UseOptions, PrecisionOptions, TableReadingOptions):
    """What to tag, and where to."""

    title: ClassVar[str] = "data"
    examples = ('bert-kit tag --model runs/tagger --text "Ada Lovelace was born in London."',
                "bert-kit tag --model runs/tagger --input_file texts.txt --output_file found.csv")
    main = ("model", "text", "input_file", "output_file", "words")

    text: tuple[str, ...] | None = option(None, "texts to tag", may_be_empty=True)
    input_file: str | None = option(None, "file to tag: .txt, a text a line, or a table")
    output_file: str | None = option(
        None, ".csv, a line an entity; .conll, a line a word; .jsonl, spans as doccano imports "
        "them; or .json, predictions as Label Studio does; without it, printed")
    words: bool = option(False, "input_file has a word a line, as files to train on have")
    text_column: str = option("text", "column of the table", needs=Needs(
        "an input_file that is a table", lambda options: is_table(options.input_file)
        and not options.words))
    word_column: int = option(0, "of a file of words, from 0")
    tag_column: int | None = option(None, "of a file of words that has the right tags too: they "
                                    "are scored")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.text is None) == (self.input_file is None):
            raise ConfigError("tagging needs texts (--text) or a file (--input_file); expected "
                              "one of the two")
        if self.words and self.input_file is None:
            raise ConfigError("words says how an input_file is written; expected a file with it")
        if self.words and str(self.input_file).lower().endswith(JSON_SUFFIXES):
            raise ConfigError(f"{self.input_file}: holds JSON, not a word a line; leave words out "
                              "to tag its texts, or score labelled spans by evaluate --data_file")
        if not self.words and (self.word_column, self.tag_column) != (0, None):
            raise ConfigError("word_column and tag_column are of a file with a word a line; "
                              "expected an input_file and words with them")
        if self.output_file is not None and _suffix(self.output_file) not in WRITERS:
            raise ConfigError(f"{self.output_file}: expected a name that ends in "
                              f"{', '.join(WRITERS)}")
        check_output(self.output_file, self.input_file)


def run(options: UseTaggerOptions) -> int:
    """Tag texts or those of a file and print or write what is found; return how many there were.

    Where the file holds the right tags too, their scores are printed.
    """
    tagger = Tagger.load(options.model, options.device, options.download,
                         precision=options.precision)
    count, told, table = 0, [], None
    reading = options.row_reading() if options.words else options.reading()
    rows: Iterable[Any] = options.text or ()
    tag: Callable[[Any], list[TaggedText]] = tagger.tag
    if options.words:
        table = read_conll(str(options.input_file), options.word_column, options.tag_column,
                           **reading)
        rows = put_back(table.words, table.before or (), reading["bad_rows"] or ())
        tag = tagger.tag_sentences
    elif options.input_file is not None:
        rows = in_place(stream_texts(options.input_file, options.text_column, **reading),
                        reading["bad_rows"])
    note = unknown_tags(table, tagger.classes) if table and options.tag_column is not None else ""
    rows = iter(rows)
    with (_printed(tagger) if options.output_file is None
          else WRITERS[_suffix(options.output_file)](options.output_file)) as write:
        while chunk := list(itertools.islice(rows, CHUNK)):
            usable = [row for row in chunk if not isinstance(row, BadRow)]
            found = iter(tag(usable) if usable else ())
            for row in chunk:
                count += 1  # also one that is left out: it keeps its number
                if not isinstance(row, BadRow):
                    tagged = next(found)
                    write(count, tagged)
                    told.append(tagged.tags)
    if table is not None and options.tag_column is not None:
        entities = are_entities([*tagger.classes, *table.classes])
        scores = tag_scores(told, table.tags or [], entities, tagger.lenient, tagger.scheme)
        show("\n".join(["", format_tag_scores(scores), *filter(None, [note])]))
    tell_reading(reading, len(told), options)
    if options.output_file is not None:
        show(f"{len(told):,} texts: {options.output_file}")
    return len(told)


def marked(tagged: TaggedText, colours: Mapping[str, int] | None = None) -> str:
    """Return a text with its entities marked, on one line without control characters.

    Parameters
    ----------
    colours
        The ANSI colour of each type, for a terminal; without it entities stand in brackets.

    Examples
    --------
    >>> from bert_kit.jobs.tasks.tags import TextEntity
    >>> text = "In London, now"
    >>> marked(TaggedText(text, [], [], [TextEntity("city", 3, 9, "London")]))
    'In [London|city], now'
    """
    parts, place = [], 0
    for kind, start, end, entity in tagged.entities:
        entity, name = one_line(entity, len(tagged.text)), one_line(kind)
        parts += [_between(tagged.text[place:start]),
                  f"[{entity}|{name}]" if colours is None else
                  f"\033[1;{colours[kind]}m{entity}\033[0m\033[2m|{name}\033[0m"]
        place = end
    return "".join([*parts, _between(tagged.text[place:])])


def _between(text: str) -> str:
    """Return what stands between entities: as `one_line`, but the spaces at its ends stay."""
    middle = one_line(text, max(len(text), 1))
    return f"{' ' * text[:1].isspace()}{middle}{' ' * (bool(middle) and text[-1:].isspace())}"


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


@contextmanager
def _printed(tagger: Tagger) -> Iterator[Write]:
    """Yield `write(number, tagged)`, which prints a text."""
    kinds = sorted({tag.partition("-")[2] or "_" if are_entities(tagger.classes) else tag
                    for tag in tagger.classes})
    colours = None
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        colours = {kind: COLOURS[i % len(COLOURS)] for i, kind in enumerate(kinds)}
    yield lambda number, tagged: print(marked(tagged, colours))


@contextmanager
def write_csv(path: str | Path) -> Iterator[Write]:
    """Yield `write(number, tagged)`, which writes a line for each entity of a text."""
    with PredictionWriter(path, ["row", "start", "end", "type", "entity"]) as rows:
        yield lambda number, tagged: rows.write(
            [number, found.start, found.end, found.type, found.text] for found in tagged.entities)


@contextmanager
def write_conll(path: str | Path) -> Iterator[Write]:
    """Yield `write(number, tagged)`, which writes a line for each word, and one between texts."""
    with _text_file(path) as file:
        yield lambda number, tagged: file.write(word_lines(path, (
            (tagged.text[start:end], tag) for (start, end), tag in zip(
                tagged.spans, tagged.tags, strict=True))) + "\n")


@contextmanager
def write_doccano(path: str | Path) -> Iterator[Write]:
    """Yield `write(number, tagged)`, which writes a text with its spans as a JSON object.

    As doccano imports them to a project of sequence labeling (JSONL): spans are [start, end, type],
    in Python's characters.
    """
    with _text_file(path) as file:
        yield lambda number, tagged: file.write(json.dumps(
            {"text": tagged.text, "label": [[found.start, found.end, found.type]
                                            for found in tagged.entities]},
            ensure_ascii=False) + "\n")


@contextmanager
def write_label_studio(path: str | Path) -> Iterator[Write]:
    """Yield `write(number, tagged)`, which writes a text as one task of a JSON list.

    Entities are predictions, for people to accept or change, by the names of Label Studio's
    template for entities: `<Labels name="label" toName="text">` and `<Text name="text"
    value="$text"/>`. (Its docs: "Import pre-annotated data".)
    """
    with _text_file(path) as file:
        file.write("[")
        between = itertools.chain([""], itertools.repeat(","))
        yield lambda number, tagged: file.write(next(between) + "\n" + json.dumps(
            _label_studio_task(number, tagged), ensure_ascii=False))
        file.write("\n]\n")


def _label_studio_task(number: int, tagged: TaggedText) -> dict[str, Any]:
    result = [{"id": f"{number}-{place}", "from_name": "label", "to_name": "text", "type": "labels",
               "value": {"start": found.start, "end": found.end, "text": found.text,
                         "labels": [found.type]}}
              for place, found in enumerate(tagged.entities, 1)]
    return {"data": {"text": tagged.text},
            "predictions": [{"model_version": "bert_kit", "result": result}]}


@contextmanager
def _text_file(path: str | Path) -> Iterator[TextIO]:
    with atomic_file(path) as temporary, open(temporary, "w", newline="\n", encoding="utf-8",
                                              errors="backslashreplace") as file:
        yield file


WRITERS = {".csv": write_csv, ".conll": write_conll, ".tsv": write_conll,
           ".jsonl": write_doccano, ".json": write_label_studio}
