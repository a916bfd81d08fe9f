"""Two machines train one model by torchrun, each with an agent and a process of its own.

They are network namespaces where the system has them, else both are this machine's loopback.
"""

import time

import pytest
import torch
from tiny_jobs import command, table, tiny_bert, write_table
from tiny_machines import free_port, kill, machines
from tiny_runs import assert_same_bits

from bert_kit.weights import read_safetensors

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(),
                                reason="this torch has no torch.distributed")
SAME = ["--model", "bert", "--device", "cpu", "--precision", "float32", "--threads", "1",
        "--batch_size", "7", "--max_length", "24", "--hidden_dropout_prob", "0",
        "--attention_probs_dropout_prob", "0", "--plots", "false", "--strict", "false"]
JOBS = {"pretrain": ["pretrain", "--train_file", "train.txt", "--store", "store", *SAME,
                     "--val_size", "0"],
        "train": ["train", "--data_file", "rows.csv", "--classifier", "bilstm", *SAME,
                  "--baselines", "false"]}
# Others divide by the size of the gradient, and so enlarge what rounding leaves where it is zero.
PLAIN = ["--optim", "sgd", "--learning_rate", "0.05", "--num_epochs", "2"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """(folder, two machines)"""
    folder = tmp_path_factory.mktemp("nodes")
    write_table(folder / "rows.csv", 90)
    tiny_bert(folder / "bert")
    (folder / "train.txt").write_text("\n".join(table(60)[0]))
    with machines(2) as (_, *others):
        yield folder, others


def begin(pair, words):
    """Start an agent on each machine; each says things into a file of its own."""
    folder, both = pair
    port = free_port("127.0.0.1")
    return [machine.start(
        "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1", "--node_rank",
        rank, "--master_addr", both[0].address, "--master_port", port, "-m", "bert_kit", *words,
        folder=folder, log=folder / f"node-{rank}.log") for rank, machine in enumerate(both)]


def end(pair, agents, code=0):
    """Wait for both agents; a process of theirs that fails ends them too."""
    logs = [(pair[0] / f"node-{rank}.log") for rank in range(2)]
    try:
        for agent, log in zip(agents, logs):
            assert (agent.wait(400) == 0) == (code == 0), log.read_text()
    finally:
        for agent in agents:
            kill(agent)
    return [log.read_text() for log in logs]


def weights(folder):
    return read_safetensors(folder / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("job", ["pretrain", "train"])
def test_two_machines_end_with_the_weights_of_one_process(pair, job):
    folder = pair[0]
    first, second = end(pair, begin(pair, [*JOBS[job], *PLAIN, "--output_dir", f"{job}-2"]))
    assert "saved in" in first and "saved in" not in second
    done = command(*JOBS[job], *PLAIN, "--output_dir", f"{job}-1", folder=folder)
    assert done.returncode == 0, done.stderr
    found, expected = weights(folder / f"{job}-2"), weights(folder / f"{job}-1")
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    moved = [not torch.equal(tensor, expected[name]) for name, tensor in
             weights(folder / "bert").items() if name in expected]
    assert sum(moved) > 20  # it has trained


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_a_machine_that_is_lost_ends_the_job_which_goes_on_to_the_same_bits(pair, job):
    folder = pair[0]
    words = [*JOBS[job], "--num_epochs", "4", "--save_steps", "5"]
    end(pair, begin(pair, [*words, "--output_dir", f"{job}-whole"]))
    broken = folder / f"{job}-broken"
    agents = begin(pair, [*words, "--output_dir", broken.name])
    while not list(broken.glob("checkpoint-*")):
        assert agents[1].poll() is None, (folder / "node-1.log").read_text()
        time.sleep(0.02)
    kill(agents[1])
    first, _ = end(pair, agents, code=1)
    assert "error: another process of the job ended" in first and "--resume auto" in first
    end(pair, begin(pair, [*words, "--output_dir", broken.name, "--resume", "auto"]))
    assert_same_bits(weights(folder / f"{job}-whole"), weights(broken))
