"""The command `export`: a model as an ONNX file, for programs that have no torch.

The file holds what the model computes of rows of ids. Beside it go the tokenizer that makes such
rows and config.json with the names of labels and what else the answers need.
"""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from tokenizers import processors
from torch import Tensor, nn

from bert_kit.errors import ConfigError, UsageError, machine_fault
from bert_kit.files import atomic_file, write_json
from bert_kit.jobs.options.declare import option
from bert_kit.jobs.options.groups import OwnTaskOptions
from bert_kit.jobs.run.predictor import TrainedModel, warn
from bert_kit.jobs.tasks.similarity import SentenceEncoder
from bert_kit.jobs.tasks.table import task_named, task_of_folder
from bert_kit.lookup import find_folder
from bert_kit.model import BERTModel, PreTrainingOutput
from bert_kit.modes import evaluation_mode
from bert_kit.printing import one_line, show
from bert_kit.tokenization import Tokenizer
from bert_kit.training import ALONE
from bert_kit.weights import WEIGHT_FILES

NEEDED = ("onnx", "onnxscript")  # by torch's exporter
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
BESIDE = ("config.json", "tokenizer.json", "vocab.txt", "tokenizer_config.json",
          "special_tokens_map.json")  # what is written beside the ONNX file
ROWS, LENGTH = 2, 7  # of the example that the exporter follows; neither stays in the file
# A share of the larger of a number and 1: a hundred times what rounding does, a fifth of what the
# other GELU would.
TOLERANCE = 1e-4
Inputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class ExportOptions(OwnTaskOptions):
    """Which model to write, and where to."""

    title: ClassVar[str] = "model"
    examples = ("bert-kit export --model runs/standard --output_file served/model.onnx",)
    main = ("model", "output_file")

    model: str = option(None, "folder or name of a model")
    output_file: str = option(None, ".onnx to write; the tokenizer and config.json, with the "
                              "labels, go into the same folder")
    pooling: str | None = option(None, "how token vectors become one, for the vectors of a BERT "
                                 "whose folder does not say", choices=("cls", "mean", "max"))
    download: bool = option(False, "allow the Hugging Face hub to be asked")

    def __post_init__(self) -> None:
        for name in ("model", "output_file"):
            if getattr(self, name) is None:
                raise UsageError(f"{name} is missing; expected a model and an output_file")
        super().__post_init__()
        if not self.output_file.endswith(".onnx"):
            raise ConfigError(f"{self.output_file}: expected a name that ends in .onnx")


def run(options: ExportOptions) -> str:
    """Write a model as an ONNX file and say in a line what is in it; return the line.

    Raises
    ------
    BertKitError
        If onnx or onnxscript is not installed, the folder of the output holds one of the files
        already, the exporter cannot follow the model, or ONNX Runtime, where it is installed,
        computes something else than the kit.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ConfigError(f"export needs the package {' and '.join(missing)}; install what it "
                          "needs with pip install -e '.[onnx]'")
    target = Path(options.output_file)
    for path in (target, *(target.with_name(name) for name in BESIDE)):
        if path.exists():
            raise ConfigError(f"{path}: is there already; expected an output_file in a folder "
                              "that is new or holds other files")
    model = _load(options)
    _check_prompts(model)
    network = exported_network(model)
    with atomic_file(target) as temporary:
        with quiet_exporter():
            program = _to_onnx(network, model, options.model)
            program.save(temporary, external_data=False)
        checked = _checked(temporary, model, target)
        served_tokenizer(model.tokenizer, model.max_length).save(target.parent)
        config = model.config.replace(extra={**model.config.extra, **_more(model)})
        write_json(target.with_name("config.json"), config.to_dict())
    graph = program.model.graph
    line = (f"{target}: {', '.join(map(_shape, graph.inputs))} -> "
            f"{', '.join(map(_shape, graph.outputs))}, rows of up to {model.max_length} tokens; "
            f"{checked}; tokenizer.json and config.json"
            f"{', with the labels,' * (model.command in ('predict', 'tag'))} stand beside it")
    show(line)
    if model.config.window_stride or model.command in ("tag", "answer"):
        warn("note: the kit reads a longer text in windows; here it is cut off, unless the caller "
             "cuts it")
    return line


def _load(options: ExportOptions) -> Any:
    """Return the predictor of a folder, on the CPU."""
    folder = find_folder(options.model, (*WEIGHT_FILES, "modules.json"), options.download)
    if options.pooling is not None:
        return SentenceEncoder(folder, device="cpu", pooling=options.pooling)
    task = task_of_folder(folder) if options.task is None else task_named(options.task)
    return task.load(folder, "cpu", ALONE)


def _check_prompts(model: TrainedModel) -> None:
    """Refuse a sentence encoder that does not pool its prompts: ids do not say where they end."""
    if (isinstance(model, SentenceEncoder) and not model.layout.pools_prompt
            and any(dict(model.layout.prompts).values())):
        raise ConfigError("include_prompt is false, so the tokens of a prompt are not pooled; the "
                          "exported program would pool all, and give other vectors")


class SentenceVectors(nn.Module):
    """An encoder with the pooling of a sentence encoder: rows of ids in, vectors out."""

    def __init__(self, encoder: nn.Module, pool: Callable[[Any, Any], Tensor]) -> None:
        super().__init__()
        self.encoder, self.pool = encoder, pool

    def forward(self, input_ids: Tensor, attention_mask: Tensor,
                token_type_ids: Tensor) -> Tensor:
        """(B, S), three times -> (B, D)."""
        return self.pool(self.encoder, {"input_ids": input_ids, "attention_mask": attention_mask,
                                        "token_type_ids": token_type_ids})


def exported_network(model: TrainedModel) -> nn.Module:
    """Return a copy of what a predictor runs on rows of ids, by the formulas (`fused=False`)."""
    own, config = model.model, model.config.replace(fused=False)
    network = (BERTModel(config, own.pooler is not None) if isinstance(own, BERTModel)
               else type(own)(config))
    network.load_state_dict(own.state_dict())
    if isinstance(model, SentenceEncoder):
        network = SentenceVectors(network, model.pool)
    return network.eval()


def _outputs(model: TrainedModel) -> tuple[str, ...]:
    """Return the names of what a model says of rows."""
    if isinstance(model, SentenceEncoder):
        return ("vectors",)
    pairs = getattr(model.model, "nsp_head", None) is not None
    return PreTrainingOutput._fields if pairs else ("logits",)


def _rows(model: TrainedModel, rows: int, length: int) -> dict[str, Tensor]:
    """Return random rows (B, S) of ragged length, as inputs; the first is full."""
    draw, config = torch.Generator().manual_seed(rows), model.config
    sizes = torch.randint(1, length + 1, (rows, 1), generator=draw)
    sizes[0] = length
    mask = (torch.arange(length) < sizes).long()
    ids, types = (torch.randint(count, (rows, length), generator=draw) * mask
                  for count in (config.vocab_size, max(1, config.type_vocab_size)))
    return dict(zip(INPUTS, (ids, mask, types), strict=True))


def _to_onnx(network: nn.Module, model: TrainedModel, name: str) -> Any:
    """Return the program that torch's exporter makes of a network, without traces of this machine.

    Raises
    ------
    ConfigError
        If the exporter cannot follow the network.
    """
    example = _rows(model, ROWS, min(LENGTH, model.config.max_position_embeddings))
    try:
        program: Any = torch.onnx.export(
            network, (), kwargs=example, output_names=list(_outputs(model)), dynamo=True,
            dynamic_shapes={name: {0: "batch", 1: "length"} for name in INPUTS}, verbose=False,
            external_data=False)
    except Exception as error:  # whatever the exporter meets; its own words fill a screen
        if machine_fault(error) is not None:
            raise
        reason = f"{type(error.__cause__ or error).__name__}: {error.__cause__ or error}"
        raise ConfigError(f"{name}: torch.onnx cannot export the model ({one_line(reason, 300)})"
                          ) from None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # where in which file each line of the model stood
    return program


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keep what torch's exporter tells its own developers off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _checked(path: Path, model: TrainedModel, target: Path) -> str:
    """Compare a file with the kit, where ONNX Runtime is installed; return what was found.

    Raises
    ------
    ConfigError
        If a number differs by more than `TOLERANCE`.
    """
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]
    except ImportError:
        return "not checked, for lack of the package onnxruntime"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    longest, differences = min(40, model.max_length), []
    for rows, length in ((1, 1), (5, longest), (3, max(1, longest // 2))):
        inputs = _rows(model, rows, length)
        found = session.run(None, {name: part.numpy() for name, part in inputs.items()})
        for one, other in zip(found, _answers(model, inputs), strict=True):
            size = np.maximum(1, np.abs(other))
            differences.append(np.abs(one / size - other / size).max())
    worst = np.max(differences)  # one that is no number stays none
    if not worst <= TOLERANCE:
        raise ConfigError(f"{target}: ONNX Runtime {onnxruntime.__version__} computes something "
                          f"else than the kit, by {worst:.2g}; nothing was written")
    return f"ONNX Runtime {onnxruntime.__version__} gives the kit's numbers to {worst:.1g}"


def _answers(model: TrainedModel, inputs: Inputs) -> list[np.ndarray]:
    """Return what the kit says of rows, by its own way."""
    with evaluation_mode(model.model):
        answer = (model.pool(model.model, inputs) if isinstance(model, SentenceEncoder)
                  else model.model(**inputs))
    return [part.numpy() for part in (answer if isinstance(answer, tuple) else (answer,))]


def _shape(value: Any) -> str:
    """Return name and shape of an input or output of a program, in words."""
    return f"{value.name} ({', '.join(str(getattr(size, 'value', size)) for size in value.shape)})"


def _more(model: TrainedModel) -> dict[str, Any]:
    """Return what config.json has to say besides, where rows are made of texts elsewhere."""
    if not isinstance(model, SentenceEncoder):
        return {}
    layout = model.layout
    prompts = {"query_prompt": layout.query_prompt, "document_prompt": layout.document_prompt,
               "default_prompt": layout.prompt(layout.default_prompt)}
    return {name: prompt for name, prompt in prompts.items() if prompt}


def served_tokenizer(tokenizer: Tokenizer, max_length: int) -> Tokenizer:
    """Return a tokenizer whose tokenizer.json also says how rows are cut off, padded and joined.

    For programs that read only that file.
    """
    served = copy.deepcopy(tokenizer)
    # Added tokens stay whole in a text. As marked ones they would not: such are text to the reader.
    served.markers, served.max_length, backend = (), max_length, served.backend
    backend.enable_truncation(max_length, direction=served.truncation_side)
    backend.enable_padding(pad_id=served.pad_id, pad_token=served.special_tokens["pad"])
    cls, sep, second = served.special_tokens["cls"], served.special_tokens["sep"], (
        served.second_segment)
    between = f"{sep}:{second} " * (served.separators - 1)
    rows = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 {between}$B:{second} {sep}:{second}",
        special_tokens=[(cls, served.cls_id), (sep, served.sep_id)])
    backend.post_processor = rows if served.is_wordpiece else processors.Sequence(
        [processors.ByteLevel(trim_offsets=True), rows])  # an offset has no space in front
    return served
