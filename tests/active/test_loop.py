import os
import signal
import sys

import numpy as np
import pytest
from tiny_campaigns import CLASSES, LABELS, content, fit, learner

from bert_kit import BertKitError, ConfigError, DataError, TrainingError
from bert_kit.active import LabelFile, StoppingRules, run_campaign, simulated
from bert_kit.files import read_json

ROUNDS = StoppingRules(rounds=3)


def finished(folder=None, oracle=simulated(LABELS), rules=ROUNDS, **options):
    campaign = learner(folder, **options)
    return campaign, run_campaign(campaign, oracle, 6, 5, rules)


def test_a_campaign_asks_each_row_once_and_learns():
    campaign, reason = finished()
    assert reason == "3 rounds, as many as asked for"
    assert [len(record["rows"]) for record in campaign.history] == [6, 11, 16, 21]
    rows = campaign.history[-1]["rows"]
    assert len({*rows}) == 21 and {*rows}.isdisjoint(campaign.unlabelled)
    assert campaign.history[-1]["labels"] == [LABELS[row] for row in rows]
    assert campaign.history[-1]["metrics"]["accuracy"] > 0.9
    assert campaign.history[0]["metrics"]["undefined"] is None
    assert len({record["seed"] for record in campaign.history}) == 4
    for before, after in zip(campaign.history, campaign.history[1:]):
        assert after["rows"][:len(before["rows"])] == before["rows"]


def test_entropy_asks_at_the_borders_of_the_round_before():
    campaign = learner()
    campaign.update([LABELS[row] for row in campaign.query(6)])
    pool = campaign.make_pool(campaign.model, campaign.unlabelled, [], 0)
    table = pool.probabilities()
    order = np.argsort((table * np.log(table)).sum(axis=1))
    assert campaign.query(4) == [pool.rows[place] for place in order[:4]]


def test_two_runs_from_one_seed_are_the_same_and_seeds_differ(tmp_path):
    state = np.random.get_state()[1].copy()
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        finished(tmp_path / name, seed=seed)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert content(tmp_path / "a") != content(tmp_path / "c")
    assert (np.random.get_state()[1] == state).all()
    assert finished(seed=3)[0].history == finished(tmp_path / "d", seed=3)[0].history


def test_methods_of_one_seed_begin_with_the_same_rows():
    starts = [learner(choose=choose, seed=seed).query(6)
              for seed in (1, 2) for choose in (len, max)]
    assert starts[0] == starts[1] != starts[2] == starts[3]


def test_all_rows_are_asked_for_in_the_end():
    campaign, reason = finished(rules=StoppingRules())
    assert reason == "no row is left to ask for"
    assert sorted(campaign.state.labels) == list(range(60)) and campaign.unlabelled == []
    assert [len(record["rows"]) for record in campaign.history][-2:] == [56, 60]
    campaign, reason = finished(rules=StoppingRules(budget=18))
    assert reason == "18 labels, the budget"
    assert [len(record["rows"]) for record in campaign.history] == [6, 11, 16, 18]


class Person:
    """Types the class of the text that was shown last, and ends the input after so many."""

    def __init__(self, patience=10**6):
        self.shown, self.answers, self.patience = None, 0, patience

    def write(self, line):
        self.shown = line

    def read(self, prompt):
        if self.answers == self.patience:
            raise EOFError
        self.answers += 1
        return CLASSES[LABELS[int(self.shown.split()[-1])]]


def human(folder, **options):
    """A campaign with a person at the terminal, resumed if it is there."""
    person = Person()
    file = LabelFile(folder / "batch.csv", [f"text {row}" for row in range(60)], CLASSES)
    campaign = learner(folder, resume=True, **options)
    run_campaign(campaign, lambda rows: file.ask(rows, person.read, person.write), 2, 1,
                 StoppingRules(rounds=2))
    return campaign


def in_child(work):
    """Run a function in a forked process; return how the process ended."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("options, every", [
    ({}, 3), pytest.param({}, 1, marks=pytest.mark.slow),
    pytest.param({"warm_start": True, "keep_weights": False}, 1, marks=pytest.mark.slow)],
    ids=["some", "cold", "warm"])
def test_killed_at_file_events_it_resumes_to_the_same_bytes(options, every, tmp_path):
    human(tmp_path / "whole", **options)
    goal = content(tmp_path / "whole")

    def killed_at(number, folder):
        seen = 0

        def hook(event, arguments):
            nonlocal seen
            if event.startswith(("open", "os.", "shutil.")):
                seen += 1
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)  # of the child alone
        human(folder, **options)

    kills = 0
    while True:
        folder = tmp_path / f"broken-{kills}"
        folder.mkdir()
        if in_child(lambda: killed_at(every * kills + 1, folder)) == 0:
            break
        kills += 1
        human(folder, **options)
        assert content(folder) == goal, kills
    assert every * kills > 100 and len(goal) == (8 if not options else 6)


def test_resuming_needs_no_second_training(tmp_path):
    campaign, _ = finished(tmp_path / "a", seed=1)

    def refuse(*arguments):
        raise AssertionError("trained again")
    again = learner(tmp_path / "a", seed=1, fit=refuse, resume=True)
    assert again.history == campaign.history and again.model == campaign.model
    assert run_campaign(again, None, 6, 5, ROUNDS) == "3 rounds, as many as asked for"
    assert again.query(5) == campaign.query(5)


def test_a_batch_that_was_asked_for_stays_that_batch(tmp_path):
    rows = learner(tmp_path / "a").query(6)
    again = learner(tmp_path / "a", resume=True)
    assert again.query(9) == rows and {*rows}.isdisjoint(again.unlabelled)


def test_a_training_that_fails_is_done_again_with_the_labels_kept(tmp_path):
    def failing(rows, labels, seed, start):
        if len(rows) > 6:
            raise KeyboardInterrupt
        return fit(rows, labels, seed, start)
    with pytest.raises(KeyboardInterrupt):
        finished(tmp_path / "a", fit=failing)
    state = read_json(tmp_path / "a" / "state.json")
    assert len(state["labelled"]) == 11 and state["rounds"] == 2
    again = learner(tmp_path / "a", resume=True)
    run_campaign(again, simulated(LABELS), 6, 5, ROUNDS)
    assert again.history == finished()[0].history


def test_only_the_last_weights_are_kept_if_so_asked(tmp_path):
    finished(tmp_path / "a", keep_weights=False)
    assert [name for name in content(tmp_path / "a") if "means" in name] == [
        "round-003/model/means.json"]
    assert len(list((tmp_path / "a").glob("round-*/round.json"))) == 4


@pytest.mark.parametrize("warm", [False, True])
def test_each_round_starts_anew_unless_warm(warm):
    starts = []

    def noting(rows, labels, seed, start):
        starts.append(start)
        return fit(rows, labels, seed, None)
    campaign, _ = finished(fit=noting, warm_start=warm)
    assert [start is None for start in starts] == [True, not warm, not warm, not warm]
    assert not warm or starts[-1] != campaign.model


def test_initialize_takes_labels_that_are_there():
    campaign = learner()
    campaign.initialize([3, 30, 50], [0, 1, 2])
    assert campaign.history[0]["rows"] == [3, 30, 50] and 30 not in campaign.unlabelled
    with pytest.raises(DataError, match="round 0; expected a new one"):
        campaign.initialize([4], [0])
    for rows, words in [([3, 3], "twice"), ([60], "row 60 of a campaign of 60"), ([-1], "row -1")]:
        with pytest.raises(DataError, match=words):
            learner().initialize(rows, [0] * len(rows))


def test_ignored_rows_are_never_asked_for_nor_trained_on():
    campaign = learner()
    rows = campaign.query(6)
    campaign.update([None, *(LABELS[row] for row in rows[1:])])
    assert rows[0] not in campaign.unlabelled and campaign.history[0]["rows"] == rows[1:]
    second = campaign.query(4)
    campaign.ignore([rows[1], second[0]])
    assert campaign.query(4) == second[1:]
    campaign.update([LABELS[row] for row in second[1:]])
    assert campaign.history[1]["rows"] == rows[2:] + second[1:]
    run_campaign(campaign, simulated(LABELS), 6, 20, StoppingRules())
    assert {rows[0], rows[1], second[0]}.isdisjoint(campaign.history[-1]["rows"])
    assert len(campaign.history[-1]["rows"]) == 57


def test_a_batch_without_any_label_is_no_round():
    campaign = learner()
    campaign.update([LABELS[row] for row in campaign.query(6)])
    campaign.update([None] * len(campaign.query(5)))
    assert len(campaign.history) == 1 and len(campaign.unlabelled) == 49
    assert len(campaign.query(5)) == 5


def test_corrected_labels_count_from_the_next_training_on(tmp_path):
    campaign = learner(tmp_path / "a")
    rows = campaign.query(6)
    campaign.update([0, *(LABELS[row] for row in rows[1:])])
    campaign.update_label(rows[0], 2)
    assert campaign.history[0]["labels"][0] == 0
    again = learner(tmp_path / "a", resume=True)
    again.update([LABELS[row] for row in again.query(2)])
    assert again.history[1]["labels"][0] == 2
    with pytest.raises(DataError, match="row 99 has no label"):
        campaign.update_label(99, 0)


def test_answers_and_choices_must_fit():
    campaign = learner()
    assert campaign.query(3) == campaign.query(5)  # the same batch until it is answered
    with pytest.raises(DataError, match="2 labels but 3 rows"):
        campaign.update([0, 1])
    with pytest.raises(DataError, match="count is 0; expected a whole number from 1"):
        campaign.query(0)
    for places in ([0, 0], [0], [0, 57], [-1, 0]):
        broken = learner(choose=lambda pool, count, rng: places)
        broken.update([LABELS[row] for row in broken.query(3)])
        with pytest.raises(DataError, match="2 different positions in a pool of 57"):
            broken.query(2)


def test_labels_of_several_classes_are_kept_as_they_are(tmp_path):
    def count(rows, labels, seed, start):
        return [[float(sum(map(len, labels))), 0.0]] * 3
    campaign = learner(tmp_path / "a", fit=count)
    rows = campaign.query(3)
    campaign.update([[0, 2], [], np.array([1])])
    assert campaign.history[0]["labels"] == [[0, 2], [], [1]] and campaign.model[0][0] == 3
    again = learner(tmp_path / "a", resume=True)
    assert again.state.labels == dict(zip(rows, [[0, 2], [], [1]]))


def test_a_folder_is_taken_for_nothing_else(tmp_path):
    finished(tmp_path / "a")
    with pytest.raises(TrainingError, match="already has a campaign"):
        learner(tmp_path / "a")
    with pytest.raises(TrainingError, match="seed was 0 and is now 1"):
        learner(tmp_path / "a", seed=1, resume=True)
    with pytest.raises(TrainingError, match="acquisition was 'entropy' and is now 'max'"):
        learner(tmp_path / "a", choose=max, resume=True)
    with pytest.raises(ConfigError, match="needs save_model"):
        learner(tmp_path / "a", save_model=None)
    good = (tmp_path / "a" / "state.json").read_text()
    for text in ("{", "{}", good.replace('"labelled": [', '"labelled": [1, '),
                 good.replace('"rounds": 4', '"rounds": 9')):
        (tmp_path / "a" / "state.json").write_text(text)
        with pytest.raises(BertKitError, match="(state.json|rounds that were begun)") as caught:
            learner(tmp_path / "a", resume=True)
        assert "\n" not in str(caught.value)
    (tmp_path / "a" / "state.json").write_text(good)
    last = tmp_path / "a" / "round-003" / "round.json"
    for key in ("uncertainty", "kappa"):
        last.write_text(last.read_text().replace(key, key.upper()))
        with pytest.raises(BertKitError, match=f"round.json: .*{key}"):
            learner(tmp_path / "a", resume=True)
        last.write_text(last.read_text().replace(key.upper(), key))


# Oracles


@pytest.fixture
def file(tmp_path):
    return LabelFile(tmp_path / "batch.csv", ["=1+1", 'a "b",\nc', "plain", "more"], CLASSES)


def test_a_file_is_written_read_and_waited_for(file):
    assert file([2, 1]) is None
    assert file.path.read_bytes() == b'row,labels,text\n2,?,plain\n1,?,"a ""b"",\nc"\n'
    written = file.path.read_text()
    file.path.write_text(written.replace("2,?", "2, top "))
    assert file([2, 1]) is None and "top" in file.path.read_text()  # what is there stays
    file.path.write_text("\ufeff" + written.replace("2,?", "2,top").replace("1,?", "1,-"),
                         encoding="utf-8")
    assert file([2, 1]) == [2, None] and file([1, 2]) == [None, 2]
    assert file([0, 3]) is None  # the next batch
    assert file.path.read_text().startswith("row,labels,text\n0,?,'\\=1+1\n3,?")


def test_several_labels(tmp_path):
    file = LabelFile(tmp_path / "batch.csv", list("abcd"), CLASSES, multi_label=True)
    assert file([0, 1, 2, 3]) is None
    file.path.write_text("row,labels,text\n3,top | left,x\n2,,x\n1,-,x\n0,1|1,x\n")
    assert file([0, 1, 2, 3]) == [[1], None, [], [0, 2]]


@pytest.mark.parametrize("text, words", [
    ("row,labels\n0,up\n", "line 2: 'up' is not a class; expected one of left, right, top, or -"),
    ("row,labels\n0,3\n", "line 2: '3' is not"), ("row,labels\n0,\n", "line 2: '' is not"),
    ("row,labels\n0,left\n0,left\n", "line 3: row 0 stands here again"),
    ("row:labels\n0:left\n", "with commas"), ("", "has the columns None"),
    ("row,labels\nx,left\n", "line 2: row 'x'"), ("row,labels\n0\n", "line 2: row '0', labels No"),
    ("row,labels\n" + "9" * 5_000 + ",left\n", "line 2: row '99"),
    ("labels,row\nleft\n", "line 2: row None"),
    ('row,labels\n0,"left\n', "cannot be read"), ("row,labels,text\n0,left,\xe9\n", "UTF-8")])
def test_a_file_that_cannot_be_used_is_one_line(file, text, words):
    file.path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=words) as caught:
        file([0])
    assert "\n" not in str(caught.value) and "batch.csv" in str(caught.value)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_waited_for(file, make):
    make(file.path)
    with pytest.raises(BertKitError, match="batch.csv: not a regular file"):
        file([0])


def test_texts_in_the_terminal_move_no_cursor(tmp_path):
    text, lines = "\x1b[2Ja\r\u202eb\0\nc\u3000d \ud83d", []
    file = LabelFile(tmp_path / "a.csv", [text], ["x", "\x1b[31my"])
    assert file.ask([0], lambda prompt: "0", lines.append) == [0]
    assert lines[0] == "0 x  1 [31my" and lines[2] == "\n[1/1] [2Ja b\nc d "


def test_where_a_class_is_called_as_the_number_of_another_only_names_count(tmp_path):
    file, lines = LabelFile(tmp_path / "a.csv", ["x", "y"], ["1", "2", "3"]), []
    answers = iter(["0", "1", "3"])
    assert file.ask([0, 1], lambda prompt: next(answers), lines.append) == [0, 2]
    assert lines[0] == "1  2  3" and "'0' is not a class" in "".join(lines)
    same = LabelFile(tmp_path / "b.csv", ["x"], ["0", "1", "many"])
    assert same.ask([0], lambda prompt: "2", lines.append) == [2] and "2 many" in lines[-3]


def test_rows_that_went_missing_are_named(file):
    file([0, 1, 2])
    file.path.write_text("row,labels,text\n0,left,a\n2,left,b\n")
    with pytest.raises(DataError, match="row 1 is missing; expected the 3 rows"):
        file([0, 1, 2])


@pytest.mark.parametrize("name", ["?", "-", "", " a"])
def test_class_names_that_mean_something_else_are_refused(name, tmp_path):
    with pytest.raises(ConfigError, match="a class is called"):
        LabelFile(tmp_path / "a.csv", [], ["x", name])
    LabelFile(tmp_path / "a.csv", [], ["x|y"])
    with pytest.raises(ConfigError, match="has no |"):
        LabelFile(tmp_path / "a.csv", [], ["x|y"], multi_label=True)


def test_answers_in_the_terminal(file):
    lines, answers = [], iter(["top", "?", "nothing", "0", "-"])
    assert file.ask([2, 0, 3], lambda prompt: next(answers), lines.append) == [2, 0, None]
    assert lines[0] == "0 left  1 right  2 top"
    assert [line for line in lines if line.startswith("\n")] == [
        "\n[1/3] plain", "\n[2/3] =1+1", "\n[3/3] more"]
    assert sum("is not a class" in line for line in lines) == 2


def test_a_person_may_leave_and_come_back(tmp_path):
    folder, person = tmp_path / "a", Person(patience=3)
    file = LabelFile(folder / "batch.csv", [f"text {row}" for row in range(60)], CLASSES)
    campaign = learner(folder)
    asked = lambda rows: file.ask(rows, person.read, person.write)
    assert run_campaign(campaign, asked, 4, 3, ROUNDS) == "4 rows wait for their labels"
    assert campaign.history == [] and file.path.read_text().count("?") == 1
    again = Person()
    asked = lambda rows: file.ask(rows, again.read, again.write)
    assert run_campaign(learner(folder, resume=True), asked, 4, 3, StoppingRules(rounds=0))
    assert again.answers == 1 and again.shown.startswith("\n[1/1]")
