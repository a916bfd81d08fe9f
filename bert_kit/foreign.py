"""What other programs leave where a model is looked for: named in one line, with what to do.

The kit reads safetensors and what `torch.save` wrote. All else in use is recognised by the names
of its files, none of which is opened.
"""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from bert_kit.errors import BertKitError
from bert_kit.families import bert_class
from bert_kit.files import StrPath, read_json

ADAPTER = "adapter_config.json"
_ADAPTED = {"SEQ_CLS": "ForSequenceClassification", "TOKEN_CLS": "ForTokenClassification",
            "QUESTION_ANS": "ForQuestionAnswering", "FEATURE_EXTRACTION": "ForFeatureExtraction"}
_OTHER_VOCABULARIES = ("sentencepiece.bpe.model", "vocab.json", "spiece.model")
_OTHER_TRAINING = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state).*")


def what_it_is(folder: StrPath, wanted: Sequence[str]) -> str | None:
    """Say what a folder is that holds none of the wanted files, and what to do; None if unknown.

    Parameters
    ----------
    folder
        It exists.
    wanted
        Names of files; weights are spoken of only where weights are among them.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "model.gguf").touch()
    ...     print(what_it_is(folder, ["model.safetensors"]))
    model.gguf is a model for llama.cpp; give the folder of the weights that it was made of
    """
    names = sorted(os.listdir(folder))
    newest = max((int(name[11:]) for name in names if re.fullmatch(r"checkpoint-\d{1,18}", name)
                  and any(os.path.isfile(os.path.join(folder, name, file)) for file in wanted)),
                 default=None)
    if newest is not None:
        return ("holds checkpoints of a training and no model beside them; give the newest, "
                f"{os.path.join(folder, f'checkpoint-{newest}')}")
    older = next((name for name in _OTHER_VOCABULARIES if name in names), None)
    if "tokenizer.json" in wanted and older is not None:
        return (f"{older} is a vocabulary that only transformers reads; make tokenizer.json of it: "
                "python -c \"from transformers import AutoTokenizer as T; "
                f"T.from_pretrained('{folder}').save_pretrained('{folder}')\"")
    if "model.safetensors" not in wanted:
        return None
    for pattern, describe in _KINDS:
        for name in names:
            if re.fullmatch(pattern, name):
                return describe(Path(folder), name)
    inner = sorted({*Path(folder).glob("*/"), *Path(folder).glob("snapshots/*/")})  # of the hub
    for place in inner:
        if any((place / file).is_file() for file in wanted):
            return f"holds no model, but the folder {place.relative_to(folder)} in it does; give it"
    for place in inner:
        for pattern, describe in _KINDS:
            for name in sorted(path.name for path in place.glob("*.*")):
                if describe in _OTHERS and re.fullmatch(pattern, name):
                    return describe(Path(folder), f"{place.relative_to(folder)}/{name}")
    return None


def merge_command(folder: StrPath) -> str:
    """Return the command that puts an adapter into the weights that it belongs to."""
    try:
        kind = _ADAPTED.get(str(read_json(Path(folder) / ADAPTER).get("task_type")), "")
    except BertKitError:
        kind = ""
    return (f'python -c "from peft import AutoPeftModel{kind} as M; '
            f"M.from_pretrained('{folder}').merge_and_unload().save_pretrained('merged')\"")


def _adapter(folder: Path, name: str) -> str:
    return (f"{name} is an adapter (LoRA, PEFT), without the model that it belongs to; merge them "
            f"first: {merge_command(folder)}, and put the tokenizer's files beside")


def _google(folder: Path, name: str) -> str:
    stem = re.sub(r"\.(index|meta|data-.*)$", "", name) if ".ckpt" in name else "bert_model.ckpt"
    return (f"{name} is of a TensorFlow checkpoint as Google published them ({stem}.*); where "
            "tensorflow is installed, convert it in that folder: python -c \"import tensorflow as "
            "tf; from bert_kit.weights import from_google, write_safetensors; "
            f"r = tf.train.load_checkpoint('{stem}'); write_safetensors('model.safetensors', "
            "from_google({n: r.get_tensor(n) for n in r.get_variable_to_shape_map()}))\"")


def _keras(folder: Path, name: str) -> str:
    return f"{name} holds TensorFlow's weights; {_convert(folder, 'tensorflow', 'from_tf')}"


def _flax(folder: Path, name: str) -> str:
    return f"{name} holds Flax's weights; {_convert(folder, 'flax', 'from_flax')}"


def _convert(folder: Path, package: str, option: str) -> str:
    try:
        named = read_json(folder / "config.json").get("architectures")
    except BertKitError:
        named = None
    kind = re.sub(r"^(TF|Flax)", "", str(named[0])) if isinstance(named, list) and named else ""
    known = re.fullmatch(r"Bert[A-Za-z]{1,60}", bert_class(kind))
    kind = kind if known and kind.isascii() and kind.isalpha() else "BertModel"
    return (f"convert them, where transformers<5, {package} and torch are installed: python -c "
            f"\"from transformers import {kind} as M; "
            f"M.from_pretrained('{folder}', {option}=True).save_pretrained('{folder}')\"")


def _made_of(what: str) -> Callable[[Path, str], str]:
    return lambda folder, name: (f"{name} is a model for {what}; give the folder of the weights "
                                 "that it was made of")


def _without_index(folder: Path, name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    return (f"{name} is a part of a model, but {re.sub(r'-[0-9]+-of-[0-9]+$', '', stem)}.{suffix}"
            ".index.json, which lists the parts, is missing; fetch it too")


def _renamed(folder: Path, name: str) -> str:
    if _OTHER_TRAINING.fullmatch(name):
        return f"{name} is of a training, but the model's weights are not here; fetch them too"
    new = "model.safetensors" if name.endswith(".safetensors") else "pytorch_model.bin"
    return f"{name} has another name than the kit looks for; call it {new} if it is the model"


_OTHERS = tuple(map(_made_of, ("llama.cpp", "ONNX Runtime", "OpenVINO", "another program")))

_KINDS: tuple[tuple[str, Callable[[Path, str], str]], ...] = (  # the first that fits
    (r"adapter_(config\.json|model\..+)", _adapter),
    (r".*\.ckpt(-\d+)?\.(index|meta|data-.*)", _google),
    (r"bert_config\.json", _google),
    (r"tf_model.*\.h5|.*\.h5|saved_model\.pb", _keras),
    (r"flax_model.*\.msgpack", _flax),
    (r".*-\d+-of-\d+\.(safetensors|bin)", _without_index),
    (r".*\.(safetensors|bin|pt|pth|ckpt)", _renamed),
    (r".*\.gguf", _OTHERS[0]),
    (r".*\.onnx", _OTHERS[1]),
    (r"openvino_model.*", _OTHERS[2]),
    (r".*\.(ot|mlpackage|mlmodel|tflite)", _OTHERS[3]),
)
