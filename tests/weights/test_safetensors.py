"""The safetensors reader and writer: equal to the reference package, and strict."""

import json
import os
import random
import struct
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_kit.errors import WeightsError
from bert_kit.weights.safetensors import (DTYPES, read_header, read_safetensors,
                                          write_safetensors)

SHAPES = [(), (0,), (1,), (3, 5), (2, 0, 3), (7, 1, 2)]


def random_tensor(dtype, shape, generator):
    """A tensor of any type from random bits (NaN patterns left out, truth values 0 or 1)."""
    if dtype is torch.bool:
        return torch.randint(2, shape, generator=generator).bool()
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    return torch.randint(0, 100, shape, generator=generator).to(dtype)


def some_tensors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {f"{name}.{i}": random_tensor(dtype, shape, generator)
            for name, dtype in DTYPES.items() for i, shape in enumerate(SHAPES)}


def same(a, b):
    """Equal names, types, shapes and bits."""
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape
        and torch.equal(a[k].reshape(-1).view(torch.uint8), b[k].reshape(-1).view(torch.uint8))
        for k in a)


def write_raw(path, header, data=b"", length=None):
    """Write a file with any header text and any bytes behind it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(start=0, stop=4, dtype="U8", shape=(4,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


def test_round_trip_of_every_type_and_shape(tmp_path):
    tensors = some_tensors()
    write_safetensors(tmp_path / "a", tensors)
    assert same(tensors, read_safetensors(tmp_path / "a"))
    entries, metadata = read_header(tmp_path / "a")
    assert metadata == {"format": "pt"}
    assert entries["F32.3"].shape == (3, 5) and entries["F32.3"].dtype == torch.float32
    assert entries["F32.3"].stop - entries["F32.3"].start == 60


def test_the_reference_reads_our_file_and_writes_the_same_bytes(tmp_path):
    reference = pytest.importorskip("safetensors.torch")
    tensors = some_tensors(seed=1)
    tensors['q"uote é'] = torch.ones(3)
    write_safetensors(tmp_path / "ours", tensors)
    reference.save_file(tensors, tmp_path / "theirs", {"format": "pt"})
    assert same(tensors, reference.load_file(tmp_path / "ours"))
    assert same(tensors, read_safetensors(tmp_path / "theirs"))
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.dictionaries(st.text(st.characters(exclude_categories=("C", "Z")), max_size=9),
                       st.tuples(st.sampled_from(sorted(DTYPES)),
                                 st.lists(st.integers(0, 4), max_size=4)), max_size=6))
def test_round_trip_property(description):
    generator = torch.Generator().manual_seed(2)
    tensors = {name: random_tensor(DTYPES[dtype], shape, generator)
               for name, (dtype, shape) in description.items() if name != "__metadata__"}
    with tempfile.TemporaryDirectory() as folder:
        write_safetensors(Path(folder) / "x", tensors)
        assert same(tensors, read_safetensors(Path(folder) / "x"))


def test_the_same_tensors_give_the_same_bytes_in_any_order(tmp_path):
    tensors = some_tensors(seed=3)
    write_safetensors(tmp_path / "a", tensors)
    write_safetensors(tmp_path / "b", dict(reversed(tensors.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    # The widest types first, so that every number lies at a multiple of its size; then by name.
    write_safetensors(tmp_path / "c", {"b": torch.zeros(1), "a": torch.zeros(1),
                                       "c": torch.zeros(1, dtype=torch.float64)})
    entries, _ = read_header(tmp_path / "c")
    assert sorted(entries, key=lambda name: entries[name].start) == ["c", "a", "b"]


def test_views_are_written_whole(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {"turned": base.T, "column": base[:, 1], "spread": base[:1, :1].expand(2, 3),
               "learned": torch.nn.Parameter(base.clone())}
    write_safetensors(tmp_path / "a", tensors)
    loaded = read_safetensors(tmp_path / "a")
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_loaded_tensors_can_be_written_to_and_the_file_stays(tmp_path):
    write_safetensors(tmp_path / "a", {"x": torch.zeros(5)})
    before = (tmp_path / "a").read_bytes()
    read_safetensors(tmp_path / "a")["x"].fill_(7)
    assert (tmp_path / "a").read_bytes() == before
    loaded = read_safetensors(tmp_path / "a")
    write_safetensors(tmp_path / "a", {"x": torch.ones(5)})  # replaced while it is mapped
    assert loaded["x"].sum() == 0 and read_safetensors(tmp_path / "a")["x"].sum() == 5


def test_tensors_at_odd_places_are_read(tmp_path):
    data = b"\x01" + struct.pack("<2f", 1.5, -2.0)
    path = write_raw(tmp_path / "a", {"f": entry(1, 9, "F32", (2,)), "b": entry(0, 1, "BOOL", ())},
                     data)
    loaded = read_safetensors(path)
    assert loaded["f"].tolist() == [1.5, -2.0] and loaded["b"].item() is True
    assert list(loaded) == ["b", "f"]


DATA = bytes(8)
REFUSED = {
    "empty file": (b"", b"", None),
    "header longer than the file": (b"{}", b"", 50),
    "header above 100 MB": (b"{}", b"", 100_000_001),
    "header of 2**64 - 1 bytes": (b"{}", b"", 2**64 - 1),
    "header below 2 bytes": (b"{", b"", 1),
    "not JSON": (b"{nonsense}", b"", None),
    "not an object": (b"[1, 2]", b"", None),
    "not UTF-8": (b'{"\xff": 1}', b"", None),
    "leading space": (b" {}", b"", None),
    "byte order mark": (b"\xef\xbb\xbf{}", b"", None),
    "deep JSON": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"", None),
    "NaN": (b'{"a": NaN}', b"", None),
    "5,000 digits": (b'{"a": ' + b"9" * 5_000 + b"}", b"", None),
    "duplicate tensor": (b'{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},'
                         b'"a":{"dtype":"I8","shape":[8],"data_offsets":[0,8]}}', DATA, None),
    "duplicate field": (b'{"a":{"dtype":"U8","dtype":"I8","shape":[8],"data_offsets":[0,8]}}',
                        DATA, None),
    "NUL in a name": ({"a\0b": entry(0, 8, shape=(8,))}, DATA, None),
    "lone surrogate in a name": ({"\ud800": entry(0, 8, shape=(8,))}, DATA, None),
    "metadata not text": ({"__metadata__": {"a": 1}}, b"", None),
    "metadata not an object": ({"__metadata__": "a"}, b"", None),
    "metadata a list": ({"__metadata__": []}, b"", None),
    "not an entry": ({"a": 3}, b"", None),
    "missing field": ({"a": {"dtype": "U8", "shape": [8]}}, DATA, None),
    "unknown field": ({"a": {**entry(0, 8, shape=(8,)), "b": 1}}, DATA, None),
    "unknown type": ({"a": entry(0, 8, "F7", (8,))}, DATA, None),
    "type not text": ({"a": entry(0, 8, ["U8"], (8,))}, DATA, None),
    "negative size": ({"a": entry(0, 8, shape=(-8,))}, DATA, None),
    "two negative sizes": ({"a": entry(0, 8, shape=(-2, -4))}, DATA, None),
    "fractional size": ({"a": entry(0, 8, shape=(8.0,))}, DATA, None),
    "truth value as a size": ({"a": entry(0, 1, shape=(True,))}, b"\0", None),
    "negative offset": ({"a": entry(-8, 0, shape=(8,))}, DATA, None),
    "reversed offsets": ({"a": entry(8, 0, shape=(8,))}, DATA, None),
    "three offsets": ({"a": {**entry(), "data_offsets": [0, 8, 8]}}, DATA, None),
    "shape not a list": ({"a": {**entry(), "shape": "8"}}, DATA, None),
    "size and bytes differ": ({"a": entry(0, 8, "F32", (3,))}, DATA, None),
    "product beyond 64 bits": ({"a": entry(0, 8, shape=(2**33, 2**33))}, DATA, None),
    "product wraps to 8": ({"a": entry(0, 8, shape=(2**61 + 1, 8))}, DATA, None),
    "zero times absurd": ({"a": entry(0, 0, shape=(0, 2**40, 2**40))}, b"", None),
    "too many dimensions": ({"a": entry(0, 8, shape=(8,) + (1,) * 80)}, DATA, None),
    "overlap": ({"a": entry(0, 4), "b": entry(2, 6)}, bytes(6), None),
    "same bytes twice": ({"a": entry(0, 4), "b": entry(0, 4)}, bytes(4), None),
    "hole in front": ({"a": entry(4, 8)}, DATA, None),
    "hole between": ({"a": entry(0, 4), "b": entry(5, 9)}, bytes(9), None),
    "bytes left over": ({"a": entry(0, 4)}, DATA, None),
    "truncated": ({"a": entry(0, 8, shape=(8,))}, bytes(7), None),
    "offsets beyond the file": ({"a": entry(0, 2**40, shape=(2**40,))}, DATA, None),
    "truth value 2": ({"a": entry(0, 4, "BOOL")}, b"\0\1\2\1", None),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path, case):
    header, data, length = REFUSED[case]
    path = write_raw(tmp_path / "bad.safetensors", header, data, length)
    if case == "empty file":
        path.write_bytes(b"")
    with pytest.raises(WeightsError, match="bad.safetensors") as caught:
        read_safetensors(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="No such file"):
        read_safetensors(tmp_path / "absent")
    with pytest.raises(WeightsError):
        read_safetensors(tmp_path)


@pytest.mark.parametrize("tensors", [
    {1: torch.ones(1)}, {"__metadata__": torch.ones(1)}, {"a\nb": torch.ones(1)}, {"a": [1.0]},
    {"a": torch.ones(1, dtype=torch.complex64)}, {"a": torch.ones(2, device="meta")},
    {"a": torch.eye(2).to_sparse(2).coalesce()}], ids=str)
@pytest.mark.filterwarnings("ignore:Sparse")
def test_the_writer_refuses_what_cannot_be_stored(tmp_path, tensors):
    with pytest.raises(WeightsError):
        write_safetensors(tmp_path / "a", tensors)
    with pytest.raises(WeightsError):
        write_safetensors(tmp_path / "a", {}, metadata={"step": 3})
    assert os.listdir(tmp_path) == []


def test_damaged_files_load_correctly_or_raise_a_weights_error(tmp_path):
    """600 seeded mutations: bits flipped, bytes cut, doubled or inserted."""
    source = random.Random(5)
    write_safetensors(tmp_path / "good", {"a.weight": torch.arange(96.0).reshape(8, 12),
                                          "flag": torch.tensor([True, False]),
                                          "empty": torch.zeros(0, 4)})
    good = (tmp_path / "good").read_bytes()
    outcomes = {"loaded": 0, "refused": 0}
    for _ in range(600):
        bad = bytearray(good)
        for _ in range(source.randint(1, 3)):
            where, kind = source.randrange(len(bad)), source.randrange(4)
            if kind == 0:
                bad[where] ^= 1 << source.randrange(8)
            elif kind == 1:
                del bad[where:where + source.randint(1, 9)]
            elif kind == 2:
                bad[where:where] = bad[where:where + source.randint(1, 60)]
            else:
                bad[where:where] = bytes([source.randrange(256)])
        (tmp_path / "bad").write_bytes(bad)
        try:
            loaded = read_safetensors(tmp_path / "bad")
        except WeightsError as error:
            assert "\n" not in str(error)
            outcomes["refused"] += 1
        else:
            entries, _ = read_header(tmp_path / "bad")
            for name, tensor in loaded.items():
                stored = bytes(bad[entries[name].start:entries[name].stop])
                assert tensor.reshape(-1).view(torch.uint8).numpy().tobytes() == stored
            outcomes["loaded"] += 1
    assert outcomes["loaded"] > 20 and outcomes["refused"] > 300
