"""Sentence vectors: the same as the library's, in files, searched, scored and trained."""

import csv
import importlib.util
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_jobs import command, table, tiny_bert
from tiny_tasks import write_rated

from bert_kit import (BERTForMaskedLM, BertKitError, SentenceEncoder, Tokenizer,
                      get_tokenizer, load_pretrained, train_similarity)
from bert_kit.cli import main
from bert_kit.data import (RankingDataset, SimilarityDataset, make_loader, pad_batch, split_pairs,
                           stream_texts)
from bert_kit.data.samples.corpus import Corpus, Document
from bert_kit.evaluation import (Searched, pearson_correlation, ranking_metrics,
                                 spearman_correlation)
from bert_kit.model import encoder_without_pooler
from bert_kit.jobs.commands.embed import embed_file, evaluate_similarity
from bert_kit.jobs.commands.search import nearest, search
from bert_kit.jobs.run.job import TrainingJob
from bert_kit.jobs.tasks.pairs import ranking_loss
from bert_kit.jobs.tasks.similarity import cosine_loss
from bert_kit.jobs.tasks.table import task_named
from bert_kit.training import in_batch_losses
from bert_kit.weights import (SentenceLayout, read_safetensors, read_sentence_folder,
                              save_sentence_folder, write_safetensors)

LAYOUT = SentenceLayout(("mean",), normalize=True, max_length=12)
TEXTS = [*table()[0][:40], "", "Red SUN!", "the " * 60]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def folder(bert, tmp_path):
    """A sentence encoder with random weights; no pooler."""
    return write(bert, tmp_path / "encoder", LAYOUT)


def write(bert, folder, layout):
    model = load_pretrained(encoder_without_pooler, bert, report=lambda line: None)
    save_sentence_folder(model, folder, get_tokenizer(bert), layout)
    return folder


def change(path, **values):
    """Set keys of a JSON file; None takes one away."""
    content = json.loads(path.read_text()) if path.exists() else {}
    content = {key: value for key, value in {**content, **values}.items() if value is not None}
    path.write_text(json.dumps(content))


# ---- vectors

def by_hand(folder, text, pooling, normalize, max_length):
    """The vector of one text, alone and without any batch."""
    model, tokenizer = load_pretrained(BERTForMaskedLM, folder), get_tokenizer(folder)
    ids = torch.tensor([tokenizer.encode(text, max_length=max_length).ids])
    with torch.inference_mode():
        hidden = model.bert(ids).last_hidden_state[0]
    pools = {"cls": hidden[0], "mean": hidden.mean(0), "max": hidden.max(0).values}
    vector = torch.cat([pools[name] for name in pooling])
    return (vector / vector.norm() if normalize else vector).numpy()


@pytest.mark.parametrize("pooling, normalize, max_length", [
    (("mean",), True, 12), (("cls",), False, None), (("max", "cls"), True, 7),
    (("mean", "max"), False, 40)])
def test_vectors_are_those_of_each_text_alone(bert, tmp_path, pooling, normalize, max_length):
    folder = write(bert, tmp_path / "e", SentenceLayout(pooling, normalize, max_length))
    encoder = SentenceEncoder(folder, device="cpu")
    assert encoder.layout[:2] == (pooling, normalize)
    assert encoder.max_length == (max_length or 40) and encoder.dimension == 24 * len(pooling)
    vectors = encoder.encode(TEXTS)
    assert vectors.dtype == np.float32
    wanted = [by_hand(bert, text, pooling, normalize, encoder.max_length) for text in TEXTS]
    np.testing.assert_allclose(vectors, wanted, atol=2e-6)
    assert encoder.encode([]).shape == (0, encoder.dimension)
    with pytest.raises(BertKitError, match="texts is one string"):
        encoder.encode("one")


def test_bfloat16_and_the_mode_of_the_model(folder):
    encoder = SentenceEncoder(folder, precision="bfloat16", device="cpu")
    encoder.model.train()
    vectors, exact = encoder.encode(TEXTS), SentenceEncoder(folder, device="cpu").encode(TEXTS)
    assert encoder.model.training
    assert 0 < np.abs(vectors - exact).max() < 0.05
    assert (1 - (vectors * exact).sum(1)).max() < 0.005
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    with pytest.raises(BertKitError, match="precision is 'int8'"):
        SentenceEncoder(folder, precision="int8")


def test_lower_casing_is_the_folders_business(bert, tmp_path):
    """A cased tokenizer in a folder that says do_lower_case; accents stay."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "Red", "caf\u00e9", "cafe"]
    cased = Tokenizer(pieces, lowercase=False)
    model = load_pretrained(BERTForMaskedLM, bert)
    for lowercase, expected in ((True, [5, 5, 7]), (False, [6, 5, 1])):
        folder = tmp_path / str(lowercase)
        save_sentence_folder(model, folder, cased, LAYOUT._replace(lowercase=lowercase))
        encoder = SentenceEncoder(folder, device="cpu")
        assert encoder.tokenizer.encode("Red red CAF\u00c9").ids[1:-1] == expected
        encoder.save(tmp_path / "again")
        assert SentenceEncoder(tmp_path / "again").tokenizer.encode("Red").ids[1] == expected[0]


def test_a_plain_bert_needs_to_be_told_the_pooling(bert, folder):
    with pytest.raises(BertKitError, match="holds no modules.json"):
        SentenceEncoder(bert)
    with pytest.raises(BertKitError, match="expected one of cls, mean, max"):
        SentenceEncoder(bert, pooling="pooler")
    with pytest.raises(BertKitError, match="leave pooling out"):
        SentenceEncoder(folder, pooling="mean")
    vector, = SentenceEncoder(bert, pooling="cls", device="cpu").encode(["the red sun"])
    np.testing.assert_allclose(vector, by_hand(bert, "the red sun", ("cls",), False, 40),
                               atol=2e-6)


# ---- folders

def test_folder_comes_back_as_it_was(bert, tmp_path):
    for layout in (LAYOUT, SentenceLayout(("cls",)),
                   SentenceLayout(("max", "mean"), True, 9, True)):
        folder = write(bert, tmp_path / "e", layout)
        assert read_sentence_folder(folder) == (folder, layout)
        encoder = SentenceEncoder(folder, device="cpu")
        encoder.save(tmp_path / "copy")
        again = SentenceEncoder(tmp_path / "copy", device="cpu")
        assert again.layout == layout._replace(max_length=layout.max_length or 40)
        assert np.array_equal(again.encode(TEXTS), encoder.encode(TEXTS))


def test_encoder_may_lie_in_a_folder_of_its_own(folder, tmp_path):
    inner = folder / "0_Transformer"
    inner.mkdir()
    for path in [path for path in folder.iterdir() if path.is_file()]:
        if path.name not in ("modules.json", "config_sentence_transformers.json"):
            shutil.move(path, inner / path.name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    assert read_sentence_folder(folder) == (inner, LAYOUT)
    assert SentenceEncoder(folder, device="cpu").encode(["red"]).shape == (1, 24)


NEW = "sentence_transformers.base.modules.transformer.Transformer"
DENSE = {"type": "sentence_transformers.models.Dense", "path": "3_Dense"}


@pytest.mark.parametrize("name, values, message", [
    ("1_Pooling/config.json", {"pooling_mode": "lasttoken"}, "the pooling is lasttoken"),
    ("1_Pooling/config.json", {"pooling_mode": ["mean", "weightedmean"]}, "mean, weightedmean"),
    ("1_Pooling/config.json", {"pooling_mode_mean_sqrt_len_tokens": True}, "mean, mean_sqrt"),
    ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False}, "the pooling is none"),
    ("sentence_bert_config.json", {"max_seq_length": 2}, "max_seq_length is 2"),
    ("sentence_bert_config.json", {"max_seq_length": "12"}, "max_seq_length is '12'"),
    ("sentence_bert_config.json", {"do_lower_case": 1}, "do_lower_case is 1"),
    ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "does only 'feature-extr"),
    ("sentence_bert_config.json", {"modality_config": {"image": {}}}, "modality_config is"),
    ("config_sentence_transformers.json", {"default_prompt_name": "query"}, "default_prompt_name"),
    ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}, "model_type is 'Spar"),
    ("config_sentence_transformers.json", {"similarity_fn_name": "maxsim"}, "similarity_fn_name"),
    ("config_sentence_transformers.json", {"truncate_dim": 8}, "truncate_dim is '8'"),
    ("config_sentence_transformers.json", {"prompts": ["query"]}, "prompts is"),
    ("config_sentence_transformers.json", {"prompts": {"query": 3}}, "prompts is"),
    ("sentence_bert_config.json", {"tokenizer_args": {"do_lower_case": True}}, "tokenizer_args is"),
    ("sentence_bert_config.json", {"config_kwargs": {"is_decoder": True}}, "config_kwargs is"),
    ("sentence_bert_config.json", {"query_length": 8}, "query_length is"),
    ("1_Pooling/config.json", {"pooling_mode_attention": True}, "mean, attention"),
    ("1_Pooling/config.json", {"include_prompt": "no"}, "include_prompt is 'no'"),
    ("2_Normalize/config.json", {"module_input_name": "token_embeddings"}, "module_input_name is"),
])
def test_what_is_not_done_is_one_line(folder, name, values, message):
    (folder / name).parent.mkdir(exist_ok=True)
    change(folder / name, **values)
    with pytest.raises(BertKitError, match=message) as caught:
        SentenceEncoder(folder)
    assert "\n" not in str(caught.value) and str(folder / name) in str(caught.value)


@pytest.mark.parametrize("edit, message", [
    (lambda modules: modules + [DENSE], "Transformer, Pooling, Normalize, Dense; expected"),
    (lambda modules: modules[:1], "the modules are Transformer; expected"),
    (lambda modules: modules[::-1], "Normalize, Pooling, Transformer"),
    (lambda modules: [], "none; expected"),
    (lambda modules: [{**modules[0], "type": "own.models.Transformer"}, *modules[1:]],
     "own.models.Transformer, Pooling"),
    (lambda modules: [3], "holds 3; expected modules with type and path"),
    (lambda modules: {"a": 1}, "holds a dict, expected a list"),
    (lambda modules: [{**modules[0], "path": "../other"}, *modules[1:]], "leads out of"),
    (lambda modules: [{**modules[0], "path": "C:\\other"}, *modules[1:]], "leads out of"),
    (lambda modules: [modules[0], {**modules[1], "path": "/etc"}, modules[2]], "leads out of"),
    (lambda modules: [modules[0], {**modules[1], "path": "2_Pooling"}, modules[2]],
     "2_Pooling.config.json: no such file"),
])
def test_modules_are_never_guessed(folder, edit, message):
    path = folder / "modules.json"
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))
    with pytest.raises(BertKitError, match=message) as caught:
        SentenceEncoder(folder)
    assert "\n" not in str(caught.value)


def test_new_names_of_the_modules_and_of_the_pooling(folder):
    path = folder / "modules.json"
    modules = json.loads(path.read_text())
    modules[0]["type"] = NEW
    path.write_text(json.dumps(modules))
    change(folder / "1_Pooling/config.json", pooling_mode=["mean", "cls"], embedding_dimension=24)
    change(folder / "sentence_bert_config.json", transformer_task="feature-extraction",
           module_output_name="token_embeddings", modality_config={
               "text": {"method": "forward", "method_output_name": "last_hidden_state"}})
    assert read_sentence_folder(folder)[1] == LAYOUT._replace(pooling=("mean", "cls"))


def test_a_damaged_encoder_is_refused(bert, folder):
    tensors = read_safetensors(folder / "model.safetensors")
    tensors = {name: tensor for name, tensor in tensors.items() if "layer.1.output" not in name}
    write_safetensors(folder / "model.safetensors", tensors)
    with pytest.raises(BertKitError, match="lacks .*encoder.layer.1.output"):
        SentenceEncoder(folder)


def test_a_name_of_the_library_for_other_encoders_is_read_too(folder):
    (folder / "sentence_bert_config.json").rename(folder / "sentence_distilbert_config.json")
    change(folder / "sentence_distilbert_config.json", max_seq_length=7, tokenizer_args={},
           model_args={"attn_implementation": "sdpa", "torch_dtype": "float16"})
    assert read_sentence_folder(folder)[1] == LAYOUT._replace(max_length=7)


ABOUT = "config_sentence_transformers.json"


def test_vectors_are_compared_as_the_folder_asks_or_not_at_all(bert, tmp_path):
    folder = write(bert, tmp_path / "e", LAYOUT._replace(normalize=False))
    lines = write_lines(tmp_path / "texts.txt", TEXTS[:9])
    for similarity in ("dot", "euclidean", "manhattan"):
        change(folder / ABOUT, similarity_fn_name=similarity)
        encoder = SentenceEncoder(folder, device="cpu")
        assert encoder.encode(["red"]).shape == (1, 24)  # vectors are not in question
        for compare in (lambda: search(encoder, ["red"], lines),
                        lambda: encoder.answers([("red", "sun")])):
            with pytest.raises(BertKitError, match=f"similarity_fn_name is '{similarity}'"):
                compare()
    same = write(bert, tmp_path / "n", LAYOUT)  # of vectors of length 1 a dot product is a cosine
    change(same / ABOUT, similarity_fn_name="dot")
    assert len(search(SentenceEncoder(same, device="cpu"), ["red"], lines)[0]) == 9


def test_prompts_by_name_and_at_hand(bert, tmp_path):
    layout = LAYOUT._replace(prompts=(("query", "seek "), ("passage", "the old "), ("none", "")))
    encoder = SentenceEncoder.load(write(bert, tmp_path / "e", layout), "cpu")
    texts = TEXTS[:5]

    def typed(prompt):
        return SentenceEncoder.encode(encoder, [prompt + text for text in texts], prompt="")
    for found, prompt in (
            (encoder.encode_query(texts), "seek "), (encoder.encode_document(texts), "the old "),
            (encoder.encode(texts), ""), (encoder.encode(texts, "passage"), "the old "),
            (encoder.encode_query(texts, "none"), ""),
            (encoder.encode_document(texts, prompt="a new "), "a new ")):
        assert np.array_equal(found, typed(prompt)), prompt
    with pytest.raises(BertKitError, match="prompt_name is 'document'; .*query, passage, none"):
        encoder.encode(texts, "document")
    with pytest.raises(BertKitError, match="'query', and there is a prompt too"):
        encoder.encode_query(texts, "query", "x")
    with pytest.raises(BertKitError, match="row 1 of texts is '3'"):
        encoder.encode_query(["a", 3])
    encoder.layout = encoder.layout.with_prompts(query="say ", passage=None, corpus="x ")
    encoder.save(tmp_path / "told")
    assert SentenceEncoder(tmp_path / "told").layout.prompts == (
        ("query", "say "), ("passage", "the old "), ("none", ""), ("corpus", "x "))
    change(tmp_path / "e" / ABOUT, prompts={"query": None, "corpus": "x "})
    layout = SentenceEncoder(tmp_path / "e", device="cpu").layout
    assert (layout.query_prompt, layout.document_prompt) == ("", "x ")


def test_prompts_of_the_command_line(bert, folder, tmp_path, capsys):
    """What is typed is what a folder could store; vectors know theirs."""
    prompts = (("query", "red "), ("document", "old "))
    stored = write(bert, tmp_path / "stored", LAYOUT._replace(prompts=prompts))
    lines, vectors = write_lines(tmp_path / "texts.txt", TEXTS[:9]), str(tmp_path / "v.npy")

    def embed(model, *arguments, code=0):
        assert main(["embed", "--model", str(model), "--device", "cpu", "--data_file", str(lines),
                     *arguments]) == code
        said = capsys.readouterr()
        return said.out if code == 0 else said.err
    wanted = embed(stored, "--query", "sun")
    assert wanted != embed(folder, "--query", "sun")
    typed = ["--prompt", "red ", "--document_prompt", "old "]
    assert wanted == embed(folder, "--query", "sun", *typed)
    embed(folder, "--output_file", vectors, "--prompt", "old ")
    encoder = SentenceEncoder(stored, device="cpu")
    assert np.array_equal(np.load(vectors), encoder.encode_document(TEXTS[:9]))
    for model, more in ((folder, ["--prompt", "red "]), (stored, [])):
        assert embed(model, "--query", "sun", "--vectors", vectors, *more) == wanted
    assert "made with 'old ' before each text, as v.npy.json says; expected 'new '" in embed(
        folder, "--query", "sun", "--vectors", vectors, "--document_prompt", "new ", code=1)
    embed(folder, "--output_file", vectors)
    assert "made with '' before each text" in embed(stored, "--query", "x", "--vectors", vectors,
                                                    code=1)
    change(tmp_path / "v.npy.json", prompt=None)  # as vectors were before
    assert "expected 'old '" in embed(stored, "--query", "x", "--vectors", vectors, code=1)
    assert embed(folder, "--query", "sun", "--vectors", vectors) == embed(folder, "--query", "sun")
    assert "nothing without a query, or pairs" in embed(
        folder, "--output_file", vectors, "--document_prompt", "x", code=2)


def test_training_keeps_prompts_and_learns_with_them(bert, tmp_path):
    layout = LAYOUT._replace(prompts=(("query", "red "), ("document", "old ")),
                             default_prompt="query", pools_prompt=False)
    start, rated = write(bert, tmp_path / "e", layout), write_rated(tmp_path / "rated.csv", 20)
    bare = write_lines(tmp_path / "bare.csv", [line.rpartition(",")[0] for line in
                                               rated.read_text().splitlines()])
    encoder = SentenceEncoder(start, device="cpu")
    for file, prompts in ((rated, ("red ", "red ")), (bare, ("red ", "old "))):
        task = task_named("similarity")
        job = TrainingJob(task, task.options(train_file=str(file), model=str(start), device="cpu",
                                             output_dir=None, precision="float32"))
        training = job.build(job.tokenize(job.read()))
        texts = training.parts.train.texts
        batch, = make_loader(training.datasets["train"], len(texts), shuffle=False)
        sides = split_pairs(batch)
        for ids, mask, text in zip(sides["input_ids"], sides["attention_mask"], [
                prompt + text for prompt, side in zip(prompts, zip(*texts)) for text in side]):
            assert ids[mask.bool()].tolist() == encoder.tokenizer.encode(text, max_length=12).ids
        found = training.trainer.loss(training.model.eval(), batch, {"labels": len(texts)})
        first, second = (encoder.encode(list(side), prompt=prompt)
                         for side, prompt in zip(zip(*texts), prompts))
        if file == rated:
            wanted = np.mean(((first * second).sum(1) - training.parts.train.labels)**2)
        else:
            numbers = torch.from_numpy(training.datasets["train"].numbers)
            wanted = in_batch_losses(*map(torch.from_numpy, (first, second)), *numbers.T).mean()
        assert found.item() == pytest.approx(float(wanted), abs=1e-5)
        training.save(tmp_path / "after")
        assert SentenceEncoder(tmp_path / "after").layout == layout


# ---- beside the library

@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("sentence_transformers").SentenceTransformer


@pytest.mark.parametrize("pooling, normalize", [
    (("mean",), True), (("cls",), False), (("max",), True), (("mean", "cls"), False)])
def test_the_library_reads_what_is_written(library, bert, tmp_path, pooling, normalize):
    folder = write(bert, tmp_path / "e", SentenceLayout(pooling, normalize, 11))
    ours = SentenceEncoder(folder, device="cpu").encode(TEXTS)
    theirs = library(str(folder), device="cpu")
    assert theirs.max_seq_length == 11
    np.testing.assert_allclose(ours, theirs.encode(TEXTS), atol=1e-5)
    theirs.save(str(tmp_path / "theirs"))
    assert np.array_equal(SentenceEncoder(tmp_path / "theirs", device="cpu").encode(TEXTS), ours)


def test_minilm_is_the_librarys(library, minilm, capsys):
    ours = SentenceEncoder(minilm, device="cpu")
    assert capsys.readouterr().err == ""  # nothing missing, nothing unused
    theirs = library(str(minilm), device="cpu")
    assert ours.max_length == theirs.max_seq_length == 256
    texts = [*table(30)[0], "", "\u00c9t\u00e9  \u4e2d\u6587\u2603", "A 2nd sentence. " * 80]
    np.testing.assert_allclose(ours.encode(texts), theirs.encode(texts), atol=1e-5)


@pytest.mark.parametrize("pooling, pools_prompt", [
    (("mean",), True), (("mean",), False), (("cls", "max"), False)])
def test_prompts_are_the_librarys(library, bert, tmp_path, pooling, pools_prompt):
    if not hasattr(library, "encode_query"):
        pytest.skip("this version of sentence-transformers has no encode_query")
    layout = SentenceLayout(pooling, True, 12, prompts=(
        ("query", "the old red thing: "), ("document", "text of "), ("cluster", "a new ")),
        default_prompt="cluster", pools_prompt=pools_prompt)
    write(bert, tmp_path / "e", layout)
    theirs = library(str(tmp_path / "e"), device="cpu")
    theirs.save(str(tmp_path / "again"))
    ours, again = (SentenceEncoder.load(tmp_path / name, device="cpu") for name in ("e", "again"))
    assert dict(again.layout.prompts) == dict(ours.layout.prompts)
    assert again.layout[-2:] == ours.layout[-2:] and again.max_length == ours.max_length == 12
    texts = TEXTS[-7:]  # one of them empty, one longer than the encoder reads
    for method in ("encode", "encode_query", "encode_document"):
        for more in ({}, {"prompt_name": "query"}, {"prompt": "the "}, {"prompt": ""}):
            np.testing.assert_allclose(getattr(ours, method)(texts, **more),
                                       getattr(theirs, method)(texts, **more), atol=1e-5)
    lines, queries = write_lines(tmp_path / "texts.txt", TEXTS[:9]), ["blue ice", "sun"]
    scores = theirs.similarity(theirs.encode_query(queries), theirs.encode_document(TEXTS[:9]))
    for matches, row in zip(search(ours, queries, lines, top_k=9), scores.tolist(), strict=True):
        np.testing.assert_allclose([match.score for match in matches],
                                   [row[match.row] for match in matches], atol=1e-5)


@pytest.mark.parametrize("texts, symmetric", [(2, False), (2, True), (3, False)])
def test_the_loss_without_scores_is_the_librarys(library, folder, tmp_path, texts, symmetric):
    """The same value and the same gradient, of vectors in float64 and of all weights."""
    losses = pytest.importorskip("sentence_transformers.losses")
    rows = list(zip(*(TEXTS[start:start + 7] for start in range(0, 7 * texts, 7))))
    ours, theirs = SentenceEncoder(folder, device="cpu"), library(str(folder), device="cpu").eval()
    kind = (losses.MultipleNegativesSymmetricRankingLoss if symmetric
            else losses.MultipleNegativesRankingLoss)(theirs)
    vectors = [torch.randn(7, 5, dtype=torch.float64, requires_grad=True) for _ in range(texts)]
    numbers = torch.arange(7 * texts)
    value = in_batch_losses(vectors[0], torch.cat(vectors[1:]), numbers[:7], numbers[7:], 20.0,
                            symmetric).mean()
    wanted = kind.compute_loss_from_embeddings(vectors, None)
    assert value.item() == pytest.approx(wanted.item(), abs=1e-9)
    for found, right in zip(torch.autograd.grad(value, vectors),
                            torch.autograd.grad(wanted, vectors), strict=True):
        torch.testing.assert_close(found, right, rtol=0, atol=1e-9)
    batch, = make_loader(RankingDataset(rows, ours.tokenizer, 12), 7, shuffle=False)
    value = ranking_loss(ours.pool, texts, 20.0, symmetric)(ours.model.eval(), batch)
    wanted = kind([theirs.tokenize(list(side)) for side in zip(*rows)], None)
    assert value.item() == pytest.approx(wanted.item(), abs=1e-6)
    for loss, model in ((value, ours.model), (wanted, theirs)):
        loss.backward()
        with torch.no_grad():  # a step of plain descent leads to the same weights
            for weight in model.parameters():
                weight -= 0 if weight.grad is None else weight.grad
    ours.save(tmp_path / "ours")
    theirs.save(str(tmp_path / "theirs"))
    found, wanted, before = (read_safetensors(place / "model.safetensors") for place in (
        tmp_path / "ours", tmp_path / "theirs", folder))
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, wanted[name], rtol=0, atol=5e-6)  # in float32
    assert any(not torch.equal(found[name], before[name]) for name in found)


def test_a_search_has_the_librarys_scores(library, folder):
    evaluation = pytest.importorskip("sentence_transformers.evaluation")
    rows = [(TEXTS[i], TEXTS[20 + (i * 7 + j) % 20]) for i in range(9) for j in range(i % 3 + 1)]
    queries = {text: text for text, _ in rows}
    right = {text: {other for query, other in rows if query == text} for text in queries}
    evaluator = evaluation.InformationRetrievalEvaluator(
        queries, {text: text for text in TEXTS[20:40]}, right)
    wanted = evaluator(library(str(folder), device="cpu"))
    searched = Searched.of([*rows, *((TEXTS[0], rows[0][1], text) for text in TEXTS[20:40])])
    found = ranking_metrics(SentenceEncoder(folder, device="cpu").answers(searched))
    assert found == pytest.approx({name: wanted[f"cosine_{name}"] for name in found})
    assert 0 < found["ndcg@10"] < 1


# ---- files

def write_lines(path, texts):
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".txt", ".jsonl"])
def test_file_to_vectors(folder, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr("bert_kit.jobs.tasks.similarity.CHUNK", 7)  # 40 texts in 6 chunks
    path, texts = tmp_path / f"texts{suffix}", TEXTS[:40]
    if suffix == ".txt":
        write_lines(path, [*texts[:3], "", "  ", *texts[3:]])
    elif suffix == ".csv":
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([["n", "sentence"], *enumerate(texts)])
    else:
        write_lines(path, [json.dumps({"sentence": text}) for text in texts])
    encoder = SentenceEncoder(folder, device="cpu")
    assert list(stream_texts(path, "sentence")) == texts
    assert embed_file(encoder, path, tmp_path / "v.npy", "sentence") == 40
    vectors = np.load(tmp_path / "v.npy", mmap_mode="r")
    np.testing.assert_allclose(vectors, encoder.encode(texts), atol=1e-6)
    assert vectors.dtype == np.float32 and vectors.shape == (40, 24)


def test_files_that_cannot_be_embedded(folder, tmp_path):
    encoder = SentenceEncoder(folder, device="cpu")
    empty, bad = write_lines(tmp_path / "empty.txt", ["", " "]), tmp_path / "bad.csv"
    bad.write_text("text\none\ntwo,three\n")
    for path, output, message in (
            (empty, "v.npy", "empty.txt: holds no text"), (bad, "v.npy", "bad.csv line 3: 2 fi"),
            (bad, "bad.csv", "ends in .npy"), (tmp_path / "none.txt", "v.npy", "no such file"),
            (write_lines(tmp_path / "a.txt", "a"), "bad.csv/v.npy", "cannot be written")):
        with pytest.raises(BertKitError, match=message):
            embed_file(encoder, path, tmp_path / output)
    assert not (tmp_path / "v.npy").exists() and bad.read_text().startswith("text\n")


def test_memory_does_not_grow_with_the_file(folder, tmp_path, monkeypatch):
    """However many texts, no more than a chunk of them is encoded at a time."""
    monkeypatch.setattr("bert_kit.jobs.tasks.similarity.CHUNK", 8)
    encoder, sizes = SentenceEncoder(folder, device="cpu"), []
    encode = encoder.encode
    encoder.encode = lambda texts, *more: sizes.append(len(texts)) or encode(texts, *more)
    path = write_lines(tmp_path / "t.txt", TEXTS[:40] * 2)
    assert embed_file(encoder, path, tmp_path / "v.npy") == 80 and sizes == [8] * 10


# ---- search

@pytest.mark.parametrize("sizes, top_k", [([50], 3), ([1, 7, 20, 22], 5), ([3, 2], 10), ([4], 1)])
def test_nearest_is_a_full_sort(sizes, top_k):
    rng = np.random.default_rng(0)
    queries, vectors = rng.normal(size=(6, 9)), rng.normal(size=(sum(sizes), 9)) * 30
    blocks = np.split(vectors, np.cumsum(sizes)[:-1])
    cosines, rows = nearest(queries, iter(blocks), top_k)
    table = np.array([[q @ v / np.linalg.norm(q) / np.linalg.norm(v) for v in vectors]
                      for q in queries])
    wanted = np.argsort(-table, axis=1)[:, :top_k]
    assert np.array_equal(rows, wanted)
    np.testing.assert_allclose(cosines, np.take_along_axis(table, wanted, 1), atol=1e-6)
    with pytest.raises(BertKitError, match="top_k is 0"):
        nearest(queries, blocks, 0)


def test_search_finds_the_text_itself(folder, tmp_path, monkeypatch):
    for place in ("commands.search", "tasks.similarity"):
        monkeypatch.setattr(f"bert_kit.jobs.{place}.CHUNK", 9)
    encoder, texts = SentenceEncoder(folder, device="cpu"), TEXTS[:40]
    path = write_lines(tmp_path / "t.txt", texts)
    embed_file(encoder, path, tmp_path / "v.npy")
    found = search(encoder, [texts[31], texts[2]], path, top_k=4)
    stored = search(encoder, [texts[31], texts[2]], path, tmp_path / "v.npy", top_k=4)
    assert [[m.row for m in matches] for matches in found] == [
        [m.row for m in matches] for matches in stored]
    assert [matches[0].row for matches in found] == [31, 2]
    for matches in found:
        assert matches[0].score == pytest.approx(1, abs=1e-5)
        assert [m.text for m in matches] == [texts[m.row] for m in matches]
        assert [m.score for m in matches] == sorted((m.score for m in matches), reverse=True)


def test_stale_vectors_are_refused(folder, tmp_path):
    encoder = SentenceEncoder(folder, device="cpu")
    path, vectors = write_lines(tmp_path / "t.txt", TEXTS[:6]), tmp_path / "v.npy"
    embed_file(encoder, path, vectors)
    assert search(encoder, TEXTS[:1], path, vectors)[0][0].row == 0
    write_lines(path, [*TEXTS[1:6], TEXTS[0]])
    with pytest.raises(BertKitError, match="other texts, or the same in another order"):
        search(encoder, TEXTS[:1], path, vectors)
    write_lines(path, TEXTS[:6])
    with torch.no_grad():
        next(encoder.model.parameters()).view(-1)[0] += 1e-3
    with pytest.raises(BertKitError, match="vectors of another model, as v.npy.json says"):
        search(encoder, TEXTS[:1], path, vectors)
    (tmp_path / "v.npy.json").unlink()  # as vectors were before
    assert search(encoder, TEXTS[:1], path, vectors)[0][0].row == 0


def test_vectors_of_something_else_are_refused(folder, tmp_path):
    encoder, path = SentenceEncoder(folder, device="cpu"), write_lines(tmp_path / "t.txt", "abc")
    for name, content, message in (
            ("few.npy", np.zeros((2, 24), np.float32), r"numbers \(2, 24\); expected vectors \(3"),
            ("int.npy", np.zeros((3, 24), np.int64), "holds int64"),
            ("obj.npy", np.array([None] * 3), "cannot be read")):
        np.save(tmp_path / name, content, allow_pickle=True)
        with pytest.raises(BertKitError, match=message):
            search(encoder, ["a"], path, tmp_path / name)
    with open(tmp_path / "many.npy", "wb") as file:
        np.savez(file, np.zeros((3, 24), np.float32))
    os.mkfifo(tmp_path / "pipe.npy")
    for name in ("t.txt", "none.npy", "many.npy", "pipe.npy"):
        with pytest.raises(BertKitError, match=f"{name}: cannot be read"):
            search(encoder, ["a"], path, tmp_path / name)


# ---- similarity

def test_correlations_by_hand():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=50).round(1), rng.normal(size=50).round(1)  # with ties
    assert pearson_correlation(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-12)
    ranks = [[sum(y < x for y in v) + (sum(y == x for y in v) + 1) / 2 for x in v] for v in (a, b)]
    wanted = pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-12)
    assert spearman_correlation(a, b) == wanted
    assert spearman_correlation(a, np.exp(a)) == pytest.approx(1)
    assert spearman_correlation(a, -a**3) == pytest.approx(-1)
    assert pearson_correlation([0.1] * 3, [1, 2, 3]) == 0
    for size in (1e-300, 1e-200, 1e200, 1e308):  # whose squares are no numbers
        assert pearson_correlation([0.25 * size, -0.5 * size, size], [1, -2, 4]) == pytest.approx(1)
    for bad in (([1], [1, 2]), ([], []), ([1, np.nan], [1, 2])):
        with pytest.raises(BertKitError):
            spearman_correlation(*bad)


@pytest.mark.parametrize("rows, message", [
    (["a,b,much"], "line 2: 'label' is 'much'; expected a number"),
    (["a,b,1", "a,b,nan"], "line 3: 'label' is 'nan'"),
    (["a,b,2", "c,d,2.0"], "'label' is 2 in all 2 rows; expected different"),
    ([], "no rows"), (["a,,1"], "'text_b' is empty"),
])
def test_pairs_that_cannot_be_used(folder, tmp_path, rows, message):
    path = tmp_path / "p.csv"
    path.write_text("\n".join(["text_a,text_b,label", *rows]) + "\n")
    with pytest.raises(BertKitError, match=message):
        evaluate_similarity(SentenceEncoder(folder, device="cpu"), path)


def test_pairs_are_split_into_their_texts(bert):
    tokenizer, texts = get_tokenizer(bert), TEXTS[:14]
    scores = [0.25 * i for i in range(7)]
    dataset = SimilarityDataset(list(zip(texts[:7], texts[7:])), scores, tokenizer, max_length=9)
    batch, = make_loader(dataset, 7, shuffle=False)
    assert batch["labels"].tolist() == scores
    assert dataset.lengths.tolist() == batch["attention_mask"].sum(1).tolist()
    rows = split_pairs(batch)
    assert not rows["token_type_ids"].any() and rows["input_ids"].shape == (14, 9)
    for ids, mask, text in zip(rows["input_ids"], rows["attention_mask"], texts):
        wanted = tokenizer.encode(text, max_length=9).ids
        assert ids[:len(wanted)].tolist() == wanted and mask.sum() == len(wanted)
    nothing = split_pairs(pad_batch([], example=dataset[0]))  # a process without rows
    assert nothing["input_ids"].shape == (0, 1)


def test_loss_by_hand_and_gradient(folder):
    encoder = SentenceEncoder(folder, device="cpu")
    first, second, scores = TEXTS[:5], TEXTS[5:10], [0.0, 0.2, 1.0, 0.5, 0.7]
    batch, = make_loader(SimilarityDataset(list(zip(first, second)), scores, encoder.tokenizer, 12),
                         5, shuffle=False)
    loss = cosine_loss(encoder.pool)
    value = loss(encoder.model, batch)
    a, b = encoder.encode(first), encoder.encode(second)
    assert value.item() == pytest.approx(np.mean(((a * b).sum(1) - scores)**2), abs=1e-6)
    half = loss(encoder.model, batch, {"labels": 10})
    assert half.item() == pytest.approx(value.item() / 2)
    value.backward()
    assert all(p.grad is not None for p in encoder.model.blocks.parameters())


def test_training_learns_resumes_and_leaves_a_folder(bert, tmp_path, capsys):
    train, dev, test = (write_rated(tmp_path / f"{name}.csv", count, seed) for seed, (name, count)
                        in enumerate([("train", 200), ("dev", 60), ("test", 60)]))
    settings = dict(validation_file=dev, test_file=test, pooling="mean", learning_rate=5e-3,
                    num_train_epochs=6, batch_size=16, precision="float32", device="cpu",
                    max_length=20, plots=False)
    results = train_similarity(bert, train, output_dir=tmp_path / "run", **settings)
    before, after = results["baselines"]["before training"], results["test"]
    assert before["spearman"] < 0.5 and after["spearman"] > 0.65
    out = capsys.readouterr().out
    assert "before training (test rows)" in out and f"{after['spearman']:.4f}" in out
    encoder = SentenceEncoder(tmp_path / "run", device="cpu")
    assert encoder.max_length == 20 and evaluate_similarity(encoder, test) == after
    assert json.loads((tmp_path / "run" / "results.json").read_text())["test"] == after
    assert f"{after['spearman']:.4f}" in (tmp_path / "run" / "README.md").read_text()
    assert main(["info", str(tmp_path / "run")]) == 0 and "Spearman" in capsys.readouterr().out
    # A run in two parts ends in the same bits.
    train_similarity(bert, train, output_dir=tmp_path / "cut", time_limit=1e-9, **settings)
    cut = train_similarity(bert, train, output_dir=tmp_path / "cut", resume="auto", **settings)
    assert cut["test"] == after


@pytest.mark.parametrize("change, message", [
    ({"model": None}, "model is missing"),
    ({"train_file": None}, "given no file; expected data_file alone, or train_file"),
    ({"max_length": 99}, "max_length is 99; .* has 40 positions"),
    ({"pooling": None}, "holds no modules.json"), ({"pooling": "first"}, "pooling is 'first'"),
    ({"learning_rate": -1.0}, "learning_rate is -1"), ({"epochs": 0}, "num_train_epochs is 0"),
    ({"train_file": "none.csv"}, "none.csv"), ({"rate": 1}, "unknown option 'rate'"),
])
def test_a_training_that_cannot_start_writes_nothing(bert, tmp_path, change, message):
    given = {"model": bert, "train_file": write_rated(tmp_path / "p.csv", 12), "pooling": "mean",
             "output_dir": tmp_path / "run", "device": "cpu", **change}
    with pytest.raises(BertKitError, match=message):
        train_similarity(given.pop("model"), given.pop("train_file"), **given)
    assert not (tmp_path / "run").exists()


# ---- as a user runs it

def test_command_line(folder, tmp_path, capsys):
    path = write_lines(tmp_path / "t.txt", TEXTS[:9])
    start = ["embed", "--model", str(folder), "--device", "cpu", "--data_file"]
    assert main([*start, str(path), "--output-file", str(tmp_path / "v.npy")]) == 0
    assert "9 vectors of 24 numbers" in capsys.readouterr().out
    assert main([*start, str(path), "--query", TEXTS[4], "x", "--top_k", "2", "--vectors",
                 str(tmp_path / "v.npy")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and lines[:2] == [TEXTS[4], f"  1.0000  {TEXTS[4]}"]
    (tmp_path / "bad.csv").write_text('text\n"red \x1b[2J\nsun"\n')  # moves the cursor, if printed
    assert main([*start, str(tmp_path / "bad.csv"), "--query", "red\x1b[2J"]) == 0
    assert "red[2J\n" in (out := capsys.readouterr().out) and "  red [2J sun\n" in out
    pairs = write_rated(tmp_path / "p.csv", 30)
    assert main([*start, str(pairs), "--pairs"]) == 0
    scores = evaluate_similarity(SentenceEncoder(folder, device="cpu"), pairs)
    assert f"Spearman {scores['spearman']:.4f}" in capsys.readouterr().out
    assert main([*start, str(path), "--output_file", "v.npy", "--vectors", "v.npy"]) == 1
    assert capsys.readouterr().err.startswith("error: vectors are to be searched in")
    for arguments, message in (
            ([], "expected one of output_file, query and pairs"),
            (["--pairs", "--query", "red"], "expected one of output_file, query and pairs")):
        assert main([*start, str(path), *arguments]) == 1
        assert message in capsys.readouterr().err
    assert main(["embed", "--data_file", str(path), "--pairs"]) == 2
    assert "model is missing" in capsys.readouterr().err
    done = command(*start, path, "--query", "red", "--model", tmp_path / "none")
    assert done.returncode == 1 and done.stderr.count("\n") == 1


def test_training_by_command_line(bert, tmp_path, capsys):
    files = [write_rated(tmp_path / f"{name}.csv", 24, seed)
             for seed, name in enumerate(("train", "dev"))]
    start = ["train", "--task", "similarity", "--model", str(bert), "--device", "cpu",
             "--train_file", str(files[0])]
    assert main([*start, "--validation_file", str(files[1]), "--pooling", "mean", "--epochs", "1",
                 "--output_dir", str(tmp_path / "run"), "--plots=false", "--seed", "3"]) == 0
    assert "use it with: python -m bert_kit embed" in capsys.readouterr().out
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    encoder = SentenceEncoder(tmp_path / "run", device="cpu")
    assert results["validation"] == pytest.approx(evaluate_similarity(encoder, files[1]))
    assert main([*start, "--output_dir", str(tmp_path / "other")]) == 1
    assert "holds no modules.json" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_example(folder, monkeypatch, capsys):
    path = Path(__file__).resolve().parents[2] / "examples" / "sentence_vectors.py"
    spec = importlib.util.spec_from_file_location("sentence_vectors", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    texts = table(90)[0]
    documents = [Document("p", f"p/{i}.py", tuple(texts[i:i + 3])) for i in range(0, 90, 3)]
    monkeypatch.setattr(example, "load_corpus", lambda: Corpus(documents))
    example.main(example.parse_arguments(["--model", str(folder), "--pages", "20"]))
    rows = {line[:18].strip(): line[18:].split() for line in capsys.readouterr().out.splitlines()}
    assert rows["chance"] == ["0.050", "0.500"]
    assert all(0 <= float(share) <= 1 for share in rows["sentence vectors"] + rows["TF-IDF"])
    assert "sort a list" in rows
