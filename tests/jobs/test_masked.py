"""The pre-training job from text to folder and on, by Python and by command line."""

import csv
import json
import math
import re
import shutil
from collections import Counter

import pytest
import torch
from torch.nn import functional as F

from bert_kit import (BertConfig, BERTForMaskedLM, BERTForPreTraining, MLMDataset, NSPDataset,
                      Tokenizer, get_tokenizer, load_pretrained, pretrain, train_classifier)
from bert_kit.cli import main
from bert_kit.data import load_corpus, read_documents
from bert_kit.data.samples.corpus import Corpus, Document
from bert_kit.errors import BertKitError
from bert_kit.files import read_json
from bert_kit.jobs.run.build import check_options, make_model, training_arguments
from bert_kit.jobs.run.job import Rows, TrainingJob
from bert_kit.jobs.run.task import Parts
from bert_kit.jobs.tasks import masked
from bert_kit.jobs.tasks.masked import (MaskedOptions, MaskedTask, Stored, fill_store,
                                        make_tokenizer, read_text)
from bert_kit.weights import read_safetensors
from tiny_jobs import finish, start, tiny_bert, write_table
from tiny_tasks import write_documents

QUICK = {"from_scratch": "bert-tiny", "vocab_size": 90, "max_length": 24, "batch_size": 8,
         "learning_rate": 3e-3, "device": "cpu", "precision": "float32", "plots": False,
         "verbosity": 0}
ON_WEIGHTS = {name: value for name, value in QUICK.items() if name not in (
    "from_scratch", "vocab_size")}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(training text, text to measure on, BERT folder), made once."""
    folder = tmp_path_factory.mktemp("files")
    return (write_documents(folder / "train.txt", 60, 0),
            write_documents(folder / "valid.txt", 11, 1), tiny_bert(folder / "bert"))


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    """(results, folder) of one finished run: 24 steps, three epochs and a bit."""
    folder = tmp_path_factory.mktemp("run") / "out"
    return pretrain(train_file=files[0], validation_file=files[1], output_dir=folder,
                    **{**QUICK, "max_steps": 24, "eval_steps": 5, "save_steps": 4,
                       "save_total_limit": 99}), folder


def metrics(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def same_but_time(one, other):
    """Say whether two results are equal, whatever they took and wherever they are."""
    left_out = ("seconds", "peak_memory_mb", "output_dir")
    return ({key: value for key, value in one.items() if key not in left_out}
            == {key: value for key, value in other.items() if key not in left_out})


def test_a_run_leaves_everything_and_its_numbers_agree(run, files):
    results, folder = run
    assert {"config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "results.json",
            "manifest.json", "README.md", "metrics.csv", "training_args.json",
            "checkpoint-24"} <= {path.name for path in folder.iterdir()}
    assert read_json(folder / "results.json") == json.loads(json.dumps(results))
    scores = results["validation"]
    best = min(float(row["eval_loss"]) for row in metrics(folder) if row["eval_loss"])
    assert scores["loss"] == pytest.approx(best, abs=1e-12)
    assert scores["perplexity"] == pytest.approx(math.exp(scores["loss"]))
    counted = results["baselines"]["token counts alone"]["loss"]
    assert scores["loss"] < counted < math.log(results["vocabulary"]) + 0.2
    card = (folder / "README.md").read_text()
    for number in (scores["loss"], scores["accuracy"], counted):
        assert f"{number:.4f}" in card
    manifest = read_json(folder / "manifest.json")
    assert manifest["job"] == "pretrain" and manifest["settings"]["learning_rate"] == 3e-3
    config = BertConfig.load(folder)
    assert config.max_position_embeddings == 24 == get_tokenizer(folder).max_length
    assert config.hidden_dropout_prob == 0.1  # to be fine-tuned with
    assert config.vocab_size == results["vocabulary"] == 90


def test_scores_are_those_of_the_saved_model_row_by_row(run, files):
    results, folder = run
    model, tokenizer = load_pretrained(BERTForMaskedLM, folder, strict=True), get_tokenizer(folder)
    rows = MLMDataset([" ".join(lines) for lines in read_documents([files[1]])], tokenizer, 24)
    losses, right, wanted = [], [], []
    for row in rows:
        with torch.inference_mode():
            logits = model(torch.from_numpy(row["input_ids"])[None])[0].double()
        for place, label in enumerate(row["labels"]):
            if label >= 0:
                losses.append(-logits[place].log_softmax(-1)[label].item())
                right.append(logits[place].argmax().item() == label)
                wanted.append(int(label))
    assert results["rows"]["validation"] == len(rows)
    assert results["validation"]["loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-5)
    assert results["validation"]["accuracy"] == pytest.approx(sum(right) / len(right))
    seen = MLMDataset([" ".join(lines) for lines in read_documents([files[0]])], tokenizer, 24,
                      0.4)
    counts = Counter(label for i in range(len(seen)) for label in seen[3, i]["labels"].tolist())
    total = sum(counts[i] + 1 for i in range(90))
    unigram = -sum(math.log((counts[label] + 1) / total) for label in wanted) / len(wanted)
    assert results["baselines"]["token counts alone"]["loss"] == pytest.approx(unigram, abs=0.1)


@pytest.mark.parametrize("nsp", [False, True])
def test_the_result_opens_in_transformers_with_the_same_logits(nsp, run, files, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = run[1]
    if nsp:
        folder = tmp_path / "nsp"
        pretrain(train_file=files[0], output_dir=folder, nsp=True, val_size=0, max_steps=2,
                 **QUICK)
    ours = load_pretrained(BERTForPreTraining if nsp else BERTForMaskedLM, folder, strict=True)
    theirs = (transformers.AutoModelForPreTraining if nsp
              else transformers.AutoModelForMaskedLM).from_pretrained(folder).eval()
    batch = transformers.AutoTokenizer.from_pretrained(folder)(
        ["the red thing 7 of fire", "snow."], padding=True, return_tensors="pt")
    with torch.inference_mode():
        output, expected = ours(**batch), theirs(**batch)
    real = batch["attention_mask"].bool()
    if nsp:
        torch.testing.assert_close(output.next_sentence, expected.seq_relationship_logits,
                                   atol=1e-5, rtol=0)
        output, expected = output.mlm, expected.prediction_logits
    else:
        expected = expected.logits
    torch.testing.assert_close(output[real], expected[real], atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", [{}, {"nsp": True, "dropout": 0.1}], ids=["mlm", "nsp"])
def test_a_killed_run_goes_on_to_the_same_bits(options, run, files, tmp_path):
    settings = {**QUICK, "train_file": files[0], "validation_file": files[1], "max_steps": 24,
                "eval_steps": 5, "save_steps": 4, "save_total_limit": 99, **options}
    results, whole = run
    if options:
        whole = tmp_path / "whole"
        results = pretrain(output_dir=whole, **settings)
    for step in (4, 16):
        folder = tmp_path / f"from-{step}"
        for path in whole.glob("checkpoint-*"):
            if int(path.name.split("-")[1]) <= step:
                shutil.copytree(path, folder / path.name)
        for name in ("manifest.json", "training_args.json", "metrics.csv"):
            shutil.copy(whole / name, folder)
        torch.rand(step)  # whatever the generator of the process has done
        again = pretrain(output_dir=folder, resume="auto", **settings)
        assert same_but_time(again, results) and metrics(folder) == metrics(whole)
        assert (folder / "model.safetensors").read_bytes() == (
            whole / "model.safetensors").read_bytes()
        with pytest.raises(BertKitError, match="mask_probability was 0.4 and is now 0.3"):
            pretrain(output_dir=folder, resume="auto", **settings, mask_probability=0.3)
    other = write_documents(tmp_path / "other.txt", 60, 5)
    with pytest.raises(BertKitError, match="train_file was|the data has changed"):
        pretrain(output_dir=whole, resume="auto", **{**settings, "train_file": other})


def test_a_store_gives_the_same_run_as_text_in_memory(run, files, tmp_path):
    results, folder = run
    settings = {**QUICK, "train_file": files[0], "validation_file": files[1], "max_steps": 24,
                "eval_steps": 5, "save_steps": 4, "store": tmp_path / "store"}
    stored = pretrain(output_dir=tmp_path / "a", **settings)
    assert same_but_time(stored, results)
    assert metrics(tmp_path / "a") == metrics(folder)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (
        folder / "model.safetensors").read_bytes()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*")}
    pretrain(output_dir=tmp_path / "b", **{**settings, "max_steps": 1})  # opens it: writes nothing
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*")} == before
    with pytest.raises(BertKitError, match="tokenizer"):
        pretrain(output_dir=tmp_path / "c", **{**settings, "tokenizer": files[2]})


@pytest.mark.parametrize("optim, most", [("adamw", 4e-5), ("muon", 4e-3)])
def test_two_processes_give_the_run_of_one(optim, most, files, tmp_path):
    """Muon computes its steps in bfloat16, so a sum that is rounded otherwise shows more."""
    options = {**QUICK, "validation_file": files[1], "max_steps": 4, "eval_steps": 2, "nsp": True,
               "gradient_accumulation_steps": 3, "batch_size": 7, "optim": optim}
    alone = pretrain(train_file=files[0], output_dir=tmp_path / "one", **options)
    for code, _, errors in finish(start(
            ["-m", "bert_kit", "pretrain", "--train_file", files[0], "--output_dir", "two",
             *(f"--{name}={value}" for name, value in options.items())], tmp_path)):
        assert code == 0, errors
    both = read_json(tmp_path / "two" / "results.json")
    assert both["validation"] == pytest.approx(alone["validation"], abs=1e-3, rel=1e-5)
    assert (both["rows"], both["baselines"]) == (alone["rows"], alone["baselines"])
    one, two = (read_safetensors(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, two[name], atol=most, rtol=0)


def test_next_sentences_are_learned_and_measured_too(files, tmp_path):
    results = pretrain(train_file=files[0], validation_file=files[1], nsp=True, max_steps=3,
                       output_dir=tmp_path, **QUICK)
    model, tokenizer = load_pretrained(BERTForPreTraining, tmp_path), get_tokenizer(tmp_path)
    pairs = NSPDataset(read_documents([files[1]]), tokenizer, 24)
    right = []
    for pair in pairs:
        with torch.inference_mode():
            logits = model(torch.from_numpy(pair["input_ids"])[None],
                           token_type_ids=torch.from_numpy(pair["token_type_ids"])[None])
        right.append(logits.next_sentence.argmax().item() == pair["next_sentence_label"])
    scores = results["validation"]
    assert scores["next_sentence_accuracy"] == pytest.approx(sum(right) / len(right))
    assert results["rows"]["validation"] == len(pairs) > 3
    trained_on = next(float(row["loss"]) for row in metrics(tmp_path) if row["loss"])
    assert trained_on > scores["loss"] + 0.3  # both losses together


def test_going_on_from_weights(files, tmp_path, capsys):
    table = pretrain(files[2], files[0], validation_file=files[1], output_dir=tmp_path / "a",
                     max_steps=6, **{**ON_WEIGHTS, "learning_rate": None, "verbosity": 1})
    out = capsys.readouterr().out
    before, after = table["baselines"]["before training"], table["validation"]
    assert f"{after['perplexity']:.4g}" in out and f"{after['accuracy']:.4f}" in out
    assert [path.name for path in (tmp_path / "a").glob("checkpoint-*")] == ["checkpoint-6"]
    assert table["learning_rate"] == 1e-4 and after["loss"] < before["loss"]
    assert f"expect      a loss of about {before['loss']:.2f} at the start" in out
    text = [" ".join(lines) for lines in read_documents([files[1]])]
    tokenizer = get_tokenizer(files[2])
    batch = documents_batch(MLMDataset(text, tokenizer, 24))
    with torch.inference_mode():
        logits = load_pretrained(BERTForMaskedLM, files[2])(batch["input_ids"],
                                                            batch["attention_mask"])
    assert before["loss"] == pytest.approx(F.cross_entropy(
        logits.flatten(0, 1), batch["labels"].flatten()).item(), abs=1e-5)
    config = BertConfig.load(tmp_path / "a")
    assert config.hidden_dropout_prob == 0.1 and config.max_position_embeddings == 40
    assert get_tokenizer(tmp_path / "a").backend.to_str() == tokenizer.backend.to_str()
    changed = make_model(MaskedTask(), MaskedOptions(
        model=files[2], dropout=0.25, max_length=24, verbosity=0),
        Rows(Parts([], None, None, "", ""), tokenizer, {}))
    assert changed.config.attention_probs_dropout_prob == 0.25


@pytest.mark.parametrize("options, says", [
    ({}, "a loss of about ln V = 4.38 or less at the start"),
    ({"initial_weights": "random"}, "a loss of about ln V = 4.38 at the start"),
    ({"nsp": True}, "a loss of about ln V = 4.38 or less + ln 2 at the start")])
def test_what_a_new_model_starts_from(options, says, files, tmp_path, capsys):
    results = pretrain(train_file=files[0], val_size=0, max_steps=1, output_dir=tmp_path / "a",
                       **{**QUICK, "vocab_size": 80, "verbosity": 1, **options})
    out, words = capsys.readouterr().out, "random weights"
    if not options.get("initial_weights"):
        words = "weights from counts of neighbours"
    assert says in out and f", {words}, cpu" in out and results["initial_weights"] == words
    assert f"from {words}." in (tmp_path / "a" / "README.md").read_text("utf-8")
    assert "before training" not in results["baselines"]


def test_a_run_of_before_goes_on_from_random_weights(files, tmp_path):
    """Its manifest does not say what its initial weights are."""
    pretrain(train_file=files[0], max_steps=2, save_steps=1, output_dir=tmp_path / "a",
             initial_weights="random", validation_file=files[1], **QUICK)
    manifest = read_json(tmp_path / "a" / "manifest.json")
    assert manifest["settings"].pop("initial_weights") == "random"
    (tmp_path / "a" / "manifest.json").write_text(json.dumps(manifest))
    results = pretrain(train_file=files[0], max_steps=2, output_dir=tmp_path / "a", resume="auto",
                       validation_file=files[1], save_steps=1, **QUICK)
    assert results["initial_weights"] == "random weights"


def documents_batch(dataset):
    from bert_kit.data import pad_batch
    return pad_batch(list(dataset))


@pytest.mark.parametrize("options, words", [
    ({"train_file": "none.txt"}, "none.txt: no such file"),
    ({"train_file": ""}, "train_file is empty"),
    ({"model": "BERT", "max_length": 41}, "max_length is 41; .*bert has 40 positions"),
    ({"nsp": True, "store": "s"}, "nsp and store are both set"),
    ({"store": "s", "validation_file": None}, "a store holds nothing out; give a validation_file"),
    ({"store": "s", "train_file": None}, "a store needs a train_file"),
    ({"mask_probability": 0}, "mask_probability is 0"), ({"val_size": 1}, "val_size is 1"),
    ({"batch_size": 0}, "batch_size is 0"), ({"eval_steps": 0}, "eval_steps is 0"),
    ({"nsp": True, "max_length": 4}, "max_length is 4; expected at least 5 with nsp"),
    ({"val_size": 0.1}, "val_size and validation_file are both set"),
    ({"val_size": 0, "validation_file": None, "eval_steps": 5}, "eval_steps is set, but"),
    ({"workers": 2}, "workers is 2, which changes nothing without a store"),
    ({"store": "out/store"}, "store out/store is in the output_dir out; expected it beside"),
    ({"seed": 2**32}, "seed is 4294967296; expected a whole number from 0 to"),
    ({"max_length": 2}, "max_length is 2"), ({"from_scratch": "bert-huge"}, "unknown model"),
    ({"dropout": 2}, "dropout is 2"), ({"lr": "often"}, "learning_rate is 'often'"),
    ({"memory_threshold": 3}, "memory threshold"), ({"tokenizer": "no/such"}, "no/such"),
    ({"lr_scheduler_type": "steep"}, "expected one of linear")])
def test_conflicts_are_found_before_any_work(options, words, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {key: files[2] if value == "BERT" else value for key, value in options.items()}
    if "lr" in options:
        options["learning_rate"] = options.pop("lr")
    with pytest.raises(BertKitError, match=words) as caught:
        pretrain(**{**(ON_WEIGHTS if options.keys() & {"model", "tokenizer"} else QUICK),
                    "train_file": files[0],
                    "validation_file": files[1], "output_dir": "out", **options})
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_nothing_is_kept_without_a_folder(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = pretrain(train_file=files[0], val_size=0, max_steps=1, output_dir=None, **QUICK)
    assert results["steps"] == 1 and results["output_dir"] is None and not [*tmp_path.iterdir()]


@pytest.mark.parametrize("text, options, words", [
    ("", {}, "a.txt: no text"), ("\n \n", {}, "a.txt: no text"),
    ("one\n\ntwo\n", {}, "of 2 documents leaves none to measure on; give a validation_file"),
    ("\u200b\n", {"val_size": 0}, "the texts hold no words"),
    ("one\n\ntwo\n", {"nsp": True, "val_size": 0},
     "train text: next-sentence pairs need .* found 0 .*an empty line separates documents"),
    ("\u200b\n", {"val_size": 0, "tokenizer": "BERT"}, "train text: none of the texts has a token"),
    (b"caf\xe9", {}, "a.txt line 1: byte 0xe9 is not utf-8")])
def test_text_that_cannot_be_used(text, options, words, files, tmp_path):
    path = tmp_path / "a.txt"
    options = {key: files[2] if value == "BERT" else value for key, value in options.items()}
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    base = {**ON_WEIGHTS, "from_scratch": "bert-tiny"} if "tokenizer" in options else QUICK
    with pytest.raises(BertKitError, match=words):
        pretrain(train_file=path, output_dir=tmp_path / "out", **base, **options)
    assert not (tmp_path / "out").exists()


def test_which_documents_are_held_out(files, tmp_path):
    text = files[0].read_text()
    (tmp_path / "twice.txt").write_text(text + "\n" + text)

    def read(**options):
        return read_text(MaskedOptions(**{"train_file": tmp_path / "twice.txt", **options}))
    train, held = read(val_size=0.3)
    assert (train, held) == read(val_size=0.3) != read(val_size=0.3, seed=1)
    assert not {*map(tuple, train)} & {*map(tuple, held)}
    assert len(train) + len(held) == 120 and 20 < len(held) < 52
    assert len(read(val_size=0)[0]) == 120 and read(val_size=0)[1] == []
    few = read(val_size=0.3, max_eval_samples=5)[1]
    assert few == held[::-(-len(held) // 5)] and 3 <= len(few) <= 5
    train, held = read(validation_file=files[1], max_eval_samples=99)
    assert len(train) == 120 and held == list(read_documents(files[1]))


def test_docstrings_are_the_default_and_split_by_source_file(monkeypatch):
    corpus = Corpus([Document("p", f"p/{i // 3}.py", (f"Document {i}.", "End."))
                     for i in range(90)])
    monkeypatch.setattr(masked, "load_corpus", lambda: corpus)
    train, held = read_text(MaskedOptions())
    expected = corpus.split(0.2)
    assert [train, held] == [[list(d.sentences) for d in part.documents] for part in expected]
    assert load_corpus is not masked.load_corpus and held and len(held) % 3 == 0


def test_json_lines_and_several_files_are_the_same_documents(files, tmp_path):
    found = list(read_documents(files[0]))
    with open(tmp_path / "a.jsonl", "w") as file:
        file.writelines(json.dumps({"text": "\n".join(lines)}) + "\n" for lines in found[:20])
    (tmp_path / "b.txt").write_text("\n\n".join(map("\n".join, found[20:])))
    settings = MaskedOptions(train_file=(tmp_path / "a.jsonl", tmp_path / "b.txt"))
    assert read_text(settings) == read_text(MaskedOptions(train_file=files[0]))


def test_a_tokenizer_is_learned_from_the_beginning_of_the_text(files, monkeypatch):
    settings = MaskedOptions(train_file=files[0], vocab_size=300, val_size=0)
    train, _ = read_text(settings)
    monkeypatch.setattr(masked, "TEXT_TO_LEARN_FROM", sum(map(len, map(" ".join, train[:7]))))
    tokenizer = make_tokenizer(settings, train)
    assert tokenizer.backend.to_str() == make_tokenizer(settings, train[:7]).backend.to_str()
    stored = settings.replace(store="s")
    assert tokenizer.backend.to_str() == make_tokenizer(stored, Stored("s")).backend.to_str()
    monkeypatch.undo()
    assert tokenizer.vocab_size < make_tokenizer(settings, train).vocab_size


def test_another_models_tokenizer_is_refused(files, tmp_path):
    """Unless the model has none of its own; a copy of its own is as good."""
    own, bare = files[2], tmp_path / "bare"
    get_tokenizer(own).save(tmp_path / "copy")
    pieces = (own / "vocab.txt").read_text().split()
    Tokenizer([*pieces[:-2], pieces[-1], pieces[-2]]).save(tmp_path / "other")
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(own / name, bare)

    def check(model, tokenizer):
        check_options(MaskedTask(), MaskedOptions(model=model, tokenizer=tokenizer, max_length=24))
    with pytest.raises(BertKitError, match="other: another tokenizer than that of .*bert, whose"):
        check(own, tmp_path / "other")
    assert check(own, tmp_path / "copy") is check(bare, tmp_path / "other") is None


def test_a_new_model_gives_its_length_to_any_tokenizer(files):
    settings = MaskedOptions(tokenizer=files[2], max_length=24)
    assert make_tokenizer(settings, []).max_length == 24
    weights = settings.replace(tokenizer=None, model=files[2])
    assert make_tokenizer(weights, []).max_length == get_tokenizer(files[2]).max_length


def test_a_checkpoint_every_thousand_steps():
    arguments = training_arguments(MaskedTask(), MaskedOptions(output_dir="x"), evaluates=True)
    assert (arguments.save_strategy, arguments.save_steps) == ("steps", 1_000)
    assert arguments.load_best_model_at_end and arguments.eval_strategy == "epoch"
    often = MaskedOptions(save_steps=None)
    assert training_arguments(MaskedTask(), often).save_strategy == "epoch"


def test_one_process_finds_the_rows_of_a_store(files, tmp_path):
    settings = MaskedOptions(train_file=files[0], store=tmp_path / "s", max_length=24,
                                   verbosity=0)
    fill_store(settings, get_tokenizer(files[2]))
    assert (tmp_path / "s" / "rows-22.npy").is_file()


def test_every_training_option_arrives(files):
    settings = MaskedOptions(
        train_file=files[0], nsp=True, max_length=20, vocab_size=80, mask_probability=0.4,
        whole_word=True, seed=3, num_train_epochs=5, batch_size=6, gradient_accumulation_steps=3,
        weight_decay=0.07, warmup_steps=4, lr_scheduler_type="cosine", optim="adam",
        max_grad_norm=0.6, gradient_checkpointing=True, precision="bfloat16", time_limit=99,
        group_by_length=False, memory_threshold=0.9, logging_steps=9, save_steps=7, val_size=0.3,
        save_total_limit=5, from_scratch="bert-tiny", dropout=0.3, output_dir="x")
    job = TrainingJob(MaskedTask(), settings)
    training = job.build(job.tokenize(job.read()))
    trainer, model = training.trainer, training.model
    args, sampler = trainer.args, trainer.train_loader.batch_sampler
    masking = trainer.train_loader.dataset.masking
    assert (masking.probability, masking.whole_word, masking.seed) == (0.4, True, 3)
    assert (sampler.batch_size, sampler.group_by_length, sampler.seed) == (6, False, 3)
    assert (args.num_train_epochs, args.gradient_accumulation_steps, args.time_limit) == (5, 3, 99)
    assert (args.weight_decay, args.warmup_steps, args.lr_scheduler_type) == (0.07, 4, "cosine")
    assert (args.optim, args.max_grad_norm, args.precision) == ("adam", 0.6, "bfloat16")
    assert (args.learning_rate, args.logging_steps, args.save_total_limit) == (1e-3, 9, 5)
    assert (args.eval_strategy, args.save_strategy, args.save_steps) == ("epoch", "steps", 7)
    assert (args.best_metric, args.more_is_better) == ("eval_loss", False)
    assert (trainer.memory.threshold, trainer.memory.largest) == (0.9, 6)
    assert model.bert.gradient_checkpointing and model.config.hidden_dropout_prob == 0.3
    assert model.config.max_position_embeddings == 20
    model.train()
    assert trainer.evaluate() == trainer.evaluate()  # the same tokens, and no dropout
    assert model.training


def test_the_command_line_and_what_it_says(files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(f'train_file = "{files[0]}"\nvocab_size = 80\nepochs = 9\n'
                                     'mlm-probability = 0.2\nplots = false\nmax_seq_length = 24\n')
    arguments = ["pretrain", "--config", "c.toml", "--validation-file", str(files[1]),
                 "--from_scratch", "bert-tiny", "--max_steps", "2", "--no_cuda"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    for words in ("60 documents", "80 pieces, learned from the training text", " train, ",
                  "tokens on average", "parameters, bert-tiny, weights from counts of neighbours",
                  "at the start", "token counts alone",
                  "before training", "saved in runs/pretrained:"):
        assert words in out
    settings = read_json(tmp_path / "runs" / "pretrained" / "manifest.json")["settings"]
    assert settings["mask_probability"] == 0.2 and settings["num_train_epochs"] == 9
    assert settings["train_file"] == [str(files[0])] and settings["device"] == "cpu"
    assert main(arguments) == 0 and (tmp_path / "runs" / "pretrained-2").is_dir()
    assert main([*arguments, "--resume", "auto"]) == 0
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"pretrained", "pretrained-2"}
    capsys.readouterr()
    assert main([*arguments, "--output_dir", "runs/pretrained"]) == 1
    assert "--resume auto" in capsys.readouterr().err
    assert main(["info", "runs/pretrained"]) == 0
    out = capsys.readouterr().out
    assert "mask_probability 0.2" in out and "perplexity" in out
    with pytest.raises(SystemExit):
        main(["pretrain", "--help"])
    titles = re.findall(r"^(\w.*):$", capsys.readouterr().out, re.MULTILINE)
    assert {*titles} >= {"data", "model", "masking", "training", "early stopping", "running"}


def test_a_classifier_starts_from_the_result(run, tmp_path):
    with pytest.raises(BertKitError, match="holds a run of the job pretrain"):
        train_classifier(model_path=run[1], output_dir=run[1], resume="auto", verbosity=0,
                         max_length=24)
    results = train_classifier(
        "cnn", run[1], write_table(tmp_path / "rows.csv"), output_dir=tmp_path / "out",
        num_epochs=1, max_length=24, device="cpu", verbosity=0, plots=False)
    assert results["classes"] == ["cold", "green", "warm"] and results["steps"] == 3
