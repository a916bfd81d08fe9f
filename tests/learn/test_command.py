"""The job `learn` as it is typed: a newcomer's way to the end, the page's transcript, limits."""

import inspect
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
import torch

from bert_kit.cli import main
from bert_kit.learn import (child, command, exercise_answers, exercise_checks, exercise_solutions,
                            published)
from bert_kit.learn.examiner import examine
from bert_kit.learn.exercises import EXERCISES, answer_difference
from bert_kit.learn.known_bugs import KNOWN_BUGS
from bert_kit.learn.ladder import PAGES, RUNGS, body_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "build-your-own.md"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder; the learner's code runs in this process, which is the faster one."""
    def in_this_process(folder, keys, answer=(), model=None, seconds=20.0):
        return [examine(folder, key, answer, model)._asdict() for key in keys]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "examined", in_this_process)
    monkeypatch.setattr(published, "NAMES", ())  # random weights: small
    monkeypatch.setattr(published, "NAMES", ())
    return tmp_path


def typed(capsys, *words):
    """Run `bert-kit learn …`; return its exit code and what was printed."""
    try:
        code = main(["learn", *words])
    except SystemExit as end:
        code = end.code
    printed = capsys.readouterr()
    return code, (printed.out + printed.err).rstrip("\n")


def paste(folder, text, file="bert.py"):
    """Write a function at the end of the learner's file, as if in the place of its stub."""
    with open(folder / "my_bert" / file, "a") as out:
        out.write("\n\n" + text + "\n")


def test_a_newcomer_climbs_to_the_end_with_the_hints(here, capsys):
    assert typed(capsys)[0] == 0
    for number, rung in enumerate(RUNGS, 1):
        code, said = typed(capsys, "check", str(number))
        assert code == 1 and f"rung {number}, {rung.name}: not written yet; read docs/" in said
        for step in range(1, 4):
            code, said = typed(capsys, "hint", str(number))
            first, _, text = said.partition("\n")
            assert first == f"rung {number}, {rung.name}, hint {step} of 3"
        paste(here, text)
        code, said = typed(capsys, "check", str(number))
        assert code == 0 and said.startswith(f"rung {number}, {rung.name}: right")
        following = RUNGS[number].name if number < len(RUNGS) else "differs from the kit by"
        assert following in said
    code, said = typed(capsys, "status")
    assert said.endswith("14 of 14 rungs are right; you have built a BERT")
    assert json.loads((here / "my_bert" / "hints.json").read_text())["14"] == 3


def test_the_transcript_of_the_page(here, capsys):
    """Console blocks are typed, functions go into the file; … stands for what may differ."""
    blocks = re.findall(r"^```(console|python no-run)\n(.*?)^```$", PAGE.read_text("utf-8"),
                        re.MULTILINE | re.DOTALL)
    commands = 0
    for kind, text in blocks:
        if kind != "console":
            paste(here, text)
            continue
        for part in text.split("$ python -m bert_kit learn")[1:]:
            line, _, expected = part.partition("\n")
            if line.strip() == "status":  # "When rungs 1 to 13 are written"
                for rung in RUNGS[:-1]:
                    paste(here, body_of("bert.py", rung.name))
            if line.strip() == "check 14":
                paste(here, body_of("bert.py", "bert"))
            _, said = typed(capsys, *line.split())
            pattern = re.escape(expected.rstrip("\n")).replace("…", ".*")
            assert re.fullmatch(pattern, said), f"{line}\n{said}"
            commands += 1
    assert commands > 10


def test_the_bugs_of_the_page_have_these_names():
    text = PAGE.read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|`]+) \|$", text, re.MULTILINE)
    known = {(bug.rung, bug.says) for bug in KNOWN_BUGS}
    assert len(rows) > 15
    for number, says in rows:
        assert (RUNGS[int(number) - 1].name, says) in known
    assert {int(number) for number in re.findall(r"\b(\d{3})\b known|the (\d{3})", text)[0]
            if number} == {len(KNOWN_BUGS)}


def test_the_ladder_of_the_page():
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|.*\((\d\d)-([\w-]+)\.md\) \|$",
                      PAGE.read_text("utf-8"), re.MULTILINE)
    assert [(name, page) for _, name, _, page in rows] == [
        (rung.name, rung.page) for rung in RUNGS]
    assert [int(number) for number, *_ in rows] == [*range(1, len(RUNGS) + 1)]


def asked(stem):
    """{"4.1": what the page asks} of its exercises."""
    text = (DOCS / f"{stem}.md").read_text("utf-8").partition("## Exercises")[2]
    text = re.split(r"^(?:## |Next: )", text, flags=re.MULTILINE)[0]
    parts = re.split(r"^\*\*(\d+\.\d)\*\* ", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


WRITTEN = [name for exercise in EXERCISES.values() for name in exercise.functions]


@pytest.mark.parametrize("stem", PAGES)
def test_every_exercise_of_a_page_has_its_check(stem):
    """And the page names the functions that are to be written, and no others."""
    name, number = stem.partition("-")[2], int(stem[:2])
    text = (DOCS / f"{stem}.md").read_text("utf-8")
    assert f"`python -m bert_kit learn check {number}.1" in text.partition("## Exercises")[2]
    exercises = asked(stem)
    assert [command.key_of(typed) for typed in exercises] == [
        key for key in EXERCISES if key.partition(".")[0] == name]
    for typed, question in exercises.items():
        named = [name for name in WRITTEN if re.search(rf"`{name}[`(]", question)]
        assert named == [*EXERCISES[command.key_of(typed)].functions]


def test_nothing_is_left_of_exercises_that_no_page_asks():
    public = lambda module, start="": [
        name for name, one in vars(module).items() if inspect.isfunction(one)
        and one.__module__ == module.__name__ and name.startswith(start) and name[0] != "_"]
    answers = [one.answer for one in EXERCISES.values() if one.answer]
    first = [one.functions[0] for one in EXERCISES.values() if one.functions]
    assert sorted(public(exercise_answers)) == sorted(answers)
    assert public(exercise_checks, "check_") == [f"check_{name}" for name in first]
    assert public(exercise_solutions) == WRITTEN
    assert len(answers) + len(first) == len(EXERCISES) == sum(len(asked(stem)) for stem in PAGES)


PENCIL = {  # as a reader works them out, on paper or with the page's own code
    "0.1": "7,087,872/109,482,240", "0.2": "0", "1.3": "1/9", "2.3": "12 1.5 1.5", "3.2": "7 2",
    "3.3": "23,835,648", "4.1": "3/4 1/4 0.988 0.012", "4.2": "1/7 1/7 0.143", "4.3": "30%",
    "5.1": "0 1", "5.3": "2/3", "6.1": "0 5", "6.3": "1.386 4", "7.2": "Weights, moments, rate",
    "7.3": "4.76e-5 1e-3 1.25e-5", "8.1": "3.26 26", "8.2": "0.32", "8.3": "98", "9.1": "5.65e-6",
    "9.2": "459,776", "9.3": "3825", "10.1": "102", "10.2": "2 10 25", "11.1": "1,581",
    "11.2": "48", "11.3": "9", "12.1": "0.0059", "12.2": "0.39", "12.3": "2 2", "13.1": "0.693",
    "13.2": "1.21", "13.3": "0.703 0.902", "14.1": "3", "14.2": "224, 8",
    "14.3": "90852864 45426432", "15.1": "2.7%", "15.2": "6", "15.3": "0.6", "16.1": "9 5 3 4",
    "16.2": "5, 7, 3, 3", "16.3": "5 8 3 4", "16.4": "0.74", "17.1": "16,384 8,256",
    "17.2": "150,000 997,888"}
WRONG = {"9.1": ["0", "6.28e-6", "5.08e-6"], "7.3": ["5e-5 1e-3 1.25e-5", "4.76e-5 1e-3 0"],
         "12.1": ["0.01", "0.0061"], "1.3": ["0.1", "0.059"], "10.1": ["100", "204"],
         "7.2": ["weights moments", "weights moments rate scale"], "5.1": ["0.1 1", "0 1.1"]}


@pytest.mark.parametrize("number", PENCIL)
def test_answers_of_a_reader_are_told_from_wrong_ones(number):
    exercise = EXERCISES[command.key_of(number)]
    assert answer_difference(exercise, PENCIL[number].split()) == ""
    for typed in WRONG.get(number, []):
        assert "is not it; asked for" in answer_difference(exercise, typed.split())


@pytest.mark.parametrize("key", EXERCISES)
def test_an_exercise_is_right_with_its_solution_and_wrong_without(here, capsys, key):
    """The solution on request is typed as the answer; another one is refused."""
    exercise, number = EXERCISES[key], command.numbered(key)
    typed(capsys)
    steps = command.hints_of(key)
    assert len(steps) == 2 and exercise.why and exercise.hint not in exercise.why
    right = f"exercise {number}: right\n{command.wrapped(exercise.why)}"
    assert bool(exercise.functions) != (number in PENCIL)
    if exercise.functions:
        assert typed(capsys, "check", number)[1].count("not written yet") == 1
        paste(here, steps[1].partition("\n\n")[2], "exercises.py")
        assert typed(capsys, "check", number) == (0, right)
        for name in exercise.functions:
            paste(here, f"right = {name}\ndef {name}(*inputs):\n    return inputs[0]",
                  "exercises.py")
            code, said = typed(capsys, "check", number)
            assert code == 1 and f"exercise {number}: " in said
            paste(here, f"{name} = right", "exercises.py")
        return
    answer = steps[1].partition("\n")[0].split()
    assert typed(capsys, "check", key, "--answer", *answer) == (0, right)
    other = ["scale"] if answer[0].isalpha() else [*answer[:-1], "77"]
    code, said = typed(capsys, "check", number.zfill(4), "--answer", *other)
    assert code == 1 and "is not it; asked for" in said


def page_function(stem, name):
    """Return a function of a page, as it stands there."""
    text = (DOCS / f"{stem}.md").read_text("utf-8")
    block = next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
                 if f"def {name}(" in block)
    names = {}
    exec(re.search(rf"^def {name}\(.*?(?=^\S|\Z)", block, re.DOTALL | re.MULTILINE)[0], names)
    return names[name]


MISTAKES = {
    "masked_mean": [lambda x, mask: x.mean(1),
                    lambda x, mask: (x * mask[..., None]).sum(1) / mask.sum(),
                    lambda x, mask: (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)],
    "bell_inside": [lambda c, w: NormalDist(c, w).pdf(0.5), lambda c, w: NormalDist(c, w).cdf(1)],
    "promoted": [lambda losses, eta: sorted(losses)[:len(losses) // eta],
                 lambda losses, eta: np.argsort(losses)[::-1][:len(losses) // eta].tolist(),
                 lambda losses, eta: np.argsort(losses)[:-(-len(losses) // eta)].tolist()],
    "explore": [lambda rate, factor, low, high: rate * factor,
                lambda rate, factor, low, high: min(rate * factor, high)],
    "margin": [lambda p: p.max(1) - p.min(1), lambda p: -np.diff(p, axis=1)[:, 0]],
    "float_of": [page_function("14-checkpoint", "float_by_hand"),
                 lambda four: float(int.from_bytes(four, "little"))],
    "causal_mask": [lambda lengths, S: torch.ones(len(lengths), S, S).tril().bool(),
                    lambda lengths, S: causal(lengths, S, -1),
                    lambda lengths, S: causal(lengths, S).mT]}


def causal(lengths, S, diagonal=0):
    return torch.stack([torch.ones(S, S).tril(diagonal).bool() & (torch.arange(S) < n)
                        for n in lengths])


@pytest.mark.parametrize("name", MISTAKES)
def test_a_function_with_a_mistake_is_refused(name):
    check = getattr(exercise_checks, f"check_{name}")
    assert all(check(wrong) for wrong in MISTAKES[name])
    assert name != "causal_mask" or check(causal) == ""


def test_packing_in_another_order_is_refused():
    solved = exercise_solutions
    by_length = lambda ids, mask: solved.pack(ids[mask.sum(1).argsort()],
                                              mask[mask.sum(1).argsort()])
    assert exercise_checks.check_pack(by_length, solved.unpack).startswith("pack: ")
    ones = lambda line, mask: torch.ones_like(mask).long().masked_scatter(mask, line)
    assert exercise_checks.check_pack(solved.pack, ones).startswith("unpack: ")
    zeros = lambda line, mask: torch.zeros_like(mask).long().masked_scatter(mask, line)
    assert exercise_checks.check_pack(lambda ids, mask: ids[mask], zeros) == ""


def test_numbers_need_no_folder_and_hints_of_the_exam_come_case_by_case(here, capsys):
    assert typed(capsys, "check", "8.3", "--answer", "98")[0] == 0 and not any(here.iterdir())
    _, said = typed(capsys, "hint", "16.2")
    assert re.findall(r"^Case (\d): ", said, re.MULTILINE) == ["5", "6", "7", "8"]
    _, said = typed(capsys, "hint", "16.2")
    assert said.splitlines()[1] == "5 7 3 3"
    assert "\n    return F.cross_entropy(logits, labels)\n" in said


def test_the_stubs_are_written_without_waiting_for_torch(tmp_path):
    code = ("import sys; from bert_kit.cli import main; main(['learn']); "
            "main(['learn', 'hint', '6']); assert 'torch' not in sys.modules")
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True,
                          text=True)
    assert said.returncode == 0 and "hint 1 of 3" in said.stdout, said.stderr


def test_nothing_of_the_learners_is_overwritten(here, capsys):
    (here / "own").mkdir()
    (here / "own" / "bert.py").write_text("mine = 1\n")
    _, said = typed(capsys, "own")
    assert (here / "own" / "bert.py").read_text() == "mine = 1\n"
    assert "own/bert.py is there already and stays as it is" in said
    assert (here / "own" / "exercises.py").exists() and "--folder own" in said


@pytest.mark.parametrize("words, says", [
    (["chekc"], "'chekc' is no command"), (["check", "1", "2"], "is no command"),
    (["hint"], "is no command"), (["status", "1"], "is no command"),
    (["my", "folder"], "is no command"), (["check", "1", "--seconds", "-1"], "seconds is -1"),
    (["check", "1"], "my_bert/bert.py: no such file; `python -m bert_kit learn` writes it"),
    (["status", "--answer", "1"], "changes nothing without check")])
def test_what_is_typed_wrong_is_said_in_one_line(here, capsys, words, says):
    code, said = typed(capsys, *words)
    assert code in (1, 2) and says in said and "Traceback" not in said


@pytest.mark.parametrize("words, says", [
    (["check", "15"], "there is no rung '15'; expected 1 to 14"),
    (["check", "4.9"], "there is no exercise 4.9; page 04 has 4.1 to 4.3"),
    (["check", "99.1"], "there is no page '99'; expected 0 to 17"),
    (["check", "4.1"], "this exercise asks for four numbers"),
    (["check", "04.1", "--answer", "1"], "1 number; expected 4"),
    (["check", "4.1", "--answer", "a", "1", "1", "1"], "'a' is no number"),
    (["check", "1.1", "--answer", "1"], "exercise 1.1 looks at my_bert/exercises.py; expected no"),
    (["check", "1", "--answer", "1"], "rung 1, pieces looks at my_bert/bert.py; expected no"),
    (["check", "14", "--model", "nowhere"], "nowhere: not a folder")])
def test_what_there_is_not_is_said_in_one_line(here, capsys, words, says):
    typed(capsys)
    for rung in RUNGS:
        paste(here, body_of("bert.py", rung.name))
    code, said = typed(capsys, *words)
    assert code in (1, 2) and f"error: {says}" in said.splitlines()[-1]


def test_the_learners_process_has_limits_and_its_own_output(tmp_path, capfd):
    """One child for all: what it prints is seen, time and memory end, and so does Python."""
    folder = tmp_path / "my_bert"
    folder.mkdir()
    (folder / "bert.py").write_text(
        "import torch\n\ndef pieces(text, vocab):\n    print('look', text)\n    return [text]\n"
        "def pair_row(*inputs):\n    while True:\n        pass\n"
        "def mask_tokens(*inputs):\n    much = []\n    while True:\n"
        "        much.append(torch.empty(2 ** 28))\n"
        "def layer_norm(*inputs):\n    import os\n    os._exit(7)\n")
    said = child.examined(folder, ["1", "2", "3", "4"], seconds=1.5)
    assert "look hug" in capfd.readouterr().out
    assert [one["state"] for one in said] == ["wrong"] * 4
    assert re.match(r"bert.py, line [78], in pair_row: .* after 1.5 s", said[1]["text"])
    if sys.platform == "linux":
        assert "line 12, in mask_tokens" in said[2]["text"] and "2 GB" in said[2]["text"]
    assert said[3]["text"].startswith("its process ended with code 7")


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent in another way")
def test_ctrl_c_ends_the_learners_process_too(tmp_path):
    folder = tmp_path / "my_bert"
    folder.mkdir()
    (folder / "bert.py").write_text(
        "def pieces(text, vocab):\n    import os\n    open('begun', 'w').write(str(os.getpid()))\n"
        "    while True:\n        pass\n")
    process = subprocess.Popen([sys.executable, "-m", "bert_kit", "learn", "check", "1"],
                               cwd=tmp_path, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    end = time.monotonic() + 60
    while not (tmp_path / "begun").exists() or not (tmp_path / "begun").read_text():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and errors.strip() == "interrupted"
    assert not Path(f"/proc/{(tmp_path / 'begun').read_text()}").exists()
