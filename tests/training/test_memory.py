import copy
import platform
import sys
import traceback
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import warm_processes
from tiny_rows import rows_loader
from tiny_runs import CONFIG, assert_same_bits, build, weights

from bert_kit import (AMPTrainer, BERTForMaskedLM, BERTForSequenceClassification, Trainer,
                      TrainingArguments, TrainingError, compute_classification_loss,
                      compute_mlm_loss)
from bert_kit.training import MemoryManager, make_optimizer, memory_used
from bert_kit.training import memory as memory_module
from bert_kit.training.memory import cut, is_out_of_memory

PLAIN = CONFIG.replace(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def plenty(device):
    return 0.1


def exhausted(rows, loss=compute_classification_loss, where="forward"):
    """A loss for which a real allocation fails whenever there are more than `rows` rows."""
    calls = []

    class Failing(torch.autograd.Function):
        @staticmethod
        def forward(context, value):
            return value.clone()

        @staticmethod
        def backward(context, gradient):
            torch.empty(1 << 50)

    def failing(model, batch, counts):
        calls.append(len(batch["input_ids"]))
        value = loss(model, batch, counts)
        if calls[-1] > rows and where == "forward":
            torch.empty(1 << 50)
        return Failing.apply(value) if calls[-1] > rows else value

    failing.calls = calls
    return failing


class Batches(list):
    """A loader that gives the same batches in every pass."""

    batch_sampler = SimpleNamespace(start_at=lambda epoch, batch=0: None)


def one_step_trainer(model, memory, loss, batches, optimizer, precision="float32", **options):
    """A trainer that takes one step over all the batches."""
    args = TrainingArguments(max_steps=1, gradient_accumulation_steps=len(batches),
                             warmup_steps=0, lr_scheduler_type="constant", verbosity=0,
                             precision=precision)
    trainer = Trainer(model, args, loss, Batches(batches), optimizer=optimizer, memory=memory)
    trainer.amp = AMPTrainer(model, optimizer, precision=precision, **options)
    return trainer


def step(model, memory, loss, batches, precision="float32", **options):
    """One step of plain gradient descent on a copy of the model."""
    model = copy.deepcopy(model)
    trainer = one_step_trainer(model, memory, loss, batches,
                               torch.optim.SGD(model.parameters(), lr=1.0), precision, **options)
    torch.manual_seed(3)
    return model.state_dict(), trainer.train().log[-1]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_step_that_ran_out_of_memory_equals_one_with_enough(masked, where):
    model = (BERTForMaskedLM if masked else BERTForSequenceClassification)(PLAIN)
    loss = compute_mlm_loss if masked else compute_classification_loss
    # 3, 13 and 13 rows, of uneven label counts: the first ones succeed in every attempt
    batches = list(rows_loader(29, 13, masked))[::-1]
    memory = MemoryManager(smallest=2, measure=plenty)
    failing = exhausted(3, loss, where)
    got, result = step(model, memory, failing, batches)
    want, expected = step(model, None, loss, batches)
    assert memory.current == 3 and failing.calls == [3, 13, 3, 6, 3, *[3, 3, 3, 3, 1] * 2]
    torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-6)
    for name in ("loss", "grad_norm"):
        assert result[name] == pytest.approx(expected[name], abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_failed_attempt_leaves_no_trace(precision):
    # With dropout: the same bits as a step that began with so few rows.
    model = BERTForSequenceClassification(CONFIG)
    model.register_buffer("seen", torch.zeros(()))

    def counting(model, batch, counts):
        model.seen.add_(1)
        return limited(model, batch, counts)

    batches = list(rows_loader(16, 7))[::-1]
    limited = exhausted(3, where="backward")
    got, _ = step(model, MemoryManager(smallest=1, measure=plenty), counting, batches, precision,
                  init_scale=16.0)
    limited = exhausted(3)
    want, _ = step(model, MemoryManager(smallest=1, current=3, measure=plenty), counting, batches,
                   precision, init_scale=16.0)
    assert limited.calls == [2, *[3, 3, 1] * 2]
    assert_same_bits(got, want)


def test_too_little_memory_for_the_fewest_rows_is_one_line_of_advice():
    memory = MemoryManager(smallest=4, measure=plenty)
    model = BERTForSequenceClassification(PLAIN)
    with pytest.raises(TrainingError, match="out of memory with 4 rows at a time") as caught:
        step(model, memory, exhausted(3), list(rows_loader(20, 20)))
    assert "\n" not in str(caught.value)


def test_other_errors_are_not_taken_for_want_of_memory():
    def broken(model, batch, counts):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        step(BERTForSequenceClassification(PLAIN), MemoryManager(), broken, list(rows_loader(4, 4)))
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError()) and not is_out_of_memory(ValueError("not enough memory"))


def test_a_threshold_halves_after_the_step_and_not_below_the_fewest():
    # Above the threshold memory is read once more, with what is unused given back, and then not
    # again in this step; with the fewest rows not at all.
    readings = iter([0.5, 0.2, 0.86, 0.86, 0.3, 0.9, 0.9])
    memory = MemoryManager(smallest=3, largest=14, measure=lambda device: next(readings))
    model = BERTForSequenceClassification(PLAIN)
    batches, rows = list(rows_loader(14, 14)), []
    for _ in range(5):
        got, _ = step(model, memory, compute_classification_loss, batches)
        rows.append(memory.current)
        torch.testing.assert_close(
            got, step(model, None, compute_classification_loss, batches)[0], atol=1e-6, rtol=1e-6)
    assert rows == [14, 14, 7, 3, 3] and next(readings, None) is None


class Resident:
    """Memory as the system sees it: it falls only when the C library is told to trim."""

    def __init__(self, monkeypatch):
        self.live = self.resident = 0.1
        monkeypatch.setattr(memory_module, "_c_library", lambda: self)

    def mallopt(self, option, value):
        return 1

    def malloc_trim(self, pad):
        self.resident = self.live

    def __call__(self, device):
        self.resident = max(self.resident, self.live)
        return self.resident


def test_one_long_batch_halves_once_and_what_others_leave_not_at_all(monkeypatch):
    measure, rows = Resident(monkeypatch), []
    memory = MemoryManager(smallest=1, largest=8, measure=measure)
    model = BERTForSequenceClassification(PLAIN)
    held = 0.0

    def loss(model, batch, counts):
        measure.live = held
        return compute_classification_loss(model, batch, counts)

    for held in (0.4, 0.9, 0.4, 0.4, 0.4):
        step(model, memory, loss, list(rows_loader(8, 8)))
        measure.live = 0.1  # the step is over
        if len(rows) == 3:
            measure.resident = 0.99  # an evaluation has come and gone
        rows.append(memory.current)
    assert rows == [8, 4, 4, 4, 4]


def test_memory_that_has_run_out_halves_once_although_it_was_nearly_full(monkeypatch):
    memory = MemoryManager(smallest=2, largest=32, measure=lambda device: reading)
    reading = 0.95
    failing = exhausted(16, where="backward")

    def loss(model, batch, counts):
        nonlocal reading
        reading = 0.95 if len(batch["labels"]) > 16 else 0.5
        return failing(model, batch, counts)

    step(BERTForSequenceClassification(PLAIN), memory, loss, list(rows_loader(32, 32)))
    assert memory.current == 16 and failing.calls == [32, 16, 16]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out\nof memory"), MemoryError(),
                                   RuntimeError("DefaultCPUAllocator: not enough memory")])
def test_too_little_memory_for_the_optimizer_is_one_line_of_advice(error):
    def no_memory(*args):
        raise error

    def train():
        model = BERTForSequenceClassification(PLAIN)
        optimizer = make_optimizer(model, 0.01)
        optimizer.register_step_pre_hook(no_memory)
        one_step_trainer(model, MemoryManager(measure=plenty), compute_classification_loss,
                         list(rows_loader(4, 4)), optimizer).train()

    with pytest.raises(TrainingError, match="out of memory in the optimizer") as caught:
        train()
    assert "\n" not in str(caught.value)
    error = RuntimeError("something else")
    with pytest.raises(RuntimeError, match="something else"):
        train()


def test_a_threshold_of_1_measures_nothing_and_reacts_to_memory_that_has_run_out():
    def never(device):
        raise AssertionError("measured")

    memory = MemoryManager(threshold=1, smallest=1, measure=never)
    step(BERTForSequenceClassification(PLAIN), memory, exhausted(6), list(rows_loader(14, 14)))
    assert memory.current == 3


def test_memory_that_cannot_be_told_changes_nothing():
    memory = MemoryManager(measure=lambda device: None)
    step(BERTForSequenceClassification(PLAIN), memory, compute_classification_loss,
         list(rows_loader(5, 5)))
    assert memory.current == 64


def test_pieces_hold_every_row_once_and_in_order():
    batch = next(iter(rows_loader(11, 11)))
    for rows in range(1, 12):
        pieces = cut(batch, rows)
        assert max(len(piece["labels"]) for piece in pieces) <= rows
        for key, value in batch.items():
            assert torch.equal(torch.cat([piece[key] for piece in pieces]), value)
    with pytest.raises(ValueError):
        cut({"a": torch.ones(4), "b": torch.ones(2)}, 2)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_the_share_of_memory_in_use_grows_with_what_is_held():
    before = memory_used(torch.device("cpu"))
    held = torch.ones(50 * 2**20 // 4)  # 50 MiB, touched
    after = memory_used(torch.device("cpu"))
    assert 0 < before < after < 1 and held[0] == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_processes_on_one_machine_are_taken_to_need_as_much_each(monkeypatch):
    alone = memory_used(torch.device("cpu"))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert memory_used(torch.device("cpu")) == pytest.approx(3 * alone, rel=0.1)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on memory")
def test_a_process_that_really_runs_out_of_memory_goes_on(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        "import resource, sys, torch\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from types import SimpleNamespace\n"
        "from bert_kit.training import MemoryManager, Trainer, TrainingArguments\n"
        "class Batches(list):\n"
        "    batch_sampler = SimpleNamespace(start_at=lambda epoch, batch=0: None)\n"
        "model = torch.nn.Linear(1, 1)\n"
        "def loss(model, batch, counts):  # 20 MB a row\n"
        "    rows = len(batch['labels'])\n"
        "    return (model.weight[0] * torch.ones(rows, 5_000_000)).mean() * rows / 32\n"
        "memory = MemoryManager(smallest=1)\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 5 * 10**8, -1))\n"
        "Trainer(model, TrainingArguments(max_steps=1, verbosity=0), loss,\n"
        "        Batches([{'labels': torch.zeros(32)}]), memory=memory,\n"
        "        optimizer=torch.optim.SGD(model.parameters(), lr=1.0)).train()\n"
        "print(memory.current)\n")
    done = warm_processes.run(script)
    assert done.returncode == 0, done.stderr
    assert 1 <= int(done.stdout) <= 8


def test_a_run_reports_and_stores_what_it_changed(tmp_path, capsys):
    memory = MemoryManager(smallest=1, measure=plenty)
    state = build(tmp_path, memory=memory, loss=exhausted(2)).train()
    assert state.rows_at_a_time == memory.current == 1  # 3, then 1: half of 3
    assert "step 1/8  memory is short: 1 rows at a time" in capsys.readouterr().err
    again = MemoryManager(smallest=1, measure=plenty)
    build(tmp_path, memory=again, loss=exhausted(2)).train(resume="auto")
    assert again.current == 1
    assert MemoryManager(smallest=4, largest=8).go_on_with(64) == 8


def test_a_cut_run_ends_where_a_whole_one_does():
    (whole := build(None, config=PLAIN)).train()
    (pieces := build(None, config=PLAIN, memory=MemoryManager(
        smallest=1, largest=2, measure=plenty))).train()
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(pieces)[name], value, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("settings", [
    {"threshold": 0}, {"threshold": 85}, {"smallest": 0}, {"smallest": 9, "largest": 8},
    {"current": 65}, {"current": 7}])
def test_impossible_limits_are_refused(settings):
    with pytest.raises(TrainingError):
        MemoryManager(**settings)


def test_an_attempt_that_failed_is_no_step_of_the_optimizer():
    model = BERTForSequenceClassification(PLAIN)
    optimizer, batches = make_optimizer(model, 0.01), list(rows_loader(6, 6))
    for count, (memory, loss) in enumerate((
            (None, compute_classification_loss),
            (MemoryManager(smallest=1, measure=plenty), exhausted(2))), 1):
        one_step_trainer(model, memory, loss, batches, optimizer).train()
        assert {state["step"].item() for state in optimizer.state.values()} == {count}


def test_without_a_manager_memory_that_runs_out_is_one_line_too():
    with pytest.raises(TrainingError, match="out of memory with 4 rows at a time, the fewest"):
        step(BERTForSequenceClassification(PLAIN), None, exhausted(3), list(rows_loader(4, 4)))


def test_what_a_failed_attempt_held_is_free_before_the_next_one(monkeypatch):
    alive, given_back = [], []

    class Held:
        """What a loss holds while memory runs out."""

    def loss(model, batch, counts):
        held = Held()
        alive.append(weakref.ref(held))
        if len(batch["labels"]) > 2:
            torch.empty(1 << 50)
        return compute_classification_loss(model, batch, counts)

    monkeypatch.setattr(memory_module, "give_back_memory",
                        lambda device: given_back.append([ref() for ref in alive]))
    step(BERTForSequenceClassification(PLAIN), MemoryManager(smallest=1, measure=plenty), loss,
         list(rows_loader(4, 4)))
    assert given_back == [[None]]


def test_between_the_loop_and_the_loss_stands_one_function_of_the_kit():
    seen = {}

    def look(name, value):
        stack = [Path(frame.filename).parts[-2:] + (frame.name,)
                 for frame in traceback.extract_stack()
                 if "bert_kit" in Path(frame.filename).parts[-3:]]
        seen.setdefault(name, [function for *_, function in stack[-4:]])
        return value

    trainer = build(None, loss=lambda model, batch, counts: look(
        "loss", compute_classification_loss(model, batch, counts)),
        evaluate=lambda: look("evaluate", {"loss": 1.0}), memory=MemoryManager(measure=plenty))
    trainer.train()
    assert seen == {"loss": ["train", "accumulate"],
                    "evaluate": ["train", "_after_step", "_evaluate"]}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library is told")
def test_freed_memory_is_kept_for_the_next_step(tmp_path):
    script = tmp_path / "run.py"
    code = ("import torch; from bert_kit.training.memory import keep_freed_memory\n"
            "def resident(): return int(open('/proc/self/statm').read().split()[1]) * 4096\n"
            "{0}; before = resident(); x = torch.ones(50_000_000); {1}; "
            "print(resident() - before)")

    def left(first, then="del x"):
        script.write_text(code.format(first, then))
        done = warm_processes.run(script)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    assert left("pass") < 50e6 and left("assert keep_freed_memory()") > 150e6
    assert left("from bert_kit.training.memory import give_back_memory; assert keep_freed_memory()",
                "del x; give_back_memory('cpu')") < 50e6
