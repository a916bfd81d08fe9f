"""Files of torch.save: every honest one is read, none is believed that is not what it seems."""

import errno
import os
import random
import shutil
import struct
import zipfile

import numpy as np
import pytest
import torch

from bert_kit import BertKitError, TrainingError
from bert_kit.digests import DIGESTS, check_digests, file_digest, write_digests
from bert_kit.torch_files import read_saved, tensors_in, write_saved

VALUE = {"a": torch.arange(12.0).reshape(3, 4), "b": [torch.tensor(2), {"c": (1, "x", None)}],
         "none": torch.zeros(0, 4), "half": torch.ones(5, dtype=torch.bfloat16)}


@pytest.fixture
def path(tmp_path):
    write_saved(tmp_path / "a.pt", VALUE)
    return tmp_path / "a.pt"


def assert_refused(path, match):
    with pytest.raises(TrainingError, match=match) as caught:
        read_saved(path, TrainingError)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("modern", [True, False])
def test_what_torch_wrote_is_read(tmp_path, modern):
    torch.save(VALUE, tmp_path / "a.pt", _use_new_zipfile_serialization=modern)
    found = read_saved(tmp_path / "a.pt")
    assert found["b"][1] == VALUE["b"][1] and found.keys() == VALUE.keys()
    for one, other in zip(tensors_in(found), tensors_in(VALUE), strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)


def test_a_file_without_checksums_is_read(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(VALUE, tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(read_saved(tmp_path / "a.pt")["a"], VALUE["a"])


def test_a_file_of_more_than_4_gib_ends_as_the_format_says(tmp_path):
    """As such a file is too long for a test: the same end records, of a short file."""
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"x" * 100)
    content = (tmp_path / "a.pt").read_bytes()
    *_, count, length, start, _ = struct.unpack("<4s4H2LH", content[-22:])
    records = (struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, start)
               + struct.pack("<4sLQL", b"PK\6\7", 0, len(content) - 22, 1)
               + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *[2**16 - 1] * 2, *[2**32 - 1] * 2, 0))
    (tmp_path / "a.pt").write_bytes(content[:-22] + records)
    assert zipfile.ZipFile(tmp_path / "a.pt").testzip() is None
    assert_refused(tmp_path / "a.pt", "not a readable file of plain tensors")  # torch's say, not
    (tmp_path / "a.pt").write_bytes(content[:-22] + records + b"x")  # that of the archive's end
    assert_refused(tmp_path / "a.pt", "does not end as one")


@pytest.mark.parametrize("before, behind", [(b"", b"\0"), (b"", b"\0" * 66_000), (b"x" * 9, b"")])
def test_an_archive_is_the_whole_file(path, before, behind):
    path.write_bytes(before + path.read_bytes() + behind)
    assert_refused(path, "does not end as one|not a readable file")


def test_members_that_unpack_to_more_than_the_file(path):
    packed = path.with_name("b.pt")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(
            packed, "w", zipfile.ZIP_DEFLATED) as other:
        for member in archive.infolist():
            other.writestr(member.filename, archive.read(member))
        other.writestr("a/data/99", bytes(10**6))
    assert_refused(packed, "unpack to")


def test_two_members_of_one_name(path):
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(archive.namelist()[0], b"another")
    assert_refused(path, "two of a name|unpack to")


@pytest.mark.parametrize("tensor", [
    torch.zeros(1).expand(10**9), torch.zeros(2).as_strided((4, 2), (0, 1)),
    torch.eye(2).to_sparse(), torch.empty(3, device="meta")],
    ids=["expanded", "strided", "sparse", "meta"])
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_not_what_they_store(tmp_path, tensor):
    torch.save({"deep": [(tensor,)]}, tmp_path / "a.pt")
    assert_refused(tmp_path / "a.pt", "dense tensor|stores fewer|plain tensors")


def test_every_flipped_bit_of_the_numbers_is_found(path):
    good, rng = path.read_bytes(), random.Random(0)
    start = good.index(VALUE["a"].numpy().tobytes())
    for place in rng.sample(range(8 * 48), 60):
        bad = np.frombuffer(good, np.uint8).copy()
        bad[start + place // 8] ^= 1 << place % 8
        path.write_bytes(bad.tobytes())
        assert_refused(path, "is not what its checksum says")


def test_places_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "none", "."):
        assert_refused(tmp_path / name, "not a regular file|cannot be read")


class Full:
    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)


@pytest.mark.parametrize("room", [0, 70, 500, 900])
def test_a_full_disk_is_an_os_error(tmp_path, monkeypatch, room):
    from bert_kit import torch_files
    writer = torch_files._Writer.__init__
    monkeypatch.setattr(torch_files._Writer, "__init__",
                        lambda self, file: writer(self, Full(file, room)))
    with pytest.raises(OSError, match="No space left"):
        write_saved(tmp_path / "a.pt", VALUE)


# ---- digests

def test_digests_tell_what_has_changed(path):
    folder = path.parent
    (folder / "b.json").write_text("{}")
    (folder / "inner").mkdir()
    check_digests(folder)  # there are none yet: it is believed
    write_digests(folder)
    check_digests(folder)
    (folder / "later.txt").write_text("added by hand")
    check_digests(folder)
    assert file_digest(folder / "b.json") == (  # sha256sum of "{}"
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
    for damage, match in ((lambda: (folder / "b.json").write_text("{ }"), "b.json: damaged"),
                          (lambda: (folder / "b.json").unlink(), "b.json: no such file"),
                          (lambda: (folder / DIGESTS).write_text("{}"), "empty"),
                          (lambda: (folder / DIGESTS).write_text('{"../x": "a"}'), "damaged"),
                          (lambda: (folder / DIGESTS).write_text('{"a.pt": 1}'), "damaged")):
        shutil.copy(folder / DIGESTS, folder / "kept")
        damage()
        with pytest.raises(BertKitError, match=match):
            check_digests(folder)
        shutil.move(folder / "kept", folder / DIGESTS)
        (folder / "b.json").write_text("{}")
