"""Masked tokens, and which sentences follow one another: pre-training (Devlin et al. 2019, 3.1).

A part is a list of documents; a document is a list of sentences, or of passages where the lines
of a file hold those.
"""

import contextlib
import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn import functional as F
from tqdm import tqdm

from bert_kit.checks import share
from bert_kit.config import BertConfig
from bert_kit.data import (BadRow, MLMDataset, NSPDataset, TokenStore, build_token_store,
                           find_parts, held_out, load_corpus, make_loader, read_documents)
from bert_kit.data.rows.pieces import row_room
from bert_kit.data.read.text_lines import find_data, text_lines
from bert_kit.errors import ConfigError, DataError, TokenizerError
from bert_kit.evaluation import unigram_loss
from bert_kit.jobs.options.declare import Needs, Options, option, with_defaults
from bert_kit.jobs.options.groups import (BAD_ROWS, FROM_NOTHING, LEARNED, RowOptions,
                                          TrainOptions, in_memory, reading_notes, take_rows)
from bert_kit.jobs.run.build import check_unmeasured
from bert_kit.jobs.run.defaults import DROPOUT, ENCODER_DROPOUT, NARROW, narrow_rate
from bert_kit.jobs.run.left_out import tell_reading, write_bad_rows
from bert_kit.jobs.run.predictor import PRETRAINED, TrainedModel, check_pieces, warn
from bert_kit.jobs.run.task import Parts, Scores, Task, drawn_rows
from bert_kit.jobs.tasks.answers import encoder_dropout
from bert_kit.model import BERTForMaskedLM, BERTForPreTraining
from bert_kit.tokenization import Tokenizer, get_tokenizer, train_tokenizer
from bert_kit.training import (Loss, compute_mlm_loss, compute_pretraining_loss,
                               start_from_counts)

if TYPE_CHECKING:
    from bert_kit.jobs.run.job import Rows, Training

Document = list[str]
BATCH = 64  # rows measured together
MEASURED = 0.15  # share of the tokens hidden where a loss is measured, as published
COUNTED = 1_000  # training batches that say how common each token is
HELD_OUT = 0.05  # share of the documents of files
HELD_OUT_SOURCES = 0.2  # of the docstrings' source files; a classifier is tested on such ones
TEXT_TO_LEARN_FROM = 20_000_000  # characters; more would hardly change the pieces of a tokenizer


@dataclass(frozen=True)
class MaskingOptions(Options):
    """What is hidden from the model."""

    title: ClassVar[str] = "masking"

    mask_probability: float = option(
        0.4, "share of the tokens to predict in training; losses are always measured at .15, so "
        "that they compare", "mlm_probability", before=0.15)
    whole_word: bool = option(False, "mask all pieces of a word or none", "whole_word_mask")
    nsp: bool = option(False, "predict next sentences too; a line of a file is a sentence")


@dataclass(frozen=True)
@with_defaults({"max_length": "tokens in a row, and positions of a new model; a longer text fills "
                "several rows", "num_train_epochs": "passes over the text, 1 at least",
                "learning_rate": "peak rate; 1e-4 with weights, 1e-3 from scratch; auto finds one "
                "by a range test", "dropout": "by default 0 from scratch, else the model's own",
                "metric": "what decides which epoch is best; by default loss",
                "save_steps": "save every so many steps, at the end, and where the loss measured "
                "is the best yet"},
               before={"num_train_epochs": 1}, task="masked", group_by_length=True,
               save_steps=1_000, optim="muon")
class MaskedOptions(TrainOptions, RowOptions, MaskingOptions):
    """What to pre-train on and how; checked when it is made, before any work."""

    examples = ("bert-kit pretrain --train_file corpus.txt",
                "bert-kit pretrain --model minilm --train_file domain.txt --nsp")
    main = ("train_file", "model", "output_dir", "num_train_epochs", "max_length")
    title: ClassVar[str] = "data"

    train_file: tuple[str, ...] | None = option(
        None, "text (.txt: an empty line between documents, else a line each) or .jsonl (field "
        "text); by default the docstrings of the installed packages", may_change=True)
    validation_file: tuple[str, ...] | None = option(
        None, "text to measure on; by default a share is held out", may_change=True)
    val_size: float | None = option(
        None, "share of the documents held out; .05, of the docstrings .2 of the source files")
    max_eval_samples: int = option(
        1_000, "measure on at most so many documents, evenly spread", least=1)
    store: str | None = option(
        None, "folder for the tokens of train_file, made or used again; for text beyond memory",
        may_change=True)
    workers: int = option(1, "processes that fill the store", "preprocessing_num_workers",
                          least=1, most=1_024, may_change=True,
                          needs=Needs("a store", lambda options: options.store is not None))
    tokenizer: str | None = option(
        None, "folder or name of a tokenizer; by default the model's, else one is learned",
        "tokenizer_name", may_change=True)
    vocab_size: int = option(
        8_000, "pieces of a tokenizer that is learned, from the first 20 MB of the text", least=1,
        needs=LEARNED)
    initial_weights: str = option(
        "counts", "of a new model: random, or such that it guesses by counts of which pieces stand "
        "near which in the text", choices=("counts", "random"), needs=FROM_NOTHING,
        before="random")
    data: Any = in_memory()

    def __post_init__(self) -> None:
        super().__post_init__()
        take_rows(self)
        if self.val_size is not None:
            share("val_size", self.val_size, below=True)
        share("mask_probability", self.mask_probability, above=True)
        if self.nsp and self.max_length < 5:
            raise ConfigError(f"max_length is {self.max_length}; expected at least 5 with nsp, for "
                              "two sentences")

    def sources(self) -> tuple[Sequence[Any] | None, Sequence[Any] | None]:
        """Return what to read to train on and to measure on: files, or rows in memory."""
        if self.data is None:
            return self.train_file, self.validation_file
        parts, _ = find_parts(self.data)
        if "test" in parts:
            raise ConfigError("data has a part test, and a pre-training scores none; expected "
                              "train, and validation or a val_size")
        return [parts["train"]], [parts["validation"]] if "validation" in parts else None


class MaskedModel(TrainedModel):
    """A model that fills in masked tokens."""

    model_class, command = BERTForMaskedLM, PRETRAINED[1]

    @classmethod
    def class_of(cls, config: BertConfig) -> Any:
        pairs = "PreTraining" in str(config.extra.get("architectures"))
        return BERTForPreTraining if pairs else BERTForMaskedLM

    def answers(self, dataset: Any) -> list[tuple[float, int, int, int, int]]:
        """Return sums of each batch: loss, masked tokens, those found, pairs, those told right.

        Every pass has the same batches and hides the same tokens.
        """
        with self.answering() as model:
            sums = [self._count_right(model, batch)
                    for batch in self.processes.mine(in_order(dataset))]
        return self.processes.in_order(sums)

    def _count_right(self, model: Any, batch: Mapping[str, torch.Tensor]
                     ) -> tuple[float, int, int, int, int]:
        labels = batch["labels"].flatten()  # (B, S) -> (B * S,)
        places = (labels >= 0).nonzero().flatten()  # -> (M,)
        output = model(batch["input_ids"].to(self.device), batch["attention_mask"],
                       batch["token_type_ids"].to(self.device),
                       positions=places.to(self.device))
        logits = getattr(output, "mlm", output).float()  # (M, V)
        labels = labels[places].to(self.device)
        loss = F.cross_entropy(logits, labels, reduction="sum").item()
        found = int((logits.argmax(-1) == labels).sum())
        if "next_sentence_label" not in batch:
            return loss, len(labels), found, 0, 0
        answers = batch["next_sentence_label"]
        right = int((output.next_sentence.argmax(-1).cpu() == answers).sum())
        return loss, len(labels), found, len(answers), right


class MaskedTask(Task[list[Document]]):
    """The tokens that were masked, and with `nsp` whether B follows A; a part is documents."""

    name, job, what = "masked", "pretrain", "fills in masked tokens"
    use = "train --model {model} --data_file rows.csv"
    options, predictor_class = MaskedOptions, MaskedModel
    metrics = ("loss", "perplexity", "accuracy", "next_sentence_accuracy")
    columns = (("loss", "loss", 8, ".4f"), ("perplexity", "perplexity", 12, ".4g"),
               ("accuracy", "accuracy", 10, ".4f"))
    rates, epochs = (1e-4, 1e-3), (1, 1)
    fine_tunes = has_head = drops_in_head = False

    def folder_name(self, options: Any) -> str:
        return "pretrained"

    # ---- rows

    def check(self, options: Any, config: BertConfig) -> None:
        held = options.sources()[1]
        if held is not None and options.val_size is not None:
            other = "validation_file" if options.data is None else "validation rows in data"
            raise ConfigError(f"val_size and {other} are both set; expected one of them")
        _check_store(options)
        if options.val_size == 0 and held is None:
            check_unmeasured(options)
        for file in (*(options.train_file or ()), *(options.validation_file or ())):
            find_data(file)

    def check_tokenizer(self, options: Any, config: BertConfig) -> None:
        """Refuse pieces that the weights do not know."""
        pieces = options.tokenizer or options.model
        if pieces is None:
            return
        tokenizer = get_tokenizer(pieces, options.download)
        if options.model is None:
            return
        check_pieces(tokenizer, config, pieces)
        if options.tokenizer is None:
            return
        with contextlib.suppress(TokenizerError):  # the model has none of its own
            stored = get_tokenizer(options.model, options.download)
            if stored.fingerprint() != tokenizer.fingerprint():
                raise ConfigError(f"{options.tokenizer}: another tokenizer than that of "
                                  f"{options.model}, whose weights know its own pieces only; leave "
                                  "tokenizer or model out")

    def read(self, options: Any) -> Parts[list[Document]]:
        reading = options.row_reading()
        train, held = read_text(options, reading["bad_rows"])
        files = [*(options.validation_file or ()),
                 *(options.train_file or () if options.store is None else ())]
        size = "a store" if options.store is not None else f"{len(train):,} documents"
        return Parts(train, held or None, None, "",
                     f"{size}; {len(held):,} documents to measure on",
                     note=reading_notes(reading, _other_lines(reading, *files)),
                     bad_rows=tuple(reading["bad_rows"] or ()))

    def subset(self, part: list[Document], count: int, seed: int) -> list[Document]:
        return [part[row] for row in drawn_rows(len(part), count, seed)]

    def texts(self, part: list[Document]) -> Iterator[str]:
        return map(text_of, part)

    def make_tokenizer(self, options: Any, part: list[Document]) -> Tokenizer:
        """Return the tokenizer; with a store, one process fills it now."""
        tokenizer = make_tokenizer(options, part)
        if options.store is not None:
            fill_store(options, tokenizer)
        return tokenizer

    def fingerprint(self, parts: Parts[list[Document]], tokenizer: Tokenizer) -> str:
        """Return the SHA-256 of the documents (or of a store's manifest), and of the pieces."""
        digest = hashlib.sha256(tokenizer.backend.to_str().encode())
        for part in (parts.train, parts.validation or []):
            if isinstance(part, Stored):
                digest.update((Path(part.folder) / "manifest.json").read_bytes())
            for document in part:
                digest.update(json.dumps(document).encode())
            digest.update(b"\n")
        return digest.hexdigest()

    def dataset(self, part: list[Document], name: str, parts: Parts[list[Document]],
                tokenizer: Tokenizer, options: Any) -> Any:
        rows: Any = part
        if isinstance(part, Stored):
            rows = TokenStore(part.folder)
        elif not options.nsp:
            rows = list(map(text_of, part))
        try:
            share = options.mask_probability if name == "train" else MEASURED
            return (NSPDataset if options.nsp else MLMDataset)(
                rows, tokenizer, options.max_length, share, options.whole_word, options.seed)
        except DataError as error:
            raise DataError(f"{name} text: {error}") from None

    # ---- model and loss

    def model_class(self, options: Any) -> Any:
        return BERTForPreTraining if options.nsp else BERTForMaskedLM

    def config(self, options: Any, parts: Parts[list[Document]],
               before: BertConfig) -> dict[str, Any]:
        """A new model has no dropout: text seen once or twice cannot be learned by heart."""
        scratch = options.model is None and options.dropout is None
        return {"classifier": {}, **encoder_dropout(0.0 if scratch else options.dropout)}

    def start(self, model: Any, rows: "Rows[list[Document]]", options: Any) -> None:
        if self.counts(options):
            start_from_counts(model, rows.datasets["train"], options.seed)

    def counts(self, options: Any) -> bool:
        """Say whether the model starts from counts."""
        return options.model is None and options.initial_weights == "counts"

    def new_weights(self, options: Any) -> str:
        return "weights from counts of neighbours" if self.counts(options) else "random weights"

    def loss(self, options: Any, training: "Training | None" = None) -> Loss:
        return compute_pretraining_loss if options.nsp else compute_mlm_loss

    def describe(self, training: "Training", baselines: Mapping[str, Scores]) -> list[str]:
        """Say what the vocabulary is, and what loss to expect."""
        options, tokenizer = training.options, training.predictor.tokenizer
        pieces = options.tokenizer or options.model or "learned from the training text"
        before = baselines.get("before training")
        loss = f"about ln V = {math.log(tokenizer.vocab_size):.2f}"
        if before:
            loss = f"about {before['loss']:.2f}"
        elif self.counts(options):
            loss += " or less"
        dropout = training.model.config.hidden_dropout_prob
        rows = ", ".join(f"{len(rows):,} {name}" for name, rows in training.datasets.items())
        return [f"vocabulary  {tokenizer.vocab_size:,} pieces, {pieces}",
                f"rows        {rows}; {training.datasets['train'].lengths.mean():.0f} tokens on "
                "average",
                f"dropout     {dropout:g}" + (f", as {options.model} stores it "
                "(--hidden_dropout_prob 0 for none)" * bool(options.model and dropout)),
                f"expect      a loss of {loss}{' + ln 2' * options.nsp} at the start"]

    # ---- scores

    def scores(self, answers: list[tuple], part: list[Document],
               predictor: MaskedModel) -> Scores:
        """Return how well the masked tokens were filled in.

        `loss` (nats) and `perplexity` = exp(loss), a mean over all masked tokens; `accuracy`, the
        share of them that the model finds first; and, with labels for that,
        `next_sentence_accuracy`.
        """
        loss, tokens, found, pairs, right = map(sum, zip(*answers, strict=True))
        scores = {"loss": loss / tokens, "perplexity": perplexity(loss / tokens),
                  "accuracy": found / tokens}
        return scores | ({"next_sentence_accuracy": right / pairs} if pairs else {})

    def untrained_scores(self, options: Any) -> bool:
        return options.model is not None or self.counts(options)

    def baselines(self, training: "Training", name: str) -> Iterator[tuple[str, Scores]]:
        options, datasets = training.options, training.datasets
        some = make_loader(datasets["train"], options.batch_size, seed=options.seed)
        loss = unigram_loss(itertools.islice(some, COUNTED), in_order(datasets[name]),
                            training.model.config.vocab_size)
        yield "token counts alone", {"loss": loss, "perplexity": perplexity(loss)}

    def conclude(self, training: "Training", answers: Mapping[str, Any],
                 results: dict[str, Any]) -> None:
        """Store the dropout that the weights are to be fine-tuned with, if they had none here."""
        config = training.model.config
        without = {name: DROPOUT for name in ENCODER_DROPOUT if getattr(config, name) == 0}
        if without:
            training.model.config = config.replace(**without)
            training.options.say(f"note      trained without dropout; config.json says {DROPOUT}, "
                                 "for a fine-tuning")

    def use_of(self, training: "Training") -> str:
        """Return `train` with the rate that weights of this width want."""
        width = training.model.config.hidden_size
        return self.use + (f" --learning_rate {narrow_rate(width):.1g}" if width <= NARROW else "")

    def facts(self, training: "Training") -> dict[str, Any]:
        options = training.options
        start = {} if options.model else {"initial_weights": self.new_weights(options)}
        return {"next_sentences": options.nsp, **start,
                "vocabulary": training.predictor.tokenizer.vocab_size,
                "rows": {name: len(rows) for name, rows in training.datasets.items()}}

    # ---- the command `evaluate`

    def read_to_score(self, options: Any, predictor: MaskedModel, folder: Path) -> list[Document]:
        reading = RowOptions.row_reading(options)
        documents = list(documents_of([options.data_file], **reading))
        tell_reading(reading, _other_lines(reading, options.data_file), options)
        return documents


def _other_lines(reading: Mapping[str, Any], *files: str | Path) -> int:
    """Return how many lines of files with text were not left out, where some were."""
    bad = reading["bad_rows"]
    return sum(bool(line.strip()) for file in files if bad for line in text_lines(
        find_data(file), reading["encoding"], unclean={})) - len(bad or ())


class Stored(list):
    """The training text of a store: no documents in memory, but a folder of tokens."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = folder


def in_order(dataset: Any) -> Any:
    """Return a loader in which every pass has the same batches and hides the same tokens."""
    return make_loader(dataset, BATCH, shuffle=False, group_by_length=True)


def perplexity(loss: float) -> float:
    """Return exp(loss): among how many equally likely pieces the model is left to guess.

    Examples
    --------
    >>> perplexity(0.0), round(perplexity(math.log(8000)))
    (1.0, 8000)
    """
    return math.exp(min(loss, 700))  # beyond that a float cannot hold it, nor a reader care


def read_text(options: Any, bad_rows: list[BadRow] | None = None
              ) -> tuple[list[Document], list[Document]]:
    """Return the documents to train on, and at most `max_eval_samples`, evenly spread, to measure.

    Whether a document is held out depends on its text, the share and the seed alone: copies of it
    stand on one side, and a resumed run finds the same ones. A store reads its files itself.

    Raises
    ------
    DataError
        If a file cannot be read or is empty, or no document is left for a side.
    """
    part: Any = options.val_size
    train: list[Document] = []
    held: list[Document] = []
    files, held_files = options.sources()
    if held_files is not None:
        part, held = 0.0, list(documents_of(held_files, options.encoding, bad_rows))
    if options.store is not None:
        train = Stored(options.store)
    elif files is None:
        part = HELD_OUT_SOURCES if part is None else part
        for corpus, side in zip(load_corpus().split(part), (train, held), strict=True):
            side.extend(list(document.sentences) for document in corpus.documents)
    else:
        part, salt = HELD_OUT if part is None else part, str(options.seed)
        for document in documents_of(files, options.encoding, bad_rows):
            side = held if held_out("\n".join(document), part, salt) else train
            side.append(document)
    if part and not (train and held):
        raise DataError(f"holding out {part} of {len(train) + len(held)} documents leaves none "
                        f"to {'measure' if train else 'train'} on; give a validation_file or "
                        "another val_size (0 measures nothing)")
    return train, held[::-(-len(held) // options.max_eval_samples) or 1]


def documents_of(files: Iterable[Any], encoding: str = "utf-8",
                 bad_rows: list[BadRow] | None = None) -> Iterator[Document]:
    """Yield the documents of text files; `bad_rows` as in `read_documents`.

    Raises
    ------
    DataError
        If a file is missing or cannot be read, or there is no document in any.
    """
    documents = read_documents(files, encoding, bad_rows)
    first = next(documents, None)
    if first is None:
        left_out = f" ({reading_notes({'bad_rows': bad_rows})})" if bad_rows else ""
        raise DataError(f"{', '.join(map(str, files))}: no text; expected at least one line"
                        + left_out)
    yield first
    yield from documents


def make_tokenizer(options: Any, train: list[Document]) -> Tokenizer:
    """Return the tokenizer that the options name, or one learned from the training text."""
    if options.tokenizer is not None or options.model is not None:
        tokenizer = get_tokenizer(options.tokenizer or options.model, options.download)
    else:
        documents = (documents_of(options.train_file, **options.row_reading())
                     if isinstance(train, Stored) else train)
        tokenizer = train_tokenizer(_beginning(documents), options.vocab_size, 2,
                                    options.do_lower_case, options.strip_accents)
    if options.model is None:
        tokenizer.max_length = options.max_length  # a new model has no more positions
    return tokenizer


def _beginning(documents: Iterable[Document]) -> Iterator[str]:
    """Yield the text of the first documents."""
    seen = 0
    for document in documents:
        if seen >= TEXT_TO_LEARN_FROM:
            return
        yield text_of(document)
        seen += len(text_of(document))


def text_of(document: Document) -> str:
    """Return the text of a document."""
    return " ".join(document)


def fill_store(options: Any, tokenizer: Tokenizer) -> TokenStore:
    """Return the TokenStore of `train_file`: made, completed or only opened."""
    with tqdm(unit="B", unit_scale=True, desc="store",
              disable=None if options.verbosity else True) as bar:
        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        reading = options.row_reading()
        store = build_token_store(options.train_file, tokenizer, options.store,
                                  options.workers, report, **reading)
    bad = reading["bad_rows"] or ()
    write_bad_rows(bad, Path(options.store) / BAD_ROWS)
    warn(reading_notes(reading) + f"; listed in {options.store}" * bool(bad))
    store.rows(tokenizer, row_room(options.max_length, texts=1))  # made here, by one process
    options.say(f"store       {store.documents:,} documents, {store.tokens:,} tokens, "
                f"{options.store}")
    return store


def _check_store(options: Any) -> None:
    """Refuse a store where it has no use."""
    if options.store is None:
        return
    if options.nsp:
        raise ConfigError("nsp and store are both set; a store does not keep sentences apart, so "
                          "expected one of them")
    if options.train_file is None:
        raise ConfigError("a store needs a train_file")
    for name in ("max_train_samples", "overfit_batches", "fast_dev_run"):
        if getattr(options, name):
            raise ConfigError(f"{name} and store are both set; a store is trained on whole, so "
                              "expected one of them")
    if options.validation_file is None and options.val_size != 0:
        raise ConfigError("a store holds nothing out; give a validation_file (or val_size 0 to "
                          "measure nothing)")
    if Path(options.store).resolve().is_relative_to(Path(str(options.output_dir)).resolve()):
        raise ConfigError(f"store {options.store} is in the output_dir {options.output_dir}; "
                          "expected it beside the run, for others to use")
