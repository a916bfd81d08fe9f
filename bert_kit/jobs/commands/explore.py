"""The command `explore`: what happens inside a model as it reads one text, on a page.

Attention of every head and the products of queries and keys that it comes from, how alike the
tokens' vectors are after every layer, what the model would put in masked places, and what a
classifier's answer comes from.
"""

import base64
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_kit.config import BertConfig
from bert_kit.errors import ConfigError, DataError, UsageError, WeightsError
from bert_kit.files import atomic_file
from bert_kit.jobs.commands.predict import text_columns
from bert_kit.jobs.options.declare import option
from bert_kit.jobs.options.groups import OwnTaskOptions
from bert_kit.jobs.run.predictor import check_pieces, warn
from bert_kit.jobs.tasks.table import task_named, text_task
from bert_kit.jobs.tasks.tags import tell_guessed_scheme
from bert_kit.lookup import find_folder
from bert_kit.printing import show
from bert_kit.model import BERTForMaskedLM, TransformerEncoderBlock, encoder_without_pooler
from bert_kit.tokenization import Tokenizer, get_tokenizer
from bert_kit.tokenization.encoding import Encoding
from bert_kit.weights import WEIGHT_FILES, load_pretrained, read_weights

PAGE = Path(__file__).with_suffix(".html")
MOST_TOKENS = 64  # a page grows with their square: 8 MB for BERT-base
GUESSES, CLASSES = 5, 10  # shown for a masked place, and of a classifier


@dataclass(frozen=True)
class ExploreOptions(OwnTaskOptions):
    """Which text to look at, and in which model."""

    title: ClassVar[str] = "page"
    examples = ('bert-kit explore --model runs/pretrained --text "The river runs to the [MASK]."',)

    model: str = option(None, "folder or name of a model")
    text: str = option(None, "text to read; [MASK] in it is a masked place", may_be_empty=True)
    text_b: str | None = option(None, "the second text of a pair", may_be_empty=True)
    mask: bool = option(False, "let every token be guessed in turn")
    output_file: str = option("exploration.html", "page to write")
    download: bool = option(False, "allow the Hugging Face hub to be asked")

    def __post_init__(self) -> None:
        for name in ("model", "text"):
            if getattr(self, name) is None:
                raise UsageError(f"{name} is missing; expected a model and a text")
        super().__post_init__()


def run(options: ExploreOptions) -> None:
    """Write a page on what a model does with a text, and say so."""
    values = options.to_dict()
    own = values.pop("task")
    if own is not None:
        task_named(own)  # its code is imported, so that the model finds it
    show(f"{explore(**values)} tokens: {options.output_file}")


def explore(model: str | Path, text: str, text_b: str | None = None, mask: bool = False,
            output_file: str | Path = "exploration.html", download: bool = False) -> int:
    """Write a page on what a model does with a text, and return the number of tokens S.

    Parameters
    ----------
    model
        Folder or name of a model. What it was saved for decides what there is to see: masked
        places need a masked-token head, probabilities and attributions a classifier.
    text, text_b
        A text, or a pair. With a masked-token head, "[MASK]" in it is a masked place, or
        whatever the tokenizer calls it.
    mask
        Also mask every token in turn.
    output_file
        HTML, one file that needs no other and no network.
    download
        Allow the Hugging Face hub to be asked.

    Raises
    ------
    BertKitError
        If the folder cannot be used, or the text is empty or of more than 64 tokens.
    """
    for name, value in (("text", text), ("text_b", text_b)):
        if value is not None and not value.strip():
            raise DataError(f"{name} is empty; expected at least one word")
    folder = find_folder(model, WEIGHT_FILES, download)
    tokenizer = get_tokenizer(folder)
    check_pieces(tokenizer, BertConfig.load(folder), folder)
    network = _load(folder)
    fills_in = isinstance(network, BERTForMaskedLM)
    if mask and not fills_in:
        raise ConfigError(f"{model}: holds no masked-token head to fill places in; leave mask out")
    if hasattr(network, "classifier") and text_b is None and len(text_columns(folder)) > 1:
        raise ConfigError(f"{model}: was trained on pairs; give the second text too (text_b)")
    if fills_in:  # a RoBERTa calls it <mask>
        mask_token = tokenizer.special_tokens["mask"]
        text = text.replace("[MASK]", mask_token)
        text_b = None if text_b is None else text_b.replace("[MASK]", mask_token)
    # Only there is "[MASK]" a request; to a classifier it is text, as when it predicts.
    row = tokenizer.encode(text, text_b, sys.maxsize, allow_special_tokens=fills_in)
    most = min(MOST_TOKENS, network.config.max_position_embeddings,
               tokenizer.max_length or MOST_TOKENS)
    if len(row.ids) > most:
        raise DataError(f"the text has {len(row.ids)} tokens; expected at most {most}")
    with torch.no_grad():
        found = {"model": str(model), "texts": [text] if text_b is None else [text, text_b],
                 "tokens": _tokens(row, tokenizer, (text, text_b)), "segments": row.type_ids,
                 **_inside(getattr(network, "bert", network), row),
                 "masked": fill_in(network, row, tokenizer, mask) if fills_in else []}
    if hasattr(network, "classifier"):
        found["answer"] = _answer(network, row)
    _write(found, output_file, model)
    return len(row.ids)


def _load(folder: Path) -> Any:
    """Return the model of a folder with the head that the page can say something of, if any.

    It runs the formulas, which keep tokens in their places; one text has no need for speed.
    """
    config, found = BertConfig.load(folder), read_weights(folder)
    tags = "TokenClassification" in str(config.extra.get("architectures"))
    if tags:
        tell_guessed_scheme(config)
    task_class = encoder_without_pooler
    if any(name.startswith("cls.predictions.transform.") for name in found[1]):
        task_class = BERTForMaskedLM
    elif any(name.startswith("classifier.") for name in found[1]) and not tags:
        task_class = text_task(config).head_class
    return load_pretrained(task_class, folder, strict=True, read=lambda _: found, fused=False,
                           report=warn)


def _tokens(row: Encoding, tokenizer: Tokenizer,
            texts: Sequence[str | None]) -> list[str]:
    """Return the pieces of a row, and with an unknown one the characters that it stands for."""
    texts, second = [text or "" for text in texts], row.ids.index(tokenizer.sep_id)
    return [piece if number != tokenizer.unk_id else (
                f"{piece} {texts[place > second][slice(*span)]}")
            for place, (piece, number, span) in enumerate(zip(
                tokenizer.tokens(row.ids), row.ids, row.offsets, strict=True))]


def _inside(encoder: Any, row: Encoding) -> dict[str, Any]:
    """Return attention (L, H, S, S) and the cosines of hidden states (L + 1, S, S), as lists.

    And `products`: the queries and keys that attention is made of, see `_packed`.
    """
    projected: list[Tensor] = []
    blocks: list[TransformerEncoderBlock] = list(encoder.blocks)
    hooks = [block.attention.qkv.register_forward_hook(
        lambda module, inputs, output: projected.append(output[0])) for block in blocks]
    try:
        encoded = encoder(torch.tensor([row.ids]), None, torch.tensor([row.type_ids]),
                          output_attentions=True, output_hidden_states=True)
    finally:
        for hook in hooks:
            hook.remove()
    heads, width = blocks[0].attention.heads, blocks[0].attention.head_size
    qkv = torch.stack(projected).unflatten(-1, (3, heads, width))  # L x (S, 3D) -> (L, S, 3, H, W)
    queries, keys = qkv.permute(2, 0, 3, 1, 4)[:2]  # -> 2 x (L, H, S, W)
    hidden = F.normalize(torch.cat(encoded.hidden_states), dim=-1)  # (L + 1, S, D)
    return {"attention": _rounded(torch.cat(encoded.attentions)),
            "similarity": _rounded(hidden @ hidden.transpose(1, 2)),
            "products": {"width": width, "queries": _packed(queries), "keys": _packed(keys)}}


def _packed(vectors: Tensor) -> dict[str, Any]:
    """Return (L, H, S, W) as 16-bit whole numbers in base64, lowest byte first, and their unit.

    A head has a unit of its own (L, H), and its largest number is 32,767 of them. As decimals the
    page of bert-base would be three times as large.
    """
    units = vectors.double().abs().amax((2, 3)) / 32_767  # (L, H, S, W) -> (L, H)
    # What is not finite is refused with the units; here it would only be no whole number.
    counts = (vectors / units.clamp(min=1e-300)[..., None, None]).nan_to_num(0, 0, 0).round()
    stored = base64.b64encode(counts.numpy().astype("<i2").tobytes())
    return {"units": units.tolist(), "counts": stored.decode("ascii")}


def fill_in(model: BERTForMaskedLM, row: Encoding, tokenizer: Tokenizer,
            each: bool = False) -> list[dict[str, Any]]:
    """Return what a model would put in the masked places of a row, as a list of dicts.

    Parameters
    ----------
    each
        Besides the [MASK] tokens in the row, mask every other piece in turn, one at a time.

    Returns
    -------
    list of dict
        `place`; `guesses`, the five likeliest pieces with their probabilities; and of a piece that
        was there, `rank` (1 is the likeliest) and `probability`.
    """
    places = [place for place, piece in enumerate(row.ids) if piece == tokenizer.mask_id
              or each and piece not in tokenizer.special_ids]
    if not places:
        return []
    ids, types = (torch.tensor([values] * len(places)) for values in (row.ids, row.type_ids))
    rows, where = torch.arange(len(places)), torch.tensor(places)
    ids[rows, where] = tokenizer.mask_id  # a row a place
    shares = model(ids, None, types, positions=rows * ids.shape[1] + where).softmax(-1)  # (M, V)
    # Weights may have more rows than the vocabulary has pieces.
    best, pieces = shares[:, :tokenizer.vocab_size].topk(min(GUESSES, tokenizer.vocab_size))
    found = []
    for number, place in enumerate(places):
        found.append({"place": place, "guesses": list(zip(
            tokenizer.tokens(pieces[number].tolist()), _rounded(best[number]), strict=True))})
        if row.ids[place] != tokenizer.mask_id:
            own = shares[number, row.ids[place]]
            found[-1] |= {"rank": 1 + (shares[number] > own).sum().item(),
                          "probability": _rounded(own)}
    return found


def attributions(model: Any, input_ids: Tensor,
                 token_type_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits (1, C) of a classifier, and what each token adds to the highest (S).

    That is gradient times input on the word embeddings, summed over their width: to first order,
    how the logit would fall if the token's word vector shrank to nothing (Simonyan et al. 2014;
    Denil et al. 2014).
    """
    kept = []

    def keep(module: nn.Module, arguments: Any, vectors: Tensor) -> Tensor:  # (1, S, D)
        kept.append(vectors.detach().requires_grad_())
        return kept[0]

    hook = model.bert.embeddings.word.register_forward_hook(keep)
    try:
        logits = model(input_ids, None, token_type_ids)
    finally:
        hook.remove()
    gradient, = torch.autograd.grad(logits.max(), kept)
    return logits.detach(), (gradient * kept[0].detach()).sum(-1)[0]  # (1, S, D) -> (S,)


def _answer(model: Any, row: Encoding) -> dict[str, Any]:
    """Return what a classifier says of a row, and what that comes from."""
    logits, added = attributions(model, torch.tensor([row.ids]), torch.tensor([row.type_ids]))
    task, labels = text_task(model.config), model.config.labels
    prediction, = task.names(logits, model.config)
    shares = None
    with contextlib.suppress(ConfigError):  # a model of numbers has none
        shares = task.probabilities(logits)
    if isinstance(prediction, tuple):
        prediction = ", ".join(prediction) or "none of the labels"
    ranked = [] if shares is None else sorted(zip(labels, shares[0], strict=True),
                                              key=lambda pair: -pair[1])
    return {"prediction": prediction if shares is not None else f"{prediction:.4g}",
            "probabilities": [(name, round(share, 4)) for name, share in ranked[:CLASSES]],
            "classes": len(labels), "explained": labels[logits.argmax()],
            "attributions": [float(f"{number:.4g}") for number in added.tolist()]}


def _rounded(numbers: Tensor) -> Any:
    return numbers.double().round(decimals=4).tolist()


def _write(found: dict[str, Any], output_file: str | Path, model: str | Path) -> None:
    try:
        data = json.dumps(found, allow_nan=False, separators=(",", ":"))
    except ValueError:
        raise WeightsError(f"{model}: the model's numbers are not finite; expected weights that "
                           "were trained") from None
    # JSON in a script element: no text in it may end the element. All the rest is ASCII already.
    data = data.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")
    with atomic_file(output_file) as temporary:
        temporary.write_text(PAGE.read_text("utf-8").replace("@DATA@", data), "utf-8")
