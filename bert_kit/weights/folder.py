"""Model folders, as the Hugging Face library has them: config.json, model.safetensors, vocabulary.

A folder that the kit saves opens there under the class of the same task, and the other way
round. Values are copied into the parameters of a built model, so tied parameters stay tied and
keep their type.
"""

import reprlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from bert_kit.config import BertConfig
from bert_kit.errors import WeightsError
from bert_kit.families import FAMILIES, OWN_FAMILY, OWN_TYPE, family_names
from bert_kit.files import StrPath, write_json
from bert_kit.lookup import find_folder
from bert_kit.printing import spelled_out
from bert_kit.weights.names import (from_family, hugging_face_name, is_published, standard_names,
                                    to_family, to_hugging_face)
from bert_kit.weights.readers import WEIGHT_FILES, read_weights
from bert_kit.weights.safetensors import read_safetensors, write_safetensors

Tensors = dict[str, Tensor]
Model = TypeVar("Model", bound=nn.Module)


class Saves(Protocol):
    """What writes its files into a folder, as a tokenizer does."""

    def save(self, folder: Path, /) -> object: ...


# What config.json calls a class of BERT; a class that is not here keeps its own name.
ARCHITECTURES = {
    "BERTForMultiLabel": "BertForSequenceClassification",  # there problem_type tells them apart
    **{f"BERT{task}": f"Bert{task}" for task in (
        "Model", "ForPreTraining", "ForMaskedLM", "ForNextSentencePrediction",
        "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")}}
# The library has no such classes but for BERT.
_ONLY_BERT = ("BertForPreTraining", "BertForNextSentencePrediction")
FREE = 2**24  # numbers that a model may have beyond its file: 64 MB
ReadWeights = Callable[[Path], tuple[Path, Tensors]]


def save_pretrained(model: nn.Module, folder: StrPath, tokenizer: Saves | None = None) -> None:
    """Save a model as a folder that this kit and the Hugging Face library read.

    Its names are those of the model's family, `config.model_type`. The library reads no more of a
    folder than its classes have: a head that it lacks it would fill at random, and answer. Of such
    a model config.json has a `model_type` that it refuses, and the family as `encoder_type`.

    Each file is replaced atomically, and only the files named here; config.json comes last, so a
    new folder that has it is complete.

    Parameters
    ----------
    model
        With a `config`. A tied parameter is stored once, under its first name.
    folder
        Made if it does not exist.
    tokenizer
        Saved into the same folder.

    Raises
    ------
    BertKitError
        If the folder is a file, a file in it is a link, or a tensor cannot be stored.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise WeightsError(f"{folder}: is a file; expected a folder")
    config, (tensors, _) = config_of(model), _own_tensors(model)
    write_safetensors(folder / "model.safetensors", to_family(tensors, config.model_type))
    if tokenizer is not None:
        tokenizer.save(folder)
    # Said anew: what the source of a loaded model said of its own file may not hold for this one.
    ours = bool(config.classifier) or not all(
        is_published(name, config.model_type) for name in tensors)
    own = type(model).__name__
    about = {"architectures": [own if ours else _architecture(own, config)],
             **({"model_type": OWN_TYPE} if ours else {}),
             **({OWN_FAMILY: config.model_type} if ours and config.model_type != "bert" else {}),
             "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
             "tie_word_embeddings": True}
    values = {key: value for key, value in config.to_dict().items()
              if key not in about and key != "torch_dtype"}
    write_json(folder / "config.json", {**about, **values})


def _architecture(own: str, config: BertConfig) -> str:
    """Return the library's name for a class of the kit, or its own where there is none."""
    theirs = ARCHITECTURES.get(own, own)
    if theirs == own or config.model_type != "bert" and theirs in _ONLY_BERT:
        return own
    return FAMILIES[config.model_type].classes + theirs.removeprefix("Bert")


def load_pretrained(task_class: Callable[[BertConfig], Model], name_or_folder: StrPath,
                    num_labels: int | None = None, *, download: bool = False,
                    strict: bool = False, report: Callable[[str], object] = print,
                    read: ReadWeights = read_weights,
                    **config_overrides: Any) -> Model:
    """Build a model and fill it from a model folder, whichever task the folder was saved for.

    Prints one line each for the parameters that the folder lacks (they keep their fresh initial
    values) and for the tensors that the model has no place for; nothing when all match.

    Parameters
    ----------
    task_class
        For instance BERTForSequenceClassification.
    name_or_folder
        See `bert_kit.lookup.find_folder` for the places.
    num_labels
        Number of classes. A stored head of another number is then left out.
    download
        Allow the Hugging Face hub to be asked. Off by default.
    strict
        Refuse a folder that lacks a parameter.
    report
        Gets each of those lines.
    read
        As `read_weights`; one that remembers what it read serves many models from a folder.
    **config_overrides
        Fields of BertConfig; another `classifier` or other `labels` leave out the stored head.

    Returns
    -------
    The model in evaluation mode, on the CPU, in the parameters' own type.

    Raises
    ------
    BertKitError
        If there is no such folder, or a tensor in it is damaged, not finite or of another shape.
    """
    folder = find_folder(name_or_folder, WEIGHT_FILES, download)
    stored = BertConfig.load(folder)
    config = stored.replace(num_labels=num_labels, **config_overrides)
    path, tensors = read(folder)
    _check_sizes(standard_names(tensors), stored, config, path)
    targets, aliases = _own_tensors(model := task_class(config))
    prefixed = any(name.startswith("bert.") for name in targets)
    found = standard_names(tensors, prefixed)
    if prefixed:
        found = _for_this_task(found, targets, stored, config)
    missing = [name for name in targets if name not in found]
    if strict and missing:
        raise WeightsError(f"{path}: {_lack(missing, targets, found, folder)}; expected a "
                           f"trained {getattr(task_class, '__name__', task_class)}")
    _fill(targets, found, path)
    _drop_aliases(found, aliases, path, report)
    unused = [name for name in found if name not in targets]
    for what, names in (("newly initialised", missing), ("not used", unused)):
        if names:
            report(spelled_out(f"{path}: {what}: "
                               f"{_listed(family_names(names, config.model_type))}"))
    return model.eval()


def load_weights(model: nn.Module, folder: StrPath) -> None:
    """Fill a model, in place, with exactly the weights that `save_pretrained` stored of it.

    Raises
    ------
    WeightsError
        If a tensor is missing, left over or of another shape or type. The model is then
        unchanged.
    """
    path = Path(folder) / "model.safetensors"
    found = from_family(read_safetensors(path), config_of(model).model_type)
    targets, _ = _own_tensors(model)
    for problem, names in (("is missing", targets.keys() - found.keys()),
                           ("has no place in the model", found.keys() - targets.keys())):
        if names:
            more = f" ({len(names)} in all)" if len(names) > 1 else ""
            raise WeightsError(f"{path}: {min(names)} {problem}{more}")
    for name, target in targets.items():
        if found[name].dtype != target.dtype:
            raise WeightsError(f"{path}: {name} is {found[name].dtype}; "
                               f"the model's is {target.dtype}")
    _fill(targets, found, path)


def config_of(model: nn.Module) -> BertConfig:
    """Return the configuration that every model of the kit has."""
    return model.config  # pyright: ignore[reportReturnType]  torch takes it for a Tensor


def _check_sizes(found: Tensors, stored: BertConfig, config: BertConfig, path: Path) -> None:
    """Compare the sizes that config.json claims with the encoder's tensors.

    It comes before a model is built: what is claimed may be more than any machine has.
    """
    word = "bert.embeddings.word_embeddings.weight"
    if word not in found:
        raise WeightsError(f"{path}: holds no encoder of BERT (first tensor: "
                           f"{reprlib.repr(next(iter(found), 'none'))})")
    rows = {word: config.vocab_size,
            "bert.embeddings.position_embeddings.weight": (config.position_offset
                                                           + config.max_position_embeddings)}
    for layer in range(min(stored.num_hidden_layers, config.num_hidden_layers)):
        rows[f"bert.encoder.layer.{layer}.intermediate.dense.weight"] = config.intermediate_size
    for name, count in rows.items():
        if name not in found:
            raise WeightsError(f"{path}: lacks {name}, which config.json describes")
        _check_shape(name, found[name], (count, config.hidden_size), path)
    _check_amount(found, stored, config, path)


def _check_amount(found: Tensors, stored: BertConfig, config: BertConfig, path: Path) -> None:
    """Compare how many numbers config.json asks for with how many the file holds.

    Tensors of a single row can agree with a width whose matrices no machine has room for. What a
    file may lack, such as a pooler, is less than it holds, or little.
    """
    width, inner = config.hidden_size, config.intermediate_size
    layers = min(stored.num_hidden_layers, config.num_hidden_layers)
    labels = stored.num_labels if stored.num_labels == config.num_labels else 0
    rows = (config.vocab_size + config.max_position_embeddings + config.type_vocab_size
            + width + labels)  # the pooler is (D, D)
    asked = width * rows + layers * width * (4 * width + 2 * inner)
    memory = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
              for tensor in found.values()}  # many tensors can be views of the same few bytes
    held = min(sum(tensor.numel() for tensor in found.values()), sum(memory.values()))
    if asked > 2 * held + FREE:
        raise WeightsError(f"{path}: holds {held:,} numbers; config.json (hidden_size {width}, "
                           f"{layers} layers, {labels} labels) asks for {asked:,}; expected the "
                           "config.json of these weights")


def _check_shape(name: str, tensor: Tensor, expected: tuple[int, ...], path: Path) -> None:
    if tensor.shape != expected:
        raise WeightsError(f"{path}: {name} has shape {tuple(tensor.shape)}; "
                           f"the model's has {tuple(expected)}")


@torch.no_grad()
def _own_tensors(model: nn.Module) -> tuple[Tensors, dict[str, str]]:
    """Return the model's tensors by Hugging Face name, and {second name: first name} of the tied.

    The tensors are the model's own memory: writing into them fills the model.
    """
    first, own, aliases = {}, {}, {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) in first:
            aliases[hugging_face_name(name)] = hugging_face_name(first[id(tensor)])
        else:
            first[id(tensor)], own[name] = name, tensor
    targets = to_hugging_face(own)
    if "cls.predictions.bias" in targets:  # the decoder: some files hold these two twice
        aliases["cls.predictions.decoder.weight"] = "bert.embeddings.word_embeddings.weight"
        aliases["cls.predictions.decoder.bias"] = "cls.predictions.bias"
    return targets, aliases


@torch.no_grad()
def _fill(targets: Tensors, found: Tensors, path: Path) -> None:
    """Copy the tensors with the same name; all are checked before the first is copied."""
    shared = [name for name in targets if name in found]
    for name in shared:
        _check_shape(name, found[name], targets[name].shape, path)
        if targets[name].is_floating_point() != found[name].is_floating_point():
            raise WeightsError(f"{path}: {name} is {found[name].dtype}; "
                               f"the model's is {targets[name].dtype}")
        if not _is_finite(found[name].to(targets[name].dtype)):
            raise WeightsError(f"{path}: {name} holds numbers that are not finite; expected the "
                               "weights of a training that has not diverged, undamaged")
    for name in shared:
        targets[name].copy_(found[name])


def _is_finite(tensor: Tensor) -> bool:
    """Say whether all numbers are finite. So is their sum, unless it is too large: one pass."""
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def _drop_aliases(found: Tensors, aliases: Mapping[str, str], path: Path,
                  report: Callable[[str], object]) -> None:
    """Leave out the second name of a tied tensor, which must hold what the first does."""
    for alias, first in aliases.items():
        if alias in found and first in found:
            second = found.pop(alias)
            if second.dtype != found[first].dtype or not torch.equal(second, found[first]):
                report(spelled_out(f"{path}: {alias} differs from {first}; the model has one "
                                   "tensor for both and takes the latter"))


def _for_this_task(found: Tensors, targets: Tensors, stored: BertConfig,
                   config: BertConfig) -> Tensors:
    """Leave out the heads of a file that are of another kind, or for other classes.

    A standard head for the same classes in another order is put into that order.
    """
    if config.classifier != stored.classifier:
        found = _without_heads(found, targets, {"classifier"})
    if config.num_labels != stored.num_labels:
        found = _without_heads(found, targets, _misfits(found, targets))
    elif config.labels != stored.labels and config.num_labels > 1:  # one number has any name
        rows = [name for name in ("classifier.weight", "classifier.bias")
                if name in found and name in targets]
        if len(rows) < 2 or {*config.labels} != {*stored.labels} or _misfits(found, targets):
            return _without_heads(found, targets, {"classifier"})
        order = [stored.labels.index(name) for name in config.labels]
        found |= {name: found[name][order] for name in rows}
    return found


def _misfits(found: Tensors, targets: Tensors) -> set[str]:
    """Return the heads that have a tensor of another shape in the file than in the model."""
    return {name.split(".")[0] for name in targets.keys() & found.keys()
            if targets[name].shape != found[name].shape} - {"bert", "cls"}


def _without_heads(found: Tensors, targets: Tensors, heads: set[str]) -> Tensors:
    """Leave out what these heads would fill; the rest of them is reported as not used."""
    return {name: tensor for name, tensor in found.items()
            if name not in targets or name.split(".")[0] not in heads}


def _lack(missing: Sequence[str], targets: Tensors, found: Tensors, folder: Path) -> str:
    """Return what a folder lacks, in words; without any head it was pre-trained only."""
    heads = [name for name in targets if not name.startswith("bert.")]
    others = [name for name in found if name not in targets
              and not name.startswith(("bert.", "cls."))]
    whole = len(heads) == len(targets)  # a bare encoder
    if whole or not heads or others or any(name in found for name in heads):
        return f"lacks {missing[-1]} (of {len(missing)} missing)" + (
            f" and holds {others[0]}" if others and not whole else "")
    return (f"was pre-trained only, and lacks {heads[-1]} (of {len(missing)} missing); train it "
            f"first (bert-kit train --model {folder}, with rows and their answers)")


def _listed(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
