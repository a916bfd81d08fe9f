"""The pictures of docs/: they are current, shown, and can be read in light and in dark."""

import json
import math
import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
FILES = sorted((DOCS / "pictures").glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"
PAGES = [DOCS.parent / "README.md", *DOCS.glob("*.md")]


@pytest.fixture(scope="module")
def script():
    """The names of docs/make_pictures.py, which imports the files beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        return runpy.run_path(str(DOCS / "make_pictures.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_picture_is_current(script, file):
    """Else run `PYTHONPATH=. python docs/make_pictures.py`; trained numbers are stored."""
    assert file.read_text("utf-8") == script["svg"](file.stem, script["stored_runs"]())


def test_all_pictures_are_there_and_shown(script):
    pages = "".join(page.read_text("utf-8") for page in PAGES)
    assert {file.stem for file in FILES} == script["PICTURES"].keys()
    assert [file.name for file in FILES if f"pictures/{file.name}" not in pages] == []


def luminance(colour):
    """WCAG 2.1, relative luminance."""
    shares = [int(colour[k:k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
                        for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a, b):
    """WCAG 2.1: from 1 to 21; a text needs 4.5, a line 3."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_picture_can_be_read_in_light_and_dark(file):
    """On paper of its own, every text has a contrast of 4.5 there and on the fills of boxes."""
    root = ElementTree.fromstring(file.read_text("utf-8"))
    assert root.find(f"{SVG}title").text
    width, height = root.get("width"), root.get("height")
    assert root.get("viewBox") == f"0 0 {width} {height}" and int(width) <= 760
    paper = root.find(f"{SVG}rect")
    assert (paper.get("class"), paper.get("width"), paper.get("height")) == ("paper", width, height)
    light, dark = root.find(f"{SVG}style").text.split("@media (prefers-color-scheme: dark)")
    used = {name for element in root.iter() for name in element.get("class", "").split()}
    texts = {element.get("class") for element in root.iter(f"{SVG}text")}
    assert texts and all(element.get("fill") in (None, "none") for element in root.iter())
    for rules in (light, dark):
        colours = dict(re.findall(r"\.([\w-]+)\{(?:fill:none;)?(?:fill|stroke):(#\w{6})\}", rules))
        assert colours.keys() == used
        for text in texts - {"on"}:  # which stands on full blue alone
            assert contrast(colours[text], colours["paper"]) > 4.5, text
        for fill in colours.keys() & {"pale", "sky", "sand", "mint", "rose"}:
            assert contrast(colours["ink"], colours[fill]) > 4.5, fill
        for line in used:
            if re.match("(line|edge)-(blue|orange|green|purple|edge)", line):
                assert contrast(colours[line], colours["paper"]) > 3, line


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_text_leaves_its_picture(file):
    """By the width of a letter in a wide face; a browser measures below."""
    root = ElementTree.fromstring(file.read_text("utf-8"))
    for text in root.iter(f"{SVG}text"):
        size = float(text.get("font-size", 14))
        wide = 0.55 * size * len(text.text)
        left = float(text.get("x")) - {"start": 0, "middle": 0.5, "end": 1}[
            text.get("text-anchor")] * wide
        if float(text.get("x")) or float(text.get("y")):  # not one that is turned
            assert left >= 0 and left + wide <= int(root.get("width")), text.text
            assert size <= float(text.get("y")) <= int(root.get("height")) - 3, text.text


def test_a_browser_finds_no_text_cut_off_or_over_another(browser):
    page, measured = browser.new_page(viewport={"width": 800, "height": 720}), 0
    for file in FILES:
        page.goto(file.as_uri())
        wrong, count = page.evaluate("""() => {
            const texts = [...document.querySelectorAll("text")], wrong = [];
            const all = texts.map(text => text.getBoundingClientRect());
            const boxes = [...document.querySelectorAll("rect")].slice(1)
                .map(box => box.getBoundingClientRect()).filter(box => box.width > 40);
            const {width, height} = document.documentElement.viewBox.baseVal;
            all.forEach((a, i) => {
                const name = texts[i].textContent;
                if (a.left < 2 || a.top < 2 || a.right > width - 2 || a.bottom > height - 2)
                    wrong.push(name + ": outside");
                const x = (a.left + a.right) / 2, y = (a.top + a.bottom) / 2;
                for (const box of boxes)
                    if (x > box.left && x < box.right && y > box.top && y < box.bottom
                            && (a.left < box.left + 1 || a.right > box.right - 1))
                        wrong.push(name + ": wider than its box");
                if (texts[i].closest("g")) return;  // turned: its rectangle is larger than itself
                all.slice(0, i).forEach((b, j) => {
                    if (!texts[j].closest("g") && a.left < b.right - 1 && b.left < a.right - 1
                            && a.top + 3 < b.bottom - 3 && b.top + 3 < a.bottom - 3)
                        wrong.push(name + " over " + texts[j].textContent);
                });
            });
            return [wrong, texts.length];
        }""")
        assert wrong == [], file.name
        measured += count
    page.close()
    assert measured > 300


def test_the_stored_runs_are_whole_and_say_where_they_come_from():
    runs = json.loads((DOCS / "pictures" / "runs.json").read_text("utf-8"))
    alphabet, curve = runs["alphabet"], runs["curve"]
    assert alphabet["command"] and curve["command"].startswith("python examples/pretrain_mlm.py ")
    for run in (alphabet, curve):
        assert len(run["steps"]) == len(run["loss"]) and run["steps"] == sorted(run["steps"])
    assert alphabet["probability"][0] < 0.1 < 0.5 < alphabet["probability"][-1]
    assert " ".join(alphabet["tokens"]) == "[CLS] c d [MASK] f g [SEP] [PAD] [PAD]"
    for row in (row for head in alphabet["attention"] for row in head):
        assert abs(sum(row) - 100) <= 4 and row[-2:] == [0, 0]  # each is rounded
    assert abs(curve["loss"][0] - math.log(curve["vocabulary"])) < 0.3
    assert curve["loss"][-1] < curve["unigram"] < curve["loss"][0]


@pytest.mark.slow
def test_the_alphabet_is_learned_again(script):
    run = script["train_alphabet"]()
    assert run["loss"][-1] < 0.5 and run["probability"][-1] > 0.8
    d, mask, f = (run["tokens"].index(token) for token in ("d", "[MASK]", "f"))
    assert max(head[mask][d] for head in run["attention"]) > 50
    assert max(head[mask][f] for head in run["attention"]) > 50  # a head for each neighbour
