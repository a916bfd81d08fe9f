"""Other families and tokenizers in the jobs: trained, used, and opened by the library again."""

import json
import warnings

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer as Backend
from tiny_families import TEXTS, byte_bpe, library, unigram, write_model, write_tokenizer
from tiny_jobs import here, table
from tiny_tasks import training_of

from bert_kit import Predictor, SentenceEncoder, get_tokenizer, train_tokenizer
from bert_kit.cli import main
from bert_kit.jobs.commands.explore import explore
from bert_kit.jobs.commands.export import served_tokenizer
from bert_kit.jobs.tasks.tags import Tagger

FAMILIES = ("roberta", "xlm-roberta", "distilbert", "bert")  # bert: as multilingual MiniLM


def quickly(*families):
    """All families, of which only these are tried in a quick run."""
    return pytest.mark.parametrize("family", [
        pytest.param(family, marks=() if family in families else pytest.mark.slow)
        for family in FAMILIES])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """An encoder of each family, with the tokenizer that such a model has."""
    root = tmp_path_factory.mktemp("families")
    for family, backend in zip(FAMILIES, (byte_bpe(), unigram(), None, unigram()), strict=True):
        size = 130 if backend is None else backend.get_vocab_size() + 3
        write_model(root / family, family, "Model", vocab_size=size, max_position_embeddings=48)
        if backend is not None:
            write_tokenizer(root / family, backend)
            continue
        train_tokenizer(table()[0], 120, 1).save(root / family)
        path = root / family / "tokenizer_config.json"
        path.write_text(path.read_text().replace("BertTokenizer", "DistilBertTokenizer"))
    return root


def train(task, folder, model, **more):
    """Train for two steps through the command line; return the folder of the run."""
    options = {**training_of(task, folder, model), "max_steps": 2, "batch_size": 4,
               "output_dir": folder / "run", **more}
    job = ["pretrain"] if task == "masked" else ["train", "--task", task]
    assert main([*job, *(part for name, value in options.items() for part in (
        f"--{name}", str(value).lower() if isinstance(value, bool) else str(value)))]) == 0
    return folder / "run"


def opened(kind, folder):
    """The library's tokenizer and model of a folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (library().AutoTokenizer.from_pretrained(folder),
                getattr(library(), f"AutoModelFor{kind}").from_pretrained(folder).eval())


@quickly("roberta")
def test_a_trained_classifier_answers_as_the_library_does(family, folders, tmp_path, capsys):
    run = train("classification", tmp_path, folders / family)
    tokenizer, model = opened("SequenceClassification", run)
    texts = [text for text in TEXTS if text.strip()] + table()[0][:9]
    with torch.no_grad():
        expected = model(**tokenizer(texts, truncation=True, max_length=24, padding=True,
                                     return_tensors="pt")).logits
    found = Predictor.load(run, device="cpu").logits(texts)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)
    assert json.loads((run / "config.json").read_text())["model_type"] == family
    assert here("tag", "--model", run, "--text", "x", folder=tmp_path).stderr.strip().endswith(
        "is a text classifier; use predict")
    assert f"family           {family}\n" in here("info", run, folder=tmp_path).stdout


@quickly("xlm-roberta")
def test_a_trained_tagger_tags_as_the_library_does(family, folders, tmp_path, capsys):
    run = train("tagging", tmp_path, folders / family)
    tagger, words = Tagger.load(run, device="cpu"), ["the", "old", "Häuser", "fire", "\u2603"]
    tokenizer, model = opened("TokenClassification", run)
    rows = [tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in words]
    ids = [tokenizer.cls_token_id, *(piece for row in rows for piece in row),
           tokenizer.sep_token_id]
    firsts = np.cumsum([1, *map(len, rows[:-1])])
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0, firsts]
    found, = tagger.answers(tagger.dataset([words]))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    text, = tagger.tag(["The (old) fire, Häuser"])
    assert [text.text[start:end] for start, end in text.spans] == [
        "The", "(", "old", ")", "fire", ",", "Häuser"]


@quickly("roberta")
def test_pre_training_goes_on(family, folders, tmp_path, capsys):
    run = train("masked", tmp_path, folders / family, nsp=True, whole_word=True)
    tokenizer, model = opened("MaskedLM", run)
    text = "the old [MASK] of fire"
    row = tokenizer(text.replace("[MASK]", tokenizer.mask_token), return_tensors="pt")
    row.pop("token_type_ids", None)
    place = int((row["input_ids"][0] == tokenizer.mask_token_id).nonzero())
    with torch.no_grad():
        best = model(**row).logits[0, place, :len(tokenizer)].argmax().item()
    explore(run, text, output_file=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    start = page.index('{"model"')
    data = json.loads(page[start:page.index("</script>", start)])
    assert data["masked"][0]["guesses"][0][0] == tokenizer.convert_ids_to_tokens(best)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", ["tagging", "answering", "multi_label", "regression",
                                  "similarity", "masked"])
def test_every_task_on_every_family(task, family, folders, tmp_path, capsys):
    assert (train(task, tmp_path, folders / family) / "results.json").is_file()


@quickly("bert")
def test_sentence_folders_are_read_and_written_as_the_library_has_them(family, folders, tmp_path):
    """paraphrase-multilingual-MiniLM and multilingual-e5 are of the first kind."""
    library()
    sentences = pytest.importorskip("sentence_transformers")
    from sentence_transformers import models
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = [models.Transformer(str(folders / family), max_seq_length=16)]
        parts += [models.Pooling(parts[0].get_embedding_dimension(), "mean"),
                  models.Normalize()]
        reference = sentences.SentenceTransformer(modules=parts, device="cpu")
        reference.save(str(tmp_path / "theirs"))
        expected = reference.encode(TEXTS)
        encoder = SentenceEncoder(tmp_path / "theirs", device="cpu")
        np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)
        encoder.save(tmp_path / "ours")
        again = sentences.SentenceTransformer(str(tmp_path / "ours"), device="cpu")
        np.testing.assert_allclose(again.encode(TEXTS), expected, atol=1e-5)
    about = tmp_path / "ours" / "sentence_bert_config.json"
    about.write_text(about.read_text().replace("false", "true"))  # do_lower_case
    lower = SentenceEncoder(tmp_path / "ours", device="cpu")
    np.testing.assert_allclose(lower.encode(TEXTS), encoder.encode(
        [text.lower() for text in TEXTS]), atol=1e-5)
    lower.save(tmp_path / "lower")
    assert SentenceEncoder(tmp_path / "lower", device="cpu").fingerprint() == lower.fingerprint()


def test_vectors_do_not_depend_on_what_config_json_says_of_padding(folders, tmp_path):
    """multilingual MiniLM has pad_token_id 0 there, and 1 in its tokenizer."""
    config = json.loads((folders / "bert" / "config.json").read_text())
    vectors = []
    for number in (0, 1):
        (folders / "bert" / "config.json").write_text(json.dumps(config | {
            "pad_token_id": number}))
        encoder = SentenceEncoder(folders / "bert", pooling="mean", device="cpu")
        vectors.append(encoder.encode(TEXTS))
        assert encoder.tokenizer.pad_id == 1 == get_tokenizer(folders / "bert").pad_id
    assert np.array_equal(*vectors)


@pytest.mark.parametrize("backend", [byte_bpe, unigram])
def test_an_exported_tokenizer_makes_the_rows_by_itself(backend, tmp_path):
    tokenizer = get_tokenizer(write_tokenizer(tmp_path / "theirs", backend()))
    served_tokenizer(tokenizer, 9).save(tmp_path / "served")
    alone = Backend.from_file(str(tmp_path / "served" / "tokenizer.json"))
    alone.no_padding()
    for text, pair in zip(TEXTS, TEXTS[3:] + TEXTS[:3], strict=True):
        assert alone.encode(text).ids == tokenizer.encode(text, max_length=9).ids
        row = alone.encode(text, pair)
        assert row.ids == tokenizer.encode(text, pair, max_length=9).ids
        assert row.type_ids == [0] * len(row.ids)
