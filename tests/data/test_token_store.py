"""The token store: the same rows as texts in memory, whatever happens on the way."""

import contextlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
import warm_processes
from tiny_documents import made_documents, write_gaps, write_json, write_lines
from tiny_texts import make_texts, telltale_tokenizer, tokenizer

from bert_kit import train_tokenizer
from bert_kit.data import (MLMDataset, TokenStore, build_token_store, make_loader, read_documents)
from bert_kit.data.store import building as store_building
from bert_kit.data.store import token_store as store_file
from bert_kit.data.store.token_store import token_type
from bert_kit.errors import BertKitError, DataError


def texts_of(files):
    return [" ".join(lines) for lines in read_documents(files)]


@pytest.fixture
def files(tmp_path):
    """Two text files and one of objects: 9 shards when each has some 700 bytes."""
    documents = [text.split(" ") for text in make_texts(90)]
    write_gaps(tmp_path / "a.txt", [document[::2] for document in documents[:40]])
    write_lines(tmp_path / "b.txt", documents[40:60])
    write_json(tmp_path / "c.jsonl", [*documents[60:], [], ["kato"]])
    return [tmp_path / name for name in ("a.txt", "b.txt", "c.jsonl")]


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(store_building, "SHARD_BYTES", 700)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same(batches, others):
    assert len(batches) == len(others) > 0
    for batch, other in zip(batches, others):
        assert batch.keys() == other.keys()
        assert all(torch.equal(batch[key], other[key]) for key in batch)


def test_other_text_of_the_same_name_and_size_is_refused(tmp_path):
    text, store = tmp_path / "a.txt", tmp_path / "store"
    text.write_text("\n\n".join(make_texts(20)))
    before, changed = text.read_bytes(), text.stat().st_mtime_ns
    build_token_store(text, tokenizer(), store)
    text.write_bytes(before[::-1].replace(b" ", b"\n").replace(b"\n", b" "))
    os.utime(text, ns=(changed, changed))
    with pytest.raises(DataError, match="token store of other texts"):
        build_token_store(text, tokenizer(), store)
    text.write_bytes(before)  # the same again, at another time
    build_token_store(text, tokenizer(), store)
    manifest = json.loads((store / "manifest.json").read_text())
    del manifest["sha256"]  # as stores were before
    (store / "manifest.json").write_text(json.dumps(manifest))
    assert build_token_store(text, tokenizer(), store).documents == 20


def test_two_jobs_on_one_finished_store(tmp_path, monkeypatch):
    """One makes the rows of a new length while the other opens the store, as a job begins."""
    (tmp_path / "a.txt").write_text("\n\n".join(make_texts(20)))

    def opened():
        return build_token_store(tmp_path / "a.txt", tokenizer(), tmp_path / "store")

    ends = TokenStore.ends
    monkeypatch.setattr(TokenStore, "ends", lambda self, shard: (opened(), ends(self, shard))[1])
    store = opened()
    assert [len(store.rows(tokenizer(), room)) for room in (9, 5)] == sorted(
        len(store.rows(tokenizer(), room)) for room in (9, 5))


@pytest.mark.parametrize("size", [200, 700, 10**6])
def test_a_store_is_its_texts(tmp_path, files, monkeypatch, size):
    """However it is sharded, and however long its rows."""
    monkeypatch.setattr(store_building, "SHARD_BYTES", size)
    store = build_token_store(files, tokenizer(), tmp_path / "store")
    for max_length in (3, 4, 9, 128):
        assert_same_rows(store, files, max_length)


def assert_same_rows(store, files, max_length):
    """Compare all rows with those of the texts in memory, in two epochs, and their lengths."""
    plain = MLMDataset(texts_of(files), tokenizer(), max_length, seed=3)
    stored = MLMDataset(store, tokenizer(), max_length, seed=3)
    assert len(plain) == len(stored) == len(stored.lengths)
    everything = np.arange(len(plain))
    assert (stored.lengths[everything] == plain.lengths).all()
    assert (stored.lengths[everything[::-7]] == plain.lengths[::-7]).all()
    assert stored.lengths.mean() == pytest.approx(plain.lengths.mean(), rel=1e-12)
    assert store.tokens == (plain.lengths - 2).sum() and store.documents == len(texts_of(files))
    for epoch in (0, 4):
        for row in [*range(len(plain)), -1]:
            one, other = plain[(epoch, row)], stored[(epoch, row)]
            assert all((one[key] == other[key]).all() for key in one)
            assert {key: value.dtype for key, value in one.items()} == {
                key: value.dtype for key, value in other.items()}
    for row in (len(plain), -len(plain) - 1):
        with pytest.raises(IndexError):
            stored[row]


@pytest.mark.parametrize("seed, group", [(0, False), (7, True)])
@pytest.mark.parametrize("workers", [0, 2])
def test_same_batches(tmp_path, files, small_shards, seed, group, workers):
    """With worker processes too, in every epoch, and from a place within one."""
    store = build_token_store(files, tokenizer(), tmp_path / "store")
    passes = []
    for texts in (texts_of(files), store):
        loader = make_loader(MLMDataset(texts, tokenizer(), 20, whole_word=True, seed=seed), 4,
                             seed=seed, group_by_length=group, num_workers=workers)
        passes.append([*loader, *loader])
        loader.batch_sampler.start_at(1, 17)
        passes[-1] += loader
    assert_same(*passes)


def test_a_copy_in_another_process_reads_the_same(tmp_path, files, small_shards):
    store = build_token_store(files, tokenizer(), tmp_path / "store")
    dataset = MLMDataset(store, tokenizer(), 20)
    assert len(pickle.dumps(store)) < 500
    copy = pickle.loads(pickle.dumps(dataset))
    away = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=1,
                                       multiprocessing_context=warm_processes.SERVER)
    for row, other, third in zip(dataset, copy, away, strict=True):
        for key in row:
            assert (row[key] == other[key]).all() and (row[key] == third[key].numpy()).all()


def test_rows_by_hand(tmp_path):
    """Documents are cut where a row is full and never run into one another."""
    sizes = [0, 1, 4, 5, 0, 8, 9, 3]
    documents = [" ".join(f"d{d}w{w}" for w in range(size)) for d, size in enumerate(sizes)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    store = build_token_store(path, telltale_tokenizer(), tmp_path / "store")
    assert (store.documents, store.tokens) == (8, 30)
    rows = store.rows(telltale_tokenizer(), 4)
    found = [telltale_tokenizer().decode(row, skip_special_tokens=False) for row in
             (rows[i] for i in range(len(rows)))]
    expected = [" ".join(f"d{d}w{w}" for w in range(start, min(start + 4, size)))
                for d, size in enumerate(sizes) for start in range(0, size, 4)]
    assert found == [f"[CLS] {text} [SEP]" for text in expected]


def test_every_array_opens_with_numpy_alone(tmp_path, files, small_shards):
    store = build_token_store(files, tokenizer(), tmp_path / "store")
    store.rows(tokenizer(), 9)
    arrays = {path.name: np.load(path, mmap_mode="r") for path in store.folder.glob("*.npy")}
    tokens = np.concatenate([arrays[name] for name in sorted(arrays) if "tokens" in name])
    assert tokens.dtype == np.uint16
    assert tokens.tolist() == [number for encoding in tokenizer().encode_pieces(texts_of(files))
                               for number in encoding.ids]
    assert arrays["rows-9.npy"].dtype == arrays["shard-00000.ends.npy"].dtype == np.int64
    assert len(arrays) == 2 * len(store.sizes) + 1 and len(store.sizes) > 5


@pytest.mark.parametrize("size, name", [(2**16, "<u2"), (2**16 + 1, "<u4")])
def test_ids_take_as_many_bytes_as_they_need(size, name):
    assert token_type(size).str == name and size - 1 <= np.iinfo(token_type(size)).max


def test_large_vocabularies(tmp_path, files, monkeypatch):
    monkeypatch.setattr(store_file, "token_type", lambda size: np.dtype("<u4"))
    monkeypatch.setattr(store_building, "token_type", lambda size: np.dtype("<u4"))
    store = build_token_store(files, tokenizer(), tmp_path / "store")
    assert np.load(tmp_path / "store" / "shard-00000.tokens.npy").dtype == np.uint32
    plain, stored = (MLMDataset(texts, tokenizer(), 9) for texts in (texts_of(files), store))
    assert all((plain[i]["labels"] == stored[i]["labels"]).all() for i in range(len(plain)))


def test_any_number_of_processes_gives_the_same_bytes(tmp_path, files, small_shards, forked):
    reports = []
    for workers in (1, 2):
        seen = []
        build_token_store(files, tokenizer(), tmp_path / str(workers), workers,
                          lambda done, total: seen.append((done, total)))
        reports.append(seen)
    assert contents(tmp_path / "1") == contents(tmp_path / "2") and reports[0] == reports[1]
    total = sum(path.stat().st_size for path in files)
    assert reports[0][0] == (0, total) and reports[0][-1] == (total, total)
    assert reports[0] == sorted(reports[0]) and len(reports[0]) == len(
        TokenStore.open(tmp_path / "1").sizes) + 1


class Killed(Exception):
    pass


def test_a_killed_build_goes_on(tmp_path, files, small_shards, monkeypatch):
    """Stopped after every shard in turn, it makes each shard once and ends in the same bytes."""
    build_token_store(files, tokenizer(), tmp_path / "whole")
    folder, made = tmp_path / "store", []
    build_shard = store_building._build_shard

    def counted(number, *rest):
        made.append(number)
        return build_shard(number, *rest)
    monkeypatch.setattr(store_building, "_build_shard", counted)
    count = len(list((tmp_path / "whole").glob("*.ends.npy")))
    for shards in range(count):
        def kill(done, total, before=len(made)):
            if len(made) > before:
                raise Killed
        with pytest.raises(Killed):
            build_token_store(files, tokenizer(), folder, report=kill)
        with pytest.raises(DataError, match="not finished; expected build_token_store to be"):
            TokenStore.open(folder)
        (folder / f".shard-00000.tokens.npy.{shards:08}.bert_kit_new").write_bytes(b"half")
    store_building.write_json, write_json = None, store_building.write_json
    with pytest.raises(TypeError):  # killed before the manifest
        build_token_store(files, tokenizer(), folder)
    store_building.write_json = write_json
    build_token_store(files, tokenizer(), folder)
    assert made == list(range(count))
    assert contents(folder) == contents(tmp_path / "whole")


PARENT = """
import multiprocessing, signal, sys
from bert_kit import get_tokenizer
from bert_kit.data import build_token_store
from bert_kit.data.store import building as store_building
store_building.SHARD_BYTES = 700
def report(done, total):
    if done:
        print(*(process.pid for process in multiprocessing.active_children()), flush=True)
        signal.pause()
build_token_store(sys.argv[2:], get_tokenizer(sys.argv[1]), "store", 2, report)
"""


def test_no_process_outlives_a_killed_build(tmp_path, files):
    tokenizer().save(tmp_path / "bert")
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tmp_path / "bert", *files],
                              env=warm_processes.environment(), cwd=tmp_path,
                              stdout=subprocess.PIPE)
    children = list(map(int, parent.stdout.readline().split()))
    parent.kill()
    try:  # its output ends when the last process that could write to it has
        assert len(children) == 2 and parent.communicate(timeout=30) == (b"", None)
    finally:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def test_a_finished_store_is_only_opened(tmp_path, files, monkeypatch):
    """Also when a file was touched, or copied without its times."""
    store = build_token_store(files, tokenizer(), tmp_path / "store")
    before = contents(tmp_path / "store")
    monkeypatch.setattr(store_building, "_build_shards", None)
    os.utime(files[1], (1, 1))
    (tmp_path / "store" / ".rows-9.npy.abcd1234.bert_kit_new").write_bytes(b"half")
    again = build_token_store(files, tokenizer(), tmp_path / "store")
    assert again.tokens == store.tokens and again.fingerprint == store.fingerprint
    assert contents(tmp_path / "store") == before
    monkeypatch.undo()
    build_token_store(files, tokenizer(), tmp_path / "touched")
    assert (tmp_path / "touched" / "manifest.json").read_bytes() == before["manifest.json"]


def unfinished(files, folder):
    """Begin a store and leave it with one shard."""
    def kill(done, total):
        if done:
            raise Killed
    with pytest.raises(Killed):
        build_token_store(files, tokenizer(), folder, report=kill)


def test_a_file_must_not_change_between_two_parts_of_a_build(tmp_path, files, small_shards):
    unfinished(files, tmp_path / "store")
    os.utime(files[1], (1, 1))
    with pytest.raises(DataError, match="a token store of modified .*, now given 1000000000; exp"):
        build_token_store(files, tokenizer(), tmp_path / "store")


def test_a_shard_has_both_its_files(tmp_path, files, small_shards):
    build_token_store(files, tokenizer(), tmp_path / "whole")
    for kind in ("tokens", "ends"):
        unfinished(files, tmp_path / kind)
        (tmp_path / kind / f"shard-00000.{kind}.npy").unlink()
        build_token_store(files, tokenizer(), tmp_path / kind)
        assert contents(tmp_path / kind) == contents(tmp_path / "whole")


@pytest.mark.parametrize("change", [
    lambda plan: plan.pop("shards"), lambda plan: plan.update(shards=5),
    lambda plan: plan.update(shards=[[[0, 0]]]), lambda plan: plan.update(shards=[[[7, 0, 9, 1]]]),
    lambda plan: plan.update(shards=[[[0, None, 9, True]]])])
def test_damaged_plans(tmp_path, files, small_shards, change):
    unfinished(files, tmp_path / "store")
    path = tmp_path / "store" / "plan.json"
    plan = json.loads(path.read_text())
    change(plan)
    path.write_text(json.dumps(plan))
    with pytest.raises(DataError, match=r"plan\.json: damaged; expected the ranges of each shard"):
        build_token_store(files, tokenizer(), tmp_path / "store")
    path.write_text("{")
    with pytest.raises(DataError, match=r"plan\.json: not valid JSON"):
        build_token_store(files, tokenizer(), tmp_path / "store")


def test_small_files_share_a_shard(tmp_path):
    documents = made_documents(30)
    paths = [tmp_path / f"{i}.txt" for i in range(30)]
    for path, document in zip(paths, documents):
        write_lines(path, [document])
    store = build_token_store(paths, tokenizer(), tmp_path / "store")
    assert store.documents == 30 and len(store.sizes) == 1


def test_fingerprints(tmp_path):
    """A saved tokenizer keeps its own; another vocabulary or another cleaning has another."""
    tokenizer().save(tmp_path)
    loaded = type(tokenizer()).load(tmp_path)
    others = [train_tokenizer(make_texts(100), 91),
              train_tokenizer((text.strip(" \u2603") for text in make_texts(100)), 90,
                              lowercase=False)]
    assert loaded.fingerprint() == pickle.loads(pickle.dumps(loaded)).fingerprint()
    assert loaded.fingerprint() == tokenizer().fingerprint()
    assert len({one.fingerprint() for one in (tokenizer(), *others)}) == 3


def test_another_tokenizer_is_refused(tmp_path, files):
    store = build_token_store(files, tokenizer(), tmp_path / "store")
    with pytest.raises(DataError, match="made with another tokenizer .*expected this one's"):
        MLMDataset(store, telltale_tokenizer())
    with pytest.raises(DataError, match="a token store of tokenizer .*, now given .*expected"):
        build_token_store(files, telltale_tokenizer(), tmp_path / "store")


@pytest.mark.parametrize("change, message", [
    (lambda files: files[:2], "files {'name': 'c.jsonl', .*now given None"),
    (lambda files: files[::-1], "files {'name': 'a.txt', .*now given {'name': 'c.jsonl'"),
    (lambda files: [*files, files[0]], "files None, now given {'name': 'a.txt'"),
    (lambda files: [files[0].write_text("other"), *files][1:], "'a.txt', 'bytes': .*'bytes': 5")])
def test_other_files_are_refused(tmp_path, files, change, message):
    build_token_store(files, tokenizer(), tmp_path / "store")
    with pytest.raises(DataError, match=message) as caught:
        build_token_store(change(files), tokenizer(), tmp_path / "store")
    assert "\n" not in str(caught.value) and "another folder" in str(caught.value)


def test_other_folders_are_left_alone(tmp_path, files):
    with pytest.raises(DataError, match="holds other files; expected a token store, or a new"):
        build_token_store(files, tokenizer(), tmp_path)
    with pytest.raises(DataError, match="no such file"):
        TokenStore.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"version": 7}')
    with pytest.raises(DataError, match="not as a token store of version 1 has it"):
        TokenStore.open(tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_text_is_named_by_any_process(tmp_path, small_shards, workers, forked):
    lines = [b"kato mire"] * 500
    lines[400] = b"caf\xe9"
    (tmp_path / "a.txt").write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match=r"a\.txt line 401: byte 0xe9 is not utf-8"):
        build_token_store(tmp_path / "a.txt", tokenizer(), tmp_path / "store", workers)


@pytest.mark.parametrize("workers", [0, 1.5, True, "2"])
def test_impossible_workers(tmp_path, files, workers):
    with pytest.raises(DataError, match="workers is .*expected a whole number from 1"):
        build_token_store(files, tokenizer(), tmp_path / "store", workers)


def test_no_text_is_no_dataset(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n")
    (tmp_path / "b.txt").touch()
    for name in ("a.txt", "b.txt"):
        store = build_token_store(tmp_path / name, tokenizer(), tmp_path / f"store of {name}")
        assert store.documents == store.tokens == 0
        with pytest.raises(DataError, match="none of the texts has a token"):
            MLMDataset(store, tokenizer())


def damage(path, rng):
    """Change a file at random: cut, made longer, bytes changed, emptied, removed."""
    content = bytearray(path.read_bytes())
    kind = rng.integers(5)
    if kind == 0:
        content = content[:rng.integers(len(content))]
    elif kind == 1:
        content += b"\0" * int(rng.integers(1, 99))
    elif kind == 2:
        for place in rng.integers(len(content), size=5):
            content[place] = rng.integers(256)
    elif kind == 3:
        content = bytearray(rng.bytes(200))
    path.unlink()
    if kind < 4:
        path.write_bytes(content)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_stores_get_one_line(tmp_path, files, small_shards, seed):
    """Reading everything either works (a changed id may be another good one) or says where."""
    rng, folder = np.random.default_rng(seed), tmp_path / "store"
    MLMDataset(build_token_store(files, tokenizer(), folder), tokenizer(), 20)
    path = sorted(folder.iterdir())[rng.integers(len(list(folder.iterdir())))]
    damage(path, rng)
    try:
        dataset = MLMDataset(TokenStore.open(folder), tokenizer(), 20)
        assert all(len(dataset[row]["input_ids"]) <= 20 for row in range(len(dataset)))
    except BertKitError as error:
        assert isinstance(error, DataError) and "\n" not in str(error)
        assert str(folder) in str(error)


def test_damage_is_found(tmp_path, files, small_shards):
    """What must not pass: cut files, ids and ends that cannot be, rows of another store."""
    def tried(name, values):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(tmp_path / "store", tmp_path / "copy")
        np.save(tmp_path / "copy" / name, values)
        dataset = MLMDataset(TokenStore.open(tmp_path / "copy"), tokenizer(), 20)
        return [dataset[row] for row in range(len(dataset))]
    build_token_store(files, tokenizer(), tmp_path / "store")
    tokens, ends = (np.load(tmp_path / "store" / f"shard-00002.{kind}.npy")
                    for kind in ("tokens", "ends"))
    for values in (tokens[:-1], tokens.astype(np.uint32), tokens[:, None], tokens.astype(">u2")):
        with pytest.raises(DataError, match=r"shard-00002\.tokens\.npy: damaged"):
            tried("shard-00002.tokens.npy", values)
    wrong = tokens.copy()
    wrong[5] = tokenizer().vocab_size
    with pytest.raises(DataError, match="damaged at token .*expected ids below 90"):
        tried("shard-00002.tokens.npy", wrong)
    for values in (ends[:-1], ends[::-1].copy(), ends - 1, ends + 1):
        with pytest.raises(DataError, match=r"shard-00002\.ends\.npy: damaged"):
            tried("shard-00002.ends.npy", values)
    MLMDataset(TokenStore.open(tmp_path / "store"), tokenizer(), 20)
    rows = np.load(tmp_path / "store" / "rows-18.npy")
    twice, back = rows.copy(), rows.copy()
    twice[5], back[5] = rows[6], rows[4] - 1
    for values in (rows[:-1], rows[[0, -1]], np.arange(0), twice, back):
        with pytest.raises(DataError, match=r"rows-18\.npy: .*delete it"):
            tried("rows-18.npy", values)


def test_pages_are_handed_back(tmp_path, files, small_shards, monkeypatch):
    """After every so many rows, and the rows read afterwards are the same."""
    monkeypatch.setattr(store_file, "READS", 10)
    store = build_token_store(files, tokenizer(), tmp_path / "store")
    dataset, drops, drop = MLMDataset(store, tokenizer(), 9), [], store.drop

    def counted():
        drops.append(1)
        drop()
    monkeypatch.setattr(store, "drop", counted)
    plain = MLMDataset(texts_of(files), tokenizer(), 9)
    assert all((dataset[row]["labels"] == plain[row]["labels"]).all() for row in range(len(plain)))
    assert len(drops) == len(plain) // 10
