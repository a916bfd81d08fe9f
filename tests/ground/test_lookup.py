"""Finding a model folder: the order of the places, one clear line, and no network unless asked."""

import os
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from bert_kit.errors import TokenizerError, WeightsError
from bert_kit.lookup import find_folder

hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")
WANTED = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


def make_folder(path, *files):
    path.mkdir(parents=True)
    for file in files:
        (path / file).write_bytes(b"x")
    return path


def make_cache(cache, name, *files):
    """Lay out a repository as huggingface_hub does: refs, blobs and links to them."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = make_folder(repository / "snapshots" / "c0ffee")
    make_folder(repository / "refs")
    (repository / "refs" / "main").write_text("c0ffee")
    blobs = make_folder(repository / "blobs", *files)
    for file in files:
        (snapshot / file).symlink_to(os.path.relpath(blobs / file, snapshot))
    return snapshot


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every test has an empty working folder, an empty cache and no network."""
    monkeypatch.chdir(make_folder(tmp_path / "here"))
    monkeypatch.delenv("LLM_MODELS_PATH", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(hub, "snapshot_download", refuse)


def make_package(place, name, *files):
    """Lay out an installed package as pip does: its files, and a list of them."""
    stem = name.replace("-", "_")
    listed = [f"{stem}/__init__.py", *(f"{stem}/{file}" for file in files)]
    for file in listed:
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (place / file).write_text("raise AssertionError('it was imported')\n")
    metadata = make_folder(place / f"{stem}-1.0.dist-info")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "RECORD").write_text("".join(f"{file},,\n" for file in listed))
    return place / stem


def test_an_installed_package_carries_weights_and_is_not_imported(tmp_path, monkeypatch):
    site = tmp_path / "site"
    package = make_package(site, "gt-Tiny-BERT-v2", "model/pool/config.json", "model/config.json",
                           "model/model.safetensors", "model/vocab.txt")
    make_package(site, "other-tiny-bert-v2", "config.json")  # has no weights
    monkeypatch.syspath_prepend(str(site))
    for name in ("tiny-bert-v2", "Tiny_BERT.v2", "gt-tiny-bert-v2", "gt/tiny-bert-v2",
                 "sentence-transformers/tiny-bert-v2"):
        assert find_folder(name, WANTED) == package / "model"
    assert find_folder("tiny-bert-v2", ("vocab.txt",)) == package / "model"
    for name in ("v2", "bert-v3", "owner/tiny-bert-v2", "a/b/tiny-bert-v2", "/tiny-bert-v2"):
        with pytest.raises(WeightsError, match=r"package; .*'\.\[weights\]'.* --download"):
            find_folder(name, WANTED)
    cached = make_cache(tmp_path / "cache", "tiny-bert-v2", "model.safetensors")
    assert find_folder("tiny-bert-v2", WANTED) == cached  # it comes first


def test_two_packages_that_carry_one_model_are_told(tmp_path, monkeypatch):
    site = tmp_path / "site"
    for name in ("a-tiny-bert", "b-tiny-bert"):
        make_package(site, name, "config.json", "model.safetensors")
    monkeypatch.syspath_prepend(str(site))
    with pytest.raises(WeightsError, match="packages a-tiny-bert and b-tiny-bert carry a model"):
        find_folder("tiny-bert", WANTED)
    assert find_folder("b-tiny-bert", WANTED) == site / "b_tiny_bert"
    exact = make_package(site, "tiny-bert", "config.json", "model.safetensors")
    assert find_folder("tiny-bert", WANTED) == exact


def test_the_extra_weights_is_found_by_the_name_of_its_model(minilm):
    assert find_folder("all-MiniLM-L6-v2", WANTED) == minilm


def test_the_places_are_tried_in_order(tmp_path, monkeypatch):
    cached = make_cache(tmp_path / "cache", "some/bert", "model.safetensors")
    assert find_folder("some/bert", WANTED) == cached
    listed = make_folder(tmp_path / "models" / "some" / "bert", "pytorch_model.bin")
    monkeypatch.setenv("LLM_MODELS_PATH", str(tmp_path / "models"))
    assert find_folder("some/bert", WANTED) == listed
    make_folder(Path("some/bert"), "model.safetensors")
    assert find_folder("some/bert", WANTED) == Path("some/bert")
    assert find_folder(tmp_path / "models" / "some" / "bert", WANTED) == listed


def test_any_wanted_file_will_do_and_it_must_be_in_the_cached_snapshot(tmp_path):
    cached = make_cache(tmp_path / "cache", "bert", "pytorch_model.bin")
    assert find_folder("bert", WANTED) == cached
    with pytest.raises(TokenizerError, match="not in the local Hugging Face cache"):
        find_folder("bert", ("vocab.txt",), error=TokenizerError)


@pytest.mark.parametrize("variable", ["HF_HOME", "HF_HUB_CACHE"])
def test_the_environment_moves_the_cache(tmp_path, variable):
    home = tmp_path / "home"
    cached = make_cache(home / "hub" if variable == "HF_HOME" else home, "bert", "vocab.txt")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    code = "from bert_kit.lookup import find_folder; print(find_folder('bert', ('vocab.txt',)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                            env={**environment, variable: str(home)}, check=True)
    assert result.stdout.strip() == str(cached)


@pytest.mark.parametrize("name", ["absent", "org/absent", "../absent", "/no/such/folder", "a/b/c",
                                  "x" * 5_000, "nul\0", "~nobody-here/x"])
def test_absent_names_give_one_line(name):
    with pytest.raises(WeightsError, match="not a folder") as caught:
        find_folder(name, WANTED)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_a_model_folder(tmp_path):
    with pytest.raises(WeightsError, match="empty"):
        find_folder(" ", WANTED)
    folder = make_folder(tmp_path / "f", "notes.txt")
    with pytest.raises(WeightsError, match="holds none of model.safetensors, model.safetensors.i"):
        find_folder(folder, WANTED)
    with pytest.raises(WeightsError, match="is a file"):
        find_folder(folder / "notes.txt", WANTED)


def make_server(tmp_path, monkeypatch, *files):
    """Replace the hub by a repository that holds `files`; return the list of its requests."""
    requests = []

    def snapshot_download(name, allow_patterns):
        fetched = [file for file in files if any(fnmatch(file, p) for p in allow_patterns)]
        requests.append(fetched)
        return str(make_folder(tmp_path / f"fetched-{len(requests)}", *fetched))

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    return requests


def test_download_takes_the_best_file_and_nothing_large_beside_it(tmp_path, monkeypatch):
    requests = make_server(tmp_path, monkeypatch, "config.json", "vocab.txt", "model.safetensors",
                           "pytorch_model.bin", "tf_model.h5", "model-1.bin")
    assert find_folder("bert", WANTED, download=True) == tmp_path / "fetched-1"
    assert requests == [["config.json", "vocab.txt", "model.safetensors"]]
    assert find_folder("bert", ("tokenizer.json", "vocab.txt"), download=True).is_dir()
    assert requests[1:] == [["config.json", "vocab.txt"]] * 2


def test_download_takes_the_shards_with_their_index(tmp_path, monkeypatch):
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    requests = make_server(tmp_path, monkeypatch, "model.safetensors.index.json", *shards,
                           "pytorch_model.bin")
    folder = find_folder("bert", WANTED, download=True)
    assert requests[-1] == ["model.safetensors.index.json", *shards]
    assert all((folder / shard).is_file() for shard in shards)


def test_download_falls_back_to_the_last_wanted_file_or_says_what_is_absent(tmp_path, monkeypatch):
    make_server(tmp_path, monkeypatch, "config.json", "pytorch_model.bin")
    assert (find_folder("bert", WANTED, download=True) / "pytorch_model.bin").is_file()
    with pytest.raises(WeightsError, match="the hub's folder holds none of spiece.model"):
        find_folder("bert", ("spiece.model",), download=True)


def test_a_local_folder_is_never_downloaded_again(tmp_path):
    cached = make_cache(tmp_path / "cache", "bert", "model.safetensors")
    assert find_folder("bert", WANTED, download=True) == cached


@pytest.mark.parametrize("problem", [
    OSError("no route\nto host"), ValueError("bad id"), KeyError(), FileNotFoundError("offline")])
def test_a_failed_download_gives_one_line(monkeypatch, problem):
    def fail(name, allow_patterns):
        raise problem

    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(WeightsError, match="bert: cannot be downloaded") as caught:
        find_folder("bert", WANTED, download=True)
    assert "\n" not in str(caught.value)
