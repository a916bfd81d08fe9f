"""The ladder: the solutions are right, every known bug is called by its name, help is help."""

import ast
import re

import pytest
import torch

from bert_kit.learn import exercise_solutions, solution
from bert_kit.learn.examiner import described, examine
from bert_kit.learn.judge import first_difference, judge, solution_with
from bert_kit.learn.known_bugs import KNOWN_BUGS
from bert_kit.learn.ladder import BERT, EXERCISES, PAGES, RUNGS, body_of, page_file, stubs
from bert_kit.learn.published import judge_published
from known_bugs_typed_in import TYPED_IN


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_the_solution_is_right(rung):
    assert judge(rung.name, getattr(solution, rung.name)) == ""


@pytest.mark.parametrize("bug", KNOWN_BUGS, ids=lambda bug: f"{bug.rung}-{bug.says[:30]}")
def test_a_known_bug_is_named(bug):
    """Each changes the solution, in one place, and is told from all others."""
    names = solution_with((bug,))
    assert names is not None, "the text to change is not there exactly once"
    assert judge(bug.rung, names[bug.rung]) == (
        f"a known bug: {bug.says} (read {page_file(bug.page)})")


@pytest.mark.parametrize("says, rung, source", TYPED_IN, ids=[
    f"{rung}-{says[:24]}" for says, rung, _ in TYPED_IN])
def test_a_bug_that_somebody_types_is_named(says, rung, source, monkeypatch):
    """Not the change that the kit knows, but the function as a learner would have it wrong."""
    names = dict(vars(solution))
    exec(compile(source, "typed in", "exec"), names)
    verdict = judge(rung, names[rung])
    assert verdict.startswith("a known bug: ") and says in verdict


def test_two_bugs_at_once_are_both_named():
    bugs = [bug for bug in KNOWN_BUGS if bug.rung == "attend"]
    unscaled = next(bug for bug in bugs if "not divided" in bug.says)
    seen = next(bug for bug in bugs if "padding is seen" in bug.says)
    verdict = judge("attend", solution_with((unscaled, seen))["attend"])
    assert unscaled.says in verdict and seen.says in verdict


@pytest.mark.parametrize("wrong, says", [
    (lambda x, w, name: None, "None (is there a return?)"),
    (lambda x, w, name: x.sum(-1), "it has shape (2, 7); expected (2, 7, 15)"),
    (lambda x, w, name: solution.layer_norm(x, w, name).float(), "it is torch.float32; expected"),
    (lambda x, w, name: solution.layer_norm(x, w, name) + 1e-3 * (x.new_tensor(
        range(15)) == 4), "it first differs at [0, 0, 4]: ")])
def test_other_bugs_are_told_by_shape_dtype_and_place(wrong, says):
    assert says in judge("layer_norm", wrong)


def test_inputs_that_are_changed_are_told():
    def in_place(query, key, value, mask=None):
        query /= query.shape[-1] ** 0.5
        return solution.attend(query * query.shape[-1] ** 0.5, key, value, mask)
    assert "changes what it was given, input number 1" in judge("attend", in_place)

    def new_tensors(w, grads, m, v, t, lr, decay):
        for name in w:
            w[name] = w[name].clone()
        solution.adamw_step(w, grads, m, v, t, lr, decay)
    assert "in place" in judge("adamw_step", new_tensors)


def test_differences_in_words():
    assert first_difference({"w": {"a": torch.ones(2)}}, {"w": {"a": torch.zeros(2)}}, 0) == (
        "w['a'] first differs at [0]: 1; expected 0; 2 of 2 numbers differ")
    assert first_difference([1.0, 2.0], [1.0, 2.5], 1e-9) == "place 1 is 2; expected 2.5"
    assert first_difference(torch.tensor(float("nan")), torch.tensor(float("nan")), 0) == ""
    assert "has no 'b'" in first_difference({}, {"b": 1}, 0)


def test_stubs_are_the_solutions_without_their_bodies():
    for file, module in ((BERT, solution), (EXERCISES, exercise_solutions)):
        tree = ast.parse(stubs(file))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name != "linear":
                assert ast.get_docstring(node, clean=False) == getattr(module, node.name).__doc__
                assert ast.unparse(node.body[1:]) == "raise NotImplementedError"
    names = {}
    exec(stubs(BERT), names)
    with pytest.raises(NotImplementedError):
        names["bert"](*[None] * 5)


def test_a_stub_says_what_goes_in_and_out_and_its_source():
    for rung in RUNGS:
        text = getattr(solution, rung.name).__doc__
        assert all(f"\n    {word} " in text for word in ("In", "Out", "Source"))
        assert 2 <= len(rung.hints) <= 3 and "raise" not in body_of(BERT, rung.name)
        assert '"""' not in body_of(BERT, rung.name)


def test_pages_are_those_of_docs(pytestconfig):
    docs = pytestconfig.rootpath / "docs"
    assert [path.stem for path in sorted(docs.glob("[0-9]*.md"))] == list(PAGES)


def test_every_name_of_the_issue_has_its_bug():
    """What has to be told by its name; a word each of how it is said."""
    said = " ".join(bug.says for bug in KNOWN_BUGS)
    for words in ("without a transpose", "padding is seen", "sqrt(D)", "softmax runs over",
                  "eps stands outside the root", "divides by D - 1", "divides by all tokens",
                  "bias correction is missing", "LayerNorms decay", "(L2)", "have to be -100",
                  "drawn once for the row", "tanh form", "pre-norm", "segments are 0",
                  "shortest piece", 'forgets "##"'):
        assert words in said, words


def test_the_last_rung_runs_published_weights(minilm):
    wrong, says = judge_published(solution, str(minilm))
    apart = float(re.search(r"by (\S+)$", says)[1])
    assert wrong == "" and apart < 1e-5 and "22,7" in says


def test_the_last_rung_without_trained_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bert_kit.learn.published.NAMES", ())
    monkeypatch.setattr("bert_kit.learn.published.NAMES", ())
    wrong, says = judge_published(solution, None)
    assert wrong == "" and "a random BERT" in says

    class Wrong:
        read_tensors, pieces, pair_row = solution.read_tensors, solution.pieces, solution.pair_row

        @staticmethod
        def bert(*inputs):
            return solution.bert(*inputs) * 1.001
    assert "differs from the kit by" in judge_published(Wrong, None)[0]


def write(folder, source, file=BERT):
    (folder / file).write_text(source, "utf-8")


def test_an_error_is_told_with_the_learners_line(tmp_path):
    source = stubs(BERT).split("# rung 6")[0]
    write(tmp_path, source + "def attend(query, key, value, mask=None):\n    return query @ key\n")
    verdict = examine(tmp_path, "6")
    line = source.count("\n") + 2
    assert verdict.state == "wrong" and verdict.text.startswith(
        f"bert.py, line {line}, in attend: `return query @ key` raises RuntimeError: ")
    assert verdict.text.endswith("; there query (7, 5), key (7, 5), value (7, 5)")
    write(tmp_path, "def attend(:\n")
    assert "bert.py, line 1: SyntaxError" in examine(tmp_path, "6").text
    write(tmp_path, "def attend(query):\n    return query\n")
    assert examine(tmp_path, "6").text.startswith("it raises TypeError: attend() takes 1 pos")


def test_a_stub_that_another_function_meets_is_told(tmp_path):
    write(tmp_path, stubs(BERT))
    assert examine(tmp_path, "5")[1:] == ("not written yet", "")
    body = body_of(BERT, "embed")
    write(tmp_path, stubs(BERT) + "\n\n" + body)
    assert examine(tmp_path, "5")[1:] == (
        "not written yet", "it calls layer_norm of rung 4, which is not written yet")
    write(tmp_path, "x = 1\n")
    assert "has no function embed" in examine(tmp_path, "5").text


def test_a_loop_without_an_end_is_stopped_with_its_line(tmp_path):
    write(tmp_path, "def pieces(text, vocab):\n    while True:\n        text += ''\n")
    verdict = examine(tmp_path, "1", seconds=0.2)
    assert re.match(r"bert.py, line [23], in pieces: .* still ran after 0.2 s", verdict.text)


def test_an_error_outside_of_the_learners_files_has_no_line(tmp_path):
    assert described(ValueError("a\nb"), tmp_path) == "it raises ValueError: a b"
