import contextlib
import errno
import json
import os
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest

from bert_kit import BertKitError, ConfigError, TrainingError
from bert_kit.files import (atomic_file, atomic_folder, check_same, held, numbered_folder,
                            parse_json, read_json, remove_leftovers, working_folder, write_json)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"x": 1})
    with pytest.raises(ValueError):
        write_json(target, {"x": float("nan")})
    with pytest.raises(RuntimeError):
        with atomic_file(target) as path:
            path.write_text("half")
            raise RuntimeError
    assert read_json(target) == {"x": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "run"
    with pytest.raises(RuntimeError):
        with atomic_folder(target) as folder:
            (folder / "a").write_text("1")
            raise RuntimeError
    assert os.listdir(tmp_path) == []
    for content in ("1", "2"):  # the second time it replaces the first
        with atomic_folder(target) as folder:
            (folder / content).write_text(content)
            assert not (target / content).exists()
    assert os.listdir(tmp_path) == ["run"] and os.listdir(target) == ["2"]


def test_a_folder_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    target = tmp_path / "run"
    with atomic_folder(target) as folder:
        (folder / "old").write_text("1")
    replace = os.replace

    def failing(source, goal):
        if str(source).endswith(".bert_kit_new"):
            raise OSError("no")
        replace(source, goal)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(BertKitError, match=r"run: cannot be written \(no\)"):
        with atomic_folder(target) as folder:
            (folder / "new").write_text("2")
    assert os.listdir(tmp_path) == ["run"] and os.listdir(target) == ["old"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("moments", [{n} for n in range(6)] + [
    {n, m} for m in range(6) for n in range(m)], ids=str)
def test_ctrl_c_never_deletes_the_only_copy(tmp_path, monkeypatch, moments, after):
    """Once or twice, before or after any of the steps that replace a folder."""
    target, calls = tmp_path / "run", iter(range(99))
    with atomic_folder(target) as folder:
        (folder / "file").write_text("old")

    def interrupted(function):
        def call(*args, **more):
            now = next(calls) in moments
            if not now or after:
                function(*args, **more)
            if now:
                raise KeyboardInterrupt
        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted(os.replace))
        patch.setattr(shutil, "rmtree", interrupted(shutil.rmtree))
        with contextlib.suppress(KeyboardInterrupt):
            with atomic_folder(target) as folder:
                (folder / "file").write_text("new")
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["run"] and (target / "file").read_text() in ("old", "new")


@contextlib.contextmanager
def files_of_at_most(size):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path, monkeypatch):
    target, run = tmp_path / "a.json", tmp_path / "run"
    write_json(target, {"x": 1})
    with atomic_folder(run) as folder:
        (folder / "old").write_text("1")
    with files_of_at_most(1_000):
        with pytest.raises(BertKitError, match=r"a\.json: cannot be written \(.*large\)"):
            write_json(target, {"x": "y" * 5_000})
        with pytest.raises(BertKitError, match=r"a\.json: cannot be written \(.*written\)"):
            with atomic_file(target) as path, open(path, "wb") as file:
                np.save(file, np.zeros(5_000))
        with pytest.raises(BertKitError, match=r"run: cannot be written \(.*large\)"):
            with atomic_folder(run) as folder:
                (folder / "new").write_text("y" * 5_000)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BertKitError, match=r"a\.json: cannot be written \(No space left"):
        write_json(target, {"x": 2})
    with pytest.raises(BertKitError, match=r"run: cannot be written \(No space left"):
        with atomic_folder(run) as folder:
            (folder / "new").write_text("2")
    assert sorted(os.listdir(tmp_path)) == ["a.json", "run"] and os.listdir(run) == ["old"]
    assert read_json(target) == {"x": 1}


def test_permissions_follow_the_umask(tmp_path):
    umask = os.umask(0o027)
    try:
        write_json(tmp_path / "a", {})
        with atomic_folder(tmp_path / "b"):
            pass
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_the_umask_is_never_set_for_other_threads_to_see(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", None)
    write_json(tmp_path / "a", {})
    with atomic_folder(tmp_path / "b"):
        pass
    assert {*os.listdir(tmp_path)} == {"a", "b"}


def test_symbolic_links_are_not_written_through(tmp_path):
    (tmp_path / "outside").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(BertKitError, match="symbolic link"):
        write_json(tmp_path / "link", {})
    with pytest.raises(BertKitError, match="symbolic link"):
        with atomic_folder(tmp_path / "link"):
            pass
    assert (tmp_path / "outside").read_text() == "precious"


def test_what_is_still_written_is_no_leftover(tmp_path):
    with (atomic_file(tmp_path / "a") as file, atomic_folder(tmp_path / "b") as folder):
        file.write_text("1")
        (folder / "c").write_text("2")
        remove_leftovers(tmp_path)  # as another process does when it begins
    remove_leftovers(tmp_path)
    assert {*os.listdir(tmp_path)} == {"a", "b"} and (tmp_path / "b" / "c").read_text() == "2"


def test_leftovers_of_a_killed_process_go_and_nothing_else(tmp_path):
    (tmp_path / ".run.abcd1234.bert_kit_new").mkdir()
    (tmp_path / ".a.json.abcd1234.bert_kit_new").write_text("half")
    (tmp_path / ".notes.12345678.tmp").write_text("the user's own")
    aside = tmp_path / ".old_run.abcd1234.bert_kit_old"
    (aside / "old").mkdir(parents=True)
    (aside / "old" / "model").write_text("weights")
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".notes.12345678.tmp", "old_run"]
    assert (tmp_path / "old_run" / "model").read_text() == "weights"


@pytest.mark.parametrize("text, part", [
    ('{"a": 1, "a": 2}', "twice"),
    ('{"a": NaN}', "NaN"),
    ('{"a": Infinity}', "Infinity"),
    ('{"a": ', "not valid JSON"),
    ("[" * 100_000, "deep"),
    ('{"a": ' * 101 + "1" + "}" * 101, "deep"),
    ('{"a": -1e999}', "-1e999 is not"),
    ('{"a": ' + "9" * 5_000 + "}", "not valid JSON"),
])
def test_json_is_read_strictly(tmp_path, text, part):
    with pytest.raises(BertKitError, match=part):
        parse_json(text, "x.json")
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(BertKitError, match="x.json"):
        read_json(tmp_path / "x.json")


def test_reading_names_what_is_wrong_with_the_file(tmp_path):
    with pytest.raises(BertKitError, match="no such file"):
        read_json(tmp_path / "none.json")
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(BertKitError, match="UTF-8"):
        read_json(tmp_path / "latin.json")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(BertKitError, match="list, expected a dict"):
        read_json(tmp_path / "list.json")
    with pytest.raises(BertKitError, match="cannot be read"):
        read_json(tmp_path)
    with open(tmp_path / "large.json", "wb") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(BertKitError, match="large.json: 268,435,457 bytes; at most 268,435,456"):
        read_json(tmp_path / "large.json")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "endless.json").symlink_to("/dev/zero")
    for name in ("pipe.json", "endless.json"):
        with pytest.raises(BertKitError, match="not a regular file"):
            read_json(tmp_path / name)


def test_what_may_be_deep_and_what_is_half_a_character(tmp_path):
    deep = json.loads('{"a": ' * 100 + "1" + "}" * 100)
    write_json(tmp_path / "x.json", {"deep": deep["a"], "half \ud83d": "\udc80 \n"})
    assert read_json(tmp_path / "x.json") == {"deep": deep["a"], "half \ud83d": "\udc80 \n"}


def test_a_working_folder_stays_only_if_something_came_to_it(tmp_path):
    with working_folder(tmp_path / "a" / "b"):
        pass
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "was_there").mkdir()
    with working_folder(tmp_path / "was_there"), working_folder(tmp_path / "a" / "c"):
        (tmp_path / "a" / "c" / "x").touch()
    assert (tmp_path / "was_there").is_dir() and (tmp_path / "a" / "c" / "x").is_file()
    with pytest.raises(ConfigError, match="is a file"), working_folder(tmp_path / "a" / "c" / "x"):
        pass


def test_a_folder_that_another_process_holds(tmp_path):
    pytest.importorskip("fcntl")
    code = ("import sys, time; from bert_kit.files import held\n"
            "with held(sys.argv[1]): print('in', flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], text=True,
                          stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == "in\n"
        with pytest.raises(BertKitError, match="another process"), held(tmp_path):
            pass
        other.kill()
    with held(tmp_path):  # a process that died holds nothing
        assert list(tmp_path.iterdir()) == []


def test_places_that_may_not_be_entered_are_one_line(tmp_path, monkeypatch):
    """Whatever the system says of a place, at whichever call."""
    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied", "x")
    for name in ("stat", "mkdir"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, refuse)
            for write in (lambda: write_json(tmp_path / "a" / "x.json", 1),
                          lambda: working_folder(tmp_path / "b").__enter__()):
                with pytest.raises(BertKitError, match="cannot be written .Permission denied"):
                    write()
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(BertKitError, match="Permission denied"), held(tmp_path):
        pass


def test_a_disk_without_locks_is_used_without(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")
    monkeypatch.setattr(fcntl, "flock", refuse)
    with held(tmp_path), working_folder(tmp_path / "a"):
        (tmp_path / "a" / "x").touch()
    assert (tmp_path / "a" / "x").exists()


def test_numbered_folders(tmp_path):
    assert numbered_folder(tmp_path, "run") == numbered_folder(tmp_path, "run", latest=True)
    for name in ("run", "run-2", "run-3"):
        assert numbered_folder(tmp_path, "run") == tmp_path / name
        (tmp_path / name).mkdir()
        assert numbered_folder(tmp_path, "run", latest=True) == tmp_path / name


def test_a_run_that_goes_on_is_the_same_run():
    before = {"seed": 1, "rates": [1, 2], "shown": True}
    check_same("runs/a", before, {**before, "shown": False, "new": 5}, free=("shown",))
    with pytest.raises(TrainingError, match="runs/a: rates was .1, 2. and is now .1.; a resumed "
                       "run needs the same settings"):
        check_same("runs/a", before, {"rates": [1]}, error=TrainingError)
