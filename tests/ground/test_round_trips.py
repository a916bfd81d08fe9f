"""What the kit writes, it reads back as it was, whatever the values: hypothesis looks for others.

Tensors have the same in test_safetensors.py. Run: pytest tests/ground/test_round_trips.py
"""

import contextlib
import csv
import dataclasses
import json
import math
import os
import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from tiny_campaigns import learner
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tiny_texts import SPECIAL

from bert_kit import BertConfig, BertKitError, BERTModel, Tokenizer
from bert_kit.active import LabelFile
from bert_kit.active.campaign import CampaignFolder, CampaignState
from bert_kit.cells import unguard
from bert_kit.config import ACTIVATIONS
from bert_kit.data import (LabelList, Number, TokenStore, build_token_store, column_names,
                           read_conll, read_parts, read_table)
from bert_kit.evaluation import (PredictionWriter, label_set_cells, label_set_columns,
                                 write_predictions, write_rows)
from bert_kit.files import read_json, write_json
from bert_kit.jobs.commands.tag import write_conll, write_csv
from bert_kit.jobs.options.config_files import read_config_file
from bert_kit.jobs.run.folder import manifest, stored_run, write_label_mapping
from bert_kit.jobs.tasks.classes import ClassOptions
from bert_kit.jobs.tasks.tags import TaggedText, TextEntity, _write_words
from bert_kit.training.state import TrainerState, append_metrics, finite_numbers, write_metrics
from bert_kit.tuner import PBT, Population, SearchSpace, Study
from bert_kit.tuner.ask_tell import PRUNED
from bert_kit.weights import (SentenceLayout, load_weights, read_sentence_folder, save_pretrained,
                              save_sentence_folder)

FEW = settings(max_examples=60, deadline=None, derandomize=True,
               suppress_health_check=list(HealthCheck))
ANY = st.text(max_size=12)  # with control characters, and from all planes
# Second halves of characters, which UTF-8 cannot hold; after a first half one would be whole.
HALVES = st.text(st.characters(min_codepoint=0xDC00, max_codepoint=0xE010), max_size=5)
NAMES = st.one_of(ANY, HALVES)
# What a table may hold: no half characters, no NUL, and not only spaces.
CELLS = ANY.filter(lambda text: text.strip() and "\0" not in text)
# What spreadsheets run, what tables are made of, and what is written for these.
HOSTILE = ["-", "+", "=1+1", "'-", "'=1", "@x", "'\\=x", "'\\'\\-", "'\\\"a\"", "'", '"', '"a',
           '"a"', 'a"b""', "a\tb", "\ta", "a\nb", "a\r\nb", "=a\tb\n-c", "\ufeffa", "\uff1d1", "#",
           "# a", "-DOCSTART-x", "[a",
           '["a"]', "a,b", "a;b", "1", "1.0", "-1.5", "+1e3", "nan", "\\", "a\\", "NULL"]
NAMED = (CELLS | st.sampled_from(HOSTILE)).filter(lambda name: name == name.strip())
CELLS = CELLS | st.sampled_from(HOSTILE)
TABLES = st.sampled_from([".csv", ".tsv", ".TAB", ".jsonl", ".json", ".txt"])
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(st.none() | st.booleans() | st.integers() | NUMBERS | NAMES, lambda inner:
                     st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
                     max_leaves=12)


@contextlib.contextmanager
def scratch():
    """A folder in memory where there is one: the disk would be waited for each time."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


@FEW
@given(st.dictionaries(NAMES, PLAIN, max_size=4))
def test_json(value):
    with scratch() as folder:
        write_json(folder / "x.json", value)
        assert read_json(folder / "x.json") == value


# ---- models

@st.composite
def configs(draw):
    heads = draw(st.integers(1, 4))
    vocabulary = draw(st.integers(1, 500))
    stride = draw(st.integers(0, 9))
    return BertConfig(
        vocab_size=vocabulary, hidden_size=heads * draw(st.integers(1, 9)),
        num_attention_heads=heads, num_hidden_layers=draw(st.integers(0, 3)),
        intermediate_size=draw(st.integers(1, 20)), hidden_act=draw(st.sampled_from(ACTIVATIONS)),
        hidden_dropout_prob=draw(st.floats(0, 1)), classifier_dropout=draw(
            st.none() | st.floats(0, 1)), max_position_embeddings=draw(st.integers(1, 99)),
        type_vocab_size=draw(st.integers(0, 3)), layer_norm_eps=draw(st.floats(1e-300, 1)),
        window_stride=stride, window_pooling=draw(st.sampled_from(["mean", "max"])),
        pad_token_id=draw(st.integers(0, vocabulary - 1)),
        labels=draw(st.lists(NAMES, min_size=1, max_size=5, unique=True)),
        classifier=draw(st.sampled_from([{}, {"type": "cnn", "kernel_sizes": (2, 3)}])),
        extra={"thresholds": draw(st.lists(st.floats(0, 1)) | st.floats(0, 1)),
               "problem_type": draw(ANY), "task_specific_params": draw(PLAIN)})


@FEW
@given(configs())
def test_configurations_and_thresholds(config):
    with scratch() as folder:
        config.save(folder)
        again = BertConfig.load(folder)
        assert again == config and again.extra == config.extra
        again.save(folder)
        assert BertConfig.load(folder) == config


@FEW
@given(configs(), st.integers(0, 2**31))
def test_models(config, seed):
    """Bit for bit, and the same bytes when it is saved again."""
    with torch.random.fork_rng(), scratch() as folder:
        torch.manual_seed(seed)
        model, other = BERTModel(config), BERTModel(config)
        save_pretrained(model, folder)
        load_weights(other, folder)
        assert all(torch.equal(tensor, other.state_dict()[name])
                   for name, tensor in model.state_dict().items())
        first = {path.name: path.read_bytes() for path in folder.iterdir()}
        other.config = BertConfig.load(folder)
        save_pretrained(other, folder)
        assert first == {path.name: path.read_bytes() for path in folder.iterdir()}


PIECES = st.lists(st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1,
                          max_size=6).filter(lambda piece: piece.strip()), max_size=20, unique=True)


@FEW
@given(PIECES, st.booleans(), st.sampled_from([True, False, None]), st.booleans(),
       st.none() | st.integers(3, 10**6), ANY)
def test_vocabularies(pieces, lowercase, strip, split, longest, text):
    assume(not {*pieces} & {*SPECIAL})
    tokenizer = Tokenizer([*SPECIAL, *pieces], lowercase, strip, split, max_length=longest)
    with scratch() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer.save(folder)
        whole = Tokenizer.load(folder)
        first = {path.name: path.read_bytes() for path in folder.iterdir()}
        whole.save(folder)
        assert first == {path.name: path.read_bytes() for path in folder.iterdir()}
        (folder / "tokenizer.json").unlink()
        parts = Tokenizer.load(folder)  # of vocab.txt and the small files, as old readers do
    # Spaces at the end of a line of vocab.txt are no part of a piece.
    readers = (whole, parts) if all(piece == piece.rstrip() for piece in pieces) else (whole,)
    for again in readers:
        assert again.tokens(range(again.vocab_size)) == [*SPECIAL, *pieces]
        assert again.encode(text).ids == tokenizer.encode(text).ids
        assert (again.max_length, again.special_tokens) == (longest, tokenizer.special_tokens)


@FEW
@given(st.lists(st.sampled_from(["cls", "max", "mean"]), min_size=1, max_size=3, unique=True),
       st.booleans(), st.none() | st.integers(3, 999), st.booleans())
def test_layouts_of_sentence_encoders(pooling, normalize, longest, lowercase):
    model = BERTModel(BertConfig(vocab_size=5, hidden_size=2, num_hidden_layers=0,
                                 num_attention_heads=1, max_position_embeddings=4))
    layout = SentenceLayout(tuple(pooling), normalize, longest, lowercase)
    with scratch() as folder:
        save_sentence_folder(model, folder, None, layout)
        assert read_sentence_folder(folder) == (folder, layout)


# ---- data

@FEW
@given(st.lists(st.tuples(CELLS, st.sampled_from(["a", "b", "c"])), min_size=9, max_size=60),
       st.integers(0, 2**31), st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.5, 0.0), (0.4, 0.2, 0.4)]))
def test_splits(rows, seed, ratios):
    sizes = dict(zip(("train_size", "val_size", "test_size"), ratios))
    with scratch() as folder:
        with open(folder / "rows.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "category"), *rows])
        try:
            parts = [read_parts(folder / "rows.csv", seed=seed + again,
                                split_file=folder / "split.json", **sizes) for again in range(2)]
        except BertKitError:  # too few rows, or one class
            assume(False)
        for name in ("train", "validation", "test"):
            first, second = (getattr(part, name) for part in parts)
            assert (first and first.texts) == (second and second.texts)


def assert_no_formula(path):
    """No cell begins as a formula does; one that is written as a number is a number."""
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.reader(file, delimiter="\t" if path.suffix in (".tsv", ".TAB") else ","):
            for cell in row:
                assert not re.match("[=+@\t\r\n\uff1d\uff0b\uff20\uff0d-]", cell) or re.match(
                    r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$", cell, re.ASCII)


@FEW
@given(st.lists(st.tuples(CELLS, st.integers(0, 2), st.floats(0, 1)), min_size=1, max_size=9),
       st.lists(NAMED, min_size=3, max_size=3, unique=True), TABLES)
def test_tables_of_predictions(rows, names, suffix):
    texts, told, scores = map(list, zip(*rows))
    probabilities = np.array([[score, 1 - score, 0] for score in scores])
    with scratch() as folder:
        path, notes = folder / f"p{suffix}", []
        write_predictions(path, texts, told, probabilities, names, told)
        table = read_table(path, "text", "category", notes=notes)
        assert table.texts == texts and table.labels == [names[number] for number in told]
        assert read_table(path, "text", "prediction").labels == table.labels
        assert column_names(path)[4:] == [f"probability_{name}" for name in names]
        for place, name in enumerate(names):
            found = read_table(path, "text", Number(f"probability_{name}")).labels
            assert np.allclose(found, probabilities[:, place], atol=1e-6)
        assert not notes
        if "json" not in suffix:
            assert_no_formula(path)


@FEW
@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=9),
       st.lists(NAMED, min_size=3, max_size=3, unique=True), TABLES)
def test_tables_of_label_sets(rows, names, suffix):
    with scratch() as folder:
        path = folder / f"p{suffix}"
        with PredictionWriter(path, label_set_columns(names, True)) as writer:
            writer.write(label_set_cells(["a text"] * len(rows), rows, np.zeros((len(rows), 3)),
                                         names, rows))
        table = read_table(path, "text", LabelList("labels"))
    assert [{*found} for found in table.labels] == [
        {name for name, holds in zip(names, row) if holds} for row in rows]


@FEW
@given(st.lists(st.dictionaries(CELLS, st.none() | NUMBERS | ANY, min_size=1, max_size=4),
                min_size=1, max_size=5), st.booleans())
def test_tables_of_anything(rows, tabs):
    with scratch() as folder:
        path = folder / ("x.tsv" if tabs else "x.csv")
        write_rows(path, rows)
        assert_no_formula(path)
        with open(path, newline="", encoding="utf-8") as file:
            found = [{unguard(name): unguard(cell) for name, cell in row.items()} for row in
                     csv.DictReader(file, strict=True, delimiter="\t" if tabs else ",")]
    assert len(found) == len(rows)
    for read, row in zip(found, rows):
        for name, value in row.items():
            assert float(read[name]) == value if isinstance(value, float) else (
                read[name] == (value or ""))


WORDS = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1,
                max_size=9) | st.sampled_from([*HOSTILE, "-DOCSTART-"])


@FEW
@given(st.lists(st.lists(st.tuples(WORDS, NAMED), min_size=1, max_size=5), min_size=1, max_size=5),
       st.sampled_from([".conll", ".tsv"]))
def test_tagged_words(sentences, suffix):
    path = Path(f"x{suffix}")
    with scratch() as folder:
        with write_conll(folder / path) as write:
            for rows in sentences:
                text, spans = "", []
                for word, _ in rows:
                    spans.append((len(text), len(text) + len(word)))
                    text += word + " "
                write(1, TaggedText(text, spans, [tag for _, tag in rows], []))
        found = read_conll(folder / path)
        if suffix == ".tsv":
            assert_no_formula(folder / path)
        _write_words(folder / path, found, found.tags)
        again = read_conll(folder / path)
    for part in (found, again):
        assert part.words == [[word for word, _ in rows] for rows in sentences]
        assert part.tags == [[tag for _, tag in rows] for rows in sentences]


@FEW
@given(st.lists(st.tuples(st.integers(1, 9), NAMED, CELLS), min_size=1, max_size=5))
def test_tables_of_entities(entities):
    with scratch() as folder:
        with write_csv(folder / "x.csv") as write:
            for row, kind, text in entities:
                write(row, TaggedText(text, [], [], [TextEntity(kind, 0, len(text), text)]))
        assert_no_formula(folder / "x.csv")
        table = read_table(folder / "x.csv", "entity", "type")
        assert table.texts == [text for _, _, text in entities]
        assert table.labels == [kind for _, kind, _ in entities]
        assert read_table(folder / "x.csv", "entity", Number("row")).labels == [
            row for row, _, _ in entities]


@FEW
@given(st.lists(st.lists(st.integers(5, 60), max_size=30), min_size=1, max_size=9),
       st.integers(1, 12))
def test_token_stores(documents, room):
    tokenizer = Tokenizer([*SPECIAL, *(f"w{number}" for number in range(5, 61))])
    with scratch() as folder:
        (folder / "a.txt").write_text("\n\n".join(
            " ".join(f"w{number}" for number in document) or "." for document in documents))
        store = build_token_store(folder / "a.txt", tokenizer, folder / "store")
        again = TokenStore.open(folder / "store")
        assert (again.documents, again.tokens) == (store.documents, store.tokens)
        rows = again.rows(tokenizer, room)
        found = [row[1:-1].tolist() for row in map(rows.__getitem__, range(len(rows)))]
    ids = [document or [tokenizer.unk_id] for document in documents]
    assert found == [document[start:start + room] for document in ids
                     for start in range(0, len(document), room)]


# ---- runs

ABOUT = {**manifest(ClassOptions(), "train"), "data": "0" * 64}


@FEW
@given(st.lists(st.dictionaries(st.sampled_from(["step", "loss", "eval_loss", "f1"]),
                                st.floats() | st.integers(-9, 9), min_size=1), min_size=1,
                max_size=6))
def test_the_log_of_a_run(log):
    """A row at a time it is the file that is written at once, as far as columns are known."""
    log = [finite_numbers(row) for row in log]
    with scratch() as folder:
        for count in range(1, len(log) + 1):
            append_metrics(folder, log[:count])
        with open(folder / "metrics.csv", newline="") as file:
            found = list(csv.DictReader(file))
        write_metrics(folder, log)
        with open(folder / "metrics.csv", newline="") as file:
            assert list(csv.DictReader(file)) == found
        state = TrainerState(step=3, log=log, loss_sum=0.1)
        write_json(folder / "trainer_state.json", dataclasses.asdict(state))
        assert TrainerState(**read_json(folder / "trainer_state.json")) == state
    assert [{name: float(value) for name, value in row.items() if value} for row in found] == [
        {name: value for name, value in row.items() if value is not None} for row in log]


@FEW
@given(st.floats(1e-9, 1), st.integers(1, 99), st.lists(ANY.filter(str.strip), min_size=1,
                                                        max_size=1), NAMES, st.booleans(),
       st.lists(NAMES, max_size=5, unique=True))
def test_settings_of_a_run(rate, epochs, column, folder_name, plots, classes):
    chosen = ClassOptions(learning_rate=rate, num_train_epochs=epochs, plots=plots,
                          text_column=column, output_dir=folder_name or "x",
                          kernel_sizes=(2, 3), classifier="cnn")
    with scratch() as folder:
        write_json(folder / "manifest.json", {**ABOUT, "settings": chosen.to_dict()})
        job, values = stored_run(folder)
        assert job == "train" and ClassOptions(**values) == chosen
        assert ClassOptions(**read_config_file(folder / "manifest.json")) == chosen
        write_label_mapping(folder, classes)
        stored = read_json(folder / "label_mapping.json")
        assert [stored["id_to_label"][str(i)] for i in range(len(classes))] == classes
        assert stored["label_to_id"] == {name: i for i, name in enumerate(classes)}


# ---- searches

@st.composite
def spaces(draw):
    space = SearchSpace()
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        kind = draw(st.integers(0, 4))
        low, width = draw(st.floats(-1e6, 1e6)), draw(st.floats(1e-3, 1e6))
        if kind == 0:
            space = space.continuous(name, low, low + width)
        elif kind == 1:
            space = space.log_uniform(name, width, width * 2)
        elif kind == 2:
            step = draw(st.integers(1, 9))
            space = space.discrete(name, int(low), int(low) + step * draw(st.integers(0, 99)), step)
        else:
            values = draw(st.lists(st.integers(-9, 9) | NAMES | st.booleans() | st.none(),
                                   min_size=1, max_size=4, unique_by=repr))
            space = space.ordered(name, values) if kind == 3 else space.categorical(name, values)
            if draw(st.booleans()):
                space = space.continuous(name + "'", 0, 1, when={name: [values[0]]})
    return space


def known(build):
    """Return what a strategy builds, but for spaces that are refused."""
    try:
        return build()
    except BertKitError:
        assume(False)


@FEW
@given(st.data())
def test_search_spaces(data):
    space = known(lambda: data.draw(spaces()))
    with scratch() as folder:
        write_json(folder / "space.json", space.to_dict())
        again = SearchSpace.from_dict(read_json(folder / "space.json"))
    assert again == space and again.to_dict() == space.to_dict()
    row = np.linspace(0.1, 0.9, len(space.parameters))
    assert again.from_row(row) == space.from_row(row)


@FEW
@given(st.data(), st.integers(0, 99), st.lists(st.floats() | st.just("pruned") | ANY, max_size=6))
def test_studies(data, seed, ends):
    """Trials of all kinds, from the file and in what is exported."""
    space = known(lambda: data.draw(spaces()))
    with scratch() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.closing(Study("s", space, folder, seed=seed)) as study:
            for end in ends:
                trial = study.ask()
                trial.notes = {"why": end if isinstance(end, str) else None}
                trial.report(1, 0.5)
                if end == "pruned":
                    trial.state = PRUNED
                study.tell(trial, **({"error": end or "x"} if isinstance(end, str)
                                     and end != "pruned" else {"value": 0.25 if end == "pruned"
                                                               else end}))
            study.export()
            trials = study.trials
        with contextlib.closing(Study("s", space, folder, seed=seed, resume=True)) as again:
            assert again.trials == trials and again.statistics() == study_statistics(folder)
        history = read_json(folder / "trial_history.json", list)
    assert [row["params"] for row in history] == [trial.params for trial in trials]
    assert [row["state"] for row in history] == [trial.state for trial in trials]
    assert all(row["value"] == trial.value for row, trial in zip(history, trials))


def study_statistics(folder):
    return read_json(folder / "statistics.json")


@FEW
@given(st.data(), st.lists(st.floats(), min_size=4, max_size=4))
def test_populations(data, scores):
    space = known(lambda: data.draw(spaces()))
    assume(math.isfinite(scores[0]) and math.isfinite(scores[2]))
    left = iter(scores)

    def step(leg):
        Path(leg.state_out).touch()
        return next(left)
    with scratch() as folder:
        found = PBT(space, population=2).run(step, generations=2, path=folder / "p")
        assert Population.load(folder / "p") == found
        (folder / "p").rename(folder / "q")  # a folder may be moved
        moved = Population.load(folder / "q")
        assert [dataclasses.replace(row, checkpoint="") for row in moved.lineage] == [
            dataclasses.replace(row, checkpoint="") for row in found.lineage]


# ---- campaigns

@FEW
@given(st.dictionaries(st.integers(0, 59), st.integers(0, 9) | st.lists(st.integers(0, 9)),
                       max_size=9), st.lists(st.integers(0, 59), unique=True, max_size=9),
       st.lists(st.integers(0, 59), unique=True, max_size=9))
def test_campaigns(labels, ignored, queried):
    with scratch() as folder:
        settings = {"rows": 60, "seed": 0}
        files = CampaignFolder(folder, settings, None, None, True)
        state = CampaignState(labels, ignored, queried)
        files.write_state(state)
        again, rounds = CampaignFolder(folder, settings, None, None, True).open(True)
    assert again == state and list(again.labels) == list(labels) and rounds == []


@settings(FEW, max_examples=8)
@given(st.integers(0, 999), st.booleans())
def test_rounds_of_campaigns(seed, warm):
    with scratch() as folder:
        first = learner(folder / "c", seed=seed, warm_start=warm)
        for _ in range(3):
            first.update([row % 3 for row in first.query(5)])
        again = learner(folder / "c", seed=seed, warm_start=warm, resume=True)
        assert again.history == json.loads(json.dumps(first.history))
        assert (again.state, again.model) == (first.state, first.model)
        assert again.query(4) == first.query(4)


@FEW
@given(st.lists(ANY | st.sampled_from(HOSTILE), min_size=1, max_size=6), st.lists(
    NAMED.filter(lambda name: name not in ("?", "-")), min_size=2, max_size=4, unique=True),
    st.data())
def test_files_to_label(texts, classes, data):
    rows = list(range(len(texts)))
    told = data.draw(st.lists(st.none() | st.integers(0, len(classes) - 1), min_size=len(rows),
                              max_size=len(rows)))
    with scratch() as folder:
        file = LabelFile(folder / "l.csv", texts, classes)
        assert file(rows) is None
        answers = iter("-" if label is None else classes[label] for label in told)
        assert file.ask(rows, read=lambda prompt: next(answers), write=lambda text: None) == told
        assert LabelFile(folder / "l.csv", texts, classes)(rows) == told
        for mark in ";\t":  # as a spreadsheet saves it elsewhere in the world
            with open(folder / "l.csv", newline="", encoding="utf-8") as first:
                cells = list(csv.reader(first))
            with open(folder / "m.csv", "w", newline="", encoding="utf-8-sig") as second:
                csv.writer(second, delimiter=mark).writerows(cells)
            assert LabelFile(folder / "m.csv", texts, classes)(rows) == told
