import base64
import json
import re
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bert_kit import (BERTForMaskedLM, BERTForSequenceClassification, BERTForTokenClassification,
                      BERTModel, BertConfig, Predictor, get_tokenizer, load_pretrained,
                      save_pretrained, train_tokenizer)
from bert_kit.cli import main
from bert_kit.errors import BertKitError
from bert_kit.jobs.commands import explore as command
from bert_kit.jobs.commands.explore import attributions, explore, fill_in
from bert_kit.model import BERTForMultiLabel
from tiny_jobs import table, tiny_bert

ROUNDING = 0.51e-4
TEXT = "the old red thing of fire and"
DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)
HOSTILE = ["</script><script>document.title = 'owned'</script>", "<!--<script>", "😀 &amp; \"'\\",
           "@DATA@ \u2028 <img src=x onerror=alert(1)>", "half \ud83d of it", "\u202eback\x00 "]


def data_of(path):
    """Return the numbers of a page."""
    return json.loads(DATA.search(path.read_text("utf-8"))[1])


def classifier_folder(folder, task=BERTForSequenceClassification, **changes):
    """Write a classifier with random weights, large enough for clear preferences."""
    tokenizer = train_tokenizer(table()[0], vocab_size=120, min_frequency=1)
    model = task(BertConfig(**{
        "vocab_size": tokenizer.vocab_size, "hidden_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 3, "intermediate_size": 40, "max_position_embeddings": 40,
        "initializer_range": 0.3, "labels": ("cold", "green", "warm"), **changes}))
    save_pretrained(model, folder, tokenizer)
    return folder


@pytest.fixture(scope="module")
def masked_lm(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("masked_lm"))


@pytest.mark.parametrize("pair", [None, "a very small leaf"])
def test_attention_and_similarity_are_the_models_own(masked_lm, tmp_path, pair):
    count = explore(masked_lm, TEXT, pair, output_file=tmp_path / "page.html")
    data, tokenizer = data_of(tmp_path / "page.html"), get_tokenizer(masked_lm)
    row = tokenizer.encode(TEXT, pair)
    model = load_pretrained(BERTForMaskedLM, masked_lm)
    with torch.no_grad():
        encoded = model.bert(torch.tensor([row.ids]), None, torch.tensor([row.type_ids]),
                             output_attentions=True, output_hidden_states=True)
    attention = torch.tensor(data["attention"])  # (L, H, S, S)
    assert attention.shape == (2, 3, count, count) and count == len(row.ids)
    torch.testing.assert_close(attention, torch.cat(encoded.attentions), rtol=0, atol=ROUNDING)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3, count), rtol=0,
                               atol=count * ROUNDING)
    for layer, hidden in enumerate(encoded.hidden_states):
        cosines = F.cosine_similarity(hidden[0, :, None], hidden[0, None], dim=-1)
        torch.testing.assert_close(torch.tensor(data["similarity"][layer]), cosines, rtol=0,
                                   atol=ROUNDING)
    assert data["segments"] == row.type_ids
    assert data["texts"] == [TEXT] + [pair] * (pair is not None)
    assert data["masked"] == [] and "answer" not in data


def vectors_of(packed, layers, heads, tokens, width):
    """Return the queries or keys of a page (L, H, S, W)."""
    counts = np.frombuffer(base64.b64decode(packed["counts"]), "<i2")
    return (torch.tensor(packed["units"])[..., None, None]
            * torch.tensor(counts.astype(np.float32)).reshape(layers, heads, tokens, width))


@pytest.mark.parametrize("pair", [None, "a very small leaf"])
def test_queries_and_keys_are_linear_maps_of_the_hidden_states(masked_lm, tmp_path, pair):
    """And softmax of their products is the attention that the page shows."""
    count = explore(masked_lm, TEXT, pair, output_file=tmp_path / "page.html")
    data = data_of(tmp_path / "page.html")
    width = data["products"]["width"]
    queries, keys = (vectors_of(data["products"][name], 2, 3, count, width)
                     for name in ("queries", "keys"))
    row = get_tokenizer(masked_lm).encode(TEXT, pair)
    model = load_pretrained(BERTForMaskedLM, masked_lm)
    with torch.no_grad():
        states = model.bert(torch.tensor([row.ids]), None, torch.tensor([row.type_ids]),
                            output_hidden_states=True).hidden_states
    size = model.config.hidden_size
    for layer, block in enumerate(model.bert.blocks):
        weight, bias = block.attention.qkv.weight.detach(), block.attention.qkv.bias.detach()
        for head in range(3):
            for first, found in ((0, queries), (size, keys)):
                rows = slice(first + head * width, first + (head + 1) * width)
                expected = states[layer][0] @ weight[rows].T + bias[rows]
                torch.testing.assert_close(found[layer, head], expected, rtol=0,
                                           atol=1e-4 * expected.abs().max().item())
    scores = torch.einsum("lhiw,lhjw->lhij", queries, keys) / width**0.5
    torch.testing.assert_close(torch.tensor(data["attention"]), scores.softmax(-1), rtol=0,
                               atol=2 * ROUNDING)


def test_a_model_of_zeros_has_products(tmp_path):
    model = load_pretrained(BERTForMaskedLM, classifier_folder(tmp_path, BERTForMaskedLM))
    for block in model.bert.blocks:
        block.attention.qkv.weight.data.zero_()
    save_pretrained(model, tmp_path)
    count = explore(tmp_path, TEXT, output_file=tmp_path / "page.html")
    data = data_of(tmp_path / "page.html")
    assert not vectors_of(data["products"]["keys"], 2, 3, count, 8).any()
    assert data["attention"][0][0][0] == [round(1 / count, 4)] * count


@pytest.mark.parametrize("each", [False, True])
def test_guesses_are_those_of_a_direct_forward(masked_lm, tmp_path, each):
    text = f"{TEXT} [MASK] snow"
    explore(masked_lm, text, mask=each, output_file=tmp_path / "page.html")
    found = data_of(tmp_path / "page.html")["masked"]
    tokenizer, model = get_tokenizer(masked_lm), load_pretrained(BERTForMaskedLM, masked_lm)
    ids = tokenizer.encode(text, allow_special_tokens=True).ids
    assert [entry["place"] for entry in found] == (
        list(range(1, len(ids) - 1)) if each else [ids.index(tokenizer.mask_id)])
    for entry in found:
        masked = torch.tensor([ids])
        masked[0, entry["place"]] = tokenizer.mask_id
        with torch.no_grad():
            shares = model(masked)[0, entry["place"]].softmax(-1)
        best = shares.topk(5)
        assert [piece for piece, _ in entry["guesses"]] == tokenizer.tokens(best.indices)
        assert [share for _, share in entry["guesses"]] == pytest.approx(best.values.tolist(),
                                                                         abs=ROUNDING)
        own = ids[entry["place"]]
        if own == tokenizer.mask_id:
            assert "rank" not in entry
        else:
            assert entry["rank"] == shares.argsort(descending=True).tolist().index(own) + 1
            assert entry["probability"] == pytest.approx(shares[own].item(), abs=ROUNDING)


def test_rows_of_the_weights_without_a_piece_are_never_guessed(masked_lm):
    tokenizer = get_tokenizer(masked_lm)
    model = BERTForMaskedLM(BertConfig(vocab_size=tokenizer.vocab_size + 8, hidden_size=12,
                                       num_attention_heads=3, num_hidden_layers=1)).eval()
    model.mlm_head.bias.data[-8:] = 50.0
    row = tokenizer.encode("red [MASK]", allow_special_tokens=True)
    with torch.no_grad():
        entry, = fill_in(model, row, tokenizer)
    assert len(entry["guesses"]) == 5 and entry["guesses"][0][1] == 0


@pytest.mark.parametrize("head", [{}, {"type": "bilstm"}, {"type": "mlp", "pooling": "mean"}])
def test_attributions_are_what_shrinking_a_word_vector_does(head, tmp_path):
    """Gradient times input is the derivative of the logit by a factor before the word's vector."""
    folder = classifier_folder(tmp_path, classifier=head)
    explore(folder, TEXT, output_file=tmp_path / "page.html")
    answer, tokenizer = data_of(tmp_path / "page.html")["answer"], get_tokenizer(folder)
    row = tokenizer.encode(TEXT)
    model = load_pretrained(BERTForSequenceClassification, folder, fused=False).double()
    ids, types = torch.tensor([row.ids]), torch.tensor([row.type_ids])
    logits, added = attributions(model, ids, types)
    best = logits.argmax().item()

    def logit(factors):
        hook = model.bert.embeddings.word.register_forward_hook(
            lambda module, arguments, vectors: vectors * factors[:, None])
        with torch.no_grad():
            result = model(ids, None, types)[0, best].item()
        hook.remove()
        return result

    slopes, step = [], 1e-5
    for place in range(len(row.ids)):
        factors = torch.ones(2, len(row.ids), dtype=torch.float64)
        factors[:, place] += torch.tensor([step, -step])
        slopes.append((logit(factors[0]) - logit(factors[1])) / (2 * step))
    assert max(map(abs, slopes)) > 1e-3
    assert added.tolist() == pytest.approx(slopes, rel=1e-5, abs=1e-8)
    assert answer["attributions"] == pytest.approx(slopes, rel=2e-3, abs=1e-5)
    assert answer["explained"] == model.config.labels[best] == answer["prediction"]
    assert not any(p.grad is not None for p in model.parameters())


def test_probabilities_are_those_of_predict(tmp_path):
    folder = classifier_folder(tmp_path)
    text = f"{TEXT} [MASK] [SEP]"  # to a classifier this is text
    explore(folder, text, output_file=tmp_path / "page.html")
    data, predictor = data_of(tmp_path / "page.html"), Predictor.load(folder, "cpu")
    shares = dict(zip(predictor.classes, predictor.probabilities([text])[0]))
    found = dict(data["answer"]["probabilities"])
    assert found == pytest.approx(shares, abs=ROUNDING)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert data["answer"]["prediction"] == predictor.predict([text])[0]
    assert "[MASK]" not in data["tokens"] and data["masked"] == []


def test_labels_and_numbers_are_answers_too(tmp_path):
    folder = classifier_folder(tmp_path / "labels", BERTForMultiLabel)
    explore(folder, TEXT, output_file=tmp_path / "page.html")
    answer, predictor = data_of(tmp_path / "page.html")["answer"], Predictor.load(folder, "cpu")
    assert answer["prediction"] == (", ".join(predictor.predict([TEXT])[0]) or "none of the labels")
    assert dict(answer["probabilities"]) == pytest.approx(
        dict(zip(predictor.classes, predictor.probabilities([TEXT])[0])), abs=ROUNDING)

    folder = classifier_folder(tmp_path / "number", labels=("stars",))
    explore(folder, TEXT, output_file=tmp_path / "page.html")
    answer = data_of(tmp_path / "page.html")["answer"]
    assert answer["probabilities"] == [] and answer["explained"] == "stars"
    assert float(answer["prediction"]) == pytest.approx(
        Predictor.load(folder, "cpu").predict([TEXT])[0], rel=1e-3)


@pytest.mark.parametrize("task", [BERTModel, BERTForTokenClassification])
def test_other_folders_show_the_encoder(task, tmp_path):
    folder = classifier_folder(tmp_path, task)
    explore(folder, TEXT, output_file=tmp_path / "page.html")
    data = data_of(tmp_path / "page.html")
    assert len(data["attention"]) == 2 and data["masked"] == [] and "answer" not in data


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text, tmp_path):
    folder = classifier_folder(tmp_path, labels=("</script>", "<b>", "@DATA@"),
                               max_position_embeddings=64)
    explore(folder, text, "<b>", output_file=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("ascii")
    before, after = command.PAGE.read_text("ascii").split("@DATA@")
    assert page.startswith(before) and page.endswith(after)
    assert not re.search("[<>&]", page[len(before):-len(after)])
    assert data_of(tmp_path / "page.html")["texts"] == [text, "<b>"]


def test_an_unknown_piece_says_what_it_stands_for(masked_lm, tmp_path):
    explore(masked_lm, "red 😀", "old 漢", output_file=tmp_path / "page.html")
    tokens = data_of(tmp_path / "page.html")["tokens"]
    assert tokens == ["[CLS]", "red", "[UNK] 😀", "[SEP]", "old", "[UNK] 漢", "[SEP]"]


def test_the_page_needs_nothing_and_is_small(tmp_path):
    folder = classifier_folder(tmp_path, BERTForMaskedLM, num_hidden_layers=6,
                               num_attention_heads=12)
    page = tmp_path / "page.html"
    assert explore(folder, "red " * 30, mask=True, output_file=page) == 32
    assert page.stat().st_size < 1e6
    source = command.PAGE.read_text("ascii")
    assert "connect-src" not in source and "default-src 'none'" in source
    assert not re.search(r"https?:|src=|@import|url\(|fetch|innerHTML", source)


@pytest.mark.parametrize("arguments, message", [
    ({"text": " "}, "text is empty"),
    ({"text": "red", "text_b": ""}, "text_b is empty"),
    ({"text": "red " * 39}, "the text has 41 tokens; expected at most 40"),
    ({"text": "red", "mask": True}, "holds no masked-token head"),
    ({"text": "red", "model": "no-such-model"}, "no-such-model: not a folder")])
def test_what_cannot_be_shown_is_one_line(arguments, message, tmp_path):
    folder = classifier_folder(tmp_path / "model")
    with pytest.raises(BertKitError, match=re.escape(message)):
        explore(**{"model": folder, "output_file": tmp_path / "page.html", **arguments})
    assert not (tmp_path / "page.html").exists()


def test_long_texts_and_broken_weights_are_refused(tmp_path):
    folder = classifier_folder(tmp_path, max_position_embeddings=512)
    with pytest.raises(BertKitError, match="has 65 tokens; expected at most 64"):
        explore(folder, "red " * 63, output_file=tmp_path / "page.html")
    tokenizer = get_tokenizer(folder)
    tokenizer.max_length = 9  # where `predict` cuts off
    tokenizer.save(folder)
    with pytest.raises(BertKitError, match="has 10 tokens; expected at most 9"):
        explore(folder, "red " * 8, output_file=tmp_path / "page.html")
    model = load_pretrained(BERTForSequenceClassification, folder)
    model.classifier.output.bias.data[0] = float("nan")
    save_pretrained(model, folder)
    with pytest.raises(BertKitError, match="are not finite"):
        explore(folder, "red", output_file=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_queries_that_are_not_finite_are_refused(number, tmp_path):
    model = load_pretrained(BERTForMaskedLM,
                            classifier_folder(tmp_path, BERTForMaskedLM, num_hidden_layers=1))
    model.bert.blocks[0].attention.qkv.bias.data[0] = number  # of a query
    save_pretrained(model, tmp_path)
    with pytest.raises(BertKitError, match="are not finite"):
        explore(tmp_path, "red", output_file=tmp_path / "page.html")


def test_a_model_of_pairs_asks_for_the_second_text(tmp_path, monkeypatch):
    folder = classifier_folder(tmp_path)
    monkeypatch.setattr("bert_kit.jobs.commands.explore.text_columns", lambda folder: ("a", "b"))
    with pytest.raises(BertKitError, match="was trained on pairs"):
        explore(folder, "red", output_file=tmp_path / "page.html")


def test_the_command(masked_lm, tmp_path, capsys):
    page = tmp_path / "new" / "page.html"
    arguments = ["explore", "--model", str(masked_lm), "--text", "red [MASK]", "--mask"]
    assert main([*arguments, "--output-file", str(page)]) == 0
    assert capsys.readouterr().out == f"4 tokens: {page}\n"
    assert [entry["place"] for entry in data_of(page)["masked"]] == [1, 2]
    assert main([*arguments[:3], "--text", ""]) == 1
    assert capsys.readouterr().err == "error: text is empty; expected at least one word\n"


# ---- in a real browser

@pytest.fixture
def opened(browser):
    """Return a function that opens a page; at the end nothing may have gone wrong in it."""
    wrong, asked, pages = [], [], []

    def open_page(path, **options):
        page = browser.new_page(**options)
        pages.append(page)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for page in pages:
        page.close()
    assert wrong == [] and len(asked) == len(pages)  # the page itself, and nothing else
    assert all(url.startswith("file:") for url in asked)


def shown(number, digits):
    """A number as a browser's toFixed writes it, which rounds halves up."""
    return str(Decimal(number).quantize(Decimal(10) ** -digits, ROUND_HALF_UP))


def percent(share):
    return shown(100 * share, 1) + "%"


def test_a_browser_shows_where_a_token_looks(masked_lm, tmp_path, opened):
    path = tmp_path / "page.html"
    explore(masked_lm, f"{TEXT} [MASK]", mask=True, output_file=path)
    data, page = data_of(path), opened(path)
    tiles, maps, said = (page.locator(place) for place in ("#tokens button", "#maps button",
                                                           "#said"))
    assert tiles.count() == len(data["tokens"]) and maps.count() == 6

    maps.nth(4).click()  # the second head of the second layer
    tiles.nth(3).hover()
    looks = data["attention"][1][1][3]
    assert [tiles.nth(j).inner_text().split("\n") for j in range(len(looks))] == [
        [token, percent(share)] for token, share in zip(data["tokens"], looks)]
    best = max(range(len(looks)), key=looks.__getitem__)
    assert said.inner_text().startswith(f"Layer 2, head 2: “{data['tokens'][3]}” looks at "
                                        f"{data['tokens'][best]} {percent(looks[best])}, ")
    page.get_by_label("who looks at it").check()
    assert tiles.nth(5).inner_text().split("\n")[1] == percent(data["attention"][1][1][5][3])
    page.get_by_label("which are like it").check()
    assert tiles.nth(5).inner_text().split("\n")[1] == shown(
        data["similarity"][2][3][5], 2)
    cards = page.locator("#masked .card")
    assert cards.count() == len(data["masked"]) == len(data["tokens"]) - 2
    assert cards.last.locator("li").first.inner_text().split("\n") == [
        data["masked"][-1]["guesses"][0][0], percent(data["masked"][-1]["guesses"][0][1])]


def test_a_browser_needs_no_mouse(masked_lm, tmp_path, opened):
    explore(masked_lm, TEXT, output_file=tmp_path / "page.html")
    data, page = data_of(tmp_path / "page.html"), opened(tmp_path / "page.html")
    said = page.locator("#said")
    for _ in range(4):  # what to show, the layer, the head, the tokens
        page.keyboard.press("Tab")
    for place in (2, 3, 4):
        page.keyboard.press("ArrowRight")
        assert f"mean of all heads: “{data['tokens'][place]}” looks at" in said.inner_text()
    page.keyboard.press("Enter")  # held
    page.locator("#tokens button").nth(0).hover()
    assert f"“{data['tokens'][4]}”" in said.inner_text()
    page.keyboard.press("Tab")  # the pictures of the heads
    page.keyboard.press("Enter")
    assert said.inner_text().startswith("Layer 1, head 1:")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert said.inner_text().startswith("Layer 2, head 2:")


def test_a_browser_shows_how_a_weight_is_made(masked_lm, tmp_path, opened):
    path = tmp_path / "page.html"
    count = explore(masked_lm, TEXT, output_file=path)
    data, page = data_of(path), opened(path)
    width, layer, head, token, key = data["products"]["width"], 1, 2, 4, 6
    queries, keys = (vectors_of(data["products"][name], 2, 3, count, width).double()[layer, head]
                     for name in ("queries", "keys"))
    page.locator("#maps button").nth(3 * layer + head).click()
    page.locator("#tokens button").nth(token).click()
    page.locator("#products button").nth(key).click()
    products = queries[token] * keys
    cells = page.evaluate("""() => [...document.querySelectorAll("#products tbody tr")].slice(1)
        .map(row => [...row.querySelectorAll("td")].slice(2).map(cell => cell.innerText))""")
    for j, (total, score, weight) in enumerate(cells):
        assert float(total) == pytest.approx(products[j].sum().item(), abs=0.006)
        assert float(score) == pytest.approx(products[j].sum().item() / width**0.5, abs=0.006)
        assert weight == percent(data["attention"][layer][head][token][j])
    assert len(cells) == count
    written = [text.split("\n") for text in page.locator("#numbers .token").all_inner_texts()]
    for n, (factors, product) in enumerate(written):
        assert [float(factor) for factor in factors.split(" \u00d7 ")] == pytest.approx(
            [queries[token, n].item(), keys[key, n].item()], abs=0.006)
        assert float(product) == pytest.approx(products[key, n].item(), abs=0.006)
    assert len(written) == width
    powers = ((products.sum(1) - products.sum(1).max()) / width**0.5).exp()
    words = page.locator("#sum").inner_text()
    assert f"is {powers[key].item():.3f} here and {powers.sum().item():.3f} for all" in words
    assert words.endswith(f": {percent(data['attention'][layer][head][token][key])}.")
    inks = page.evaluate("""() => [...document.querySelectorAll("#products canvas")].map(
        canvas => [canvas.width, canvas.height, canvas.getContext("2d").getImageData(
            0, 0, canvas.width, 1).data.some(byte => byte > 0)])""")
    assert inks == [[width, 1, True]] * (1 + 2 * count)

    page.locator("#head").select_option("0")  # a mean of heads has no query
    assert page.locator("#asks").inner_text().startswith("Layer 2, head 1: ")
    assert "choose a head" in page.locator("#asks").inner_text()
    page.get_by_label("which are like it").check()
    page.locator("#layer").fill("0")
    assert page.locator("#asks").inner_text().startswith("Layer 1, head 1: ")
    page.locator("#products [aria-pressed=true]").press("ArrowUp")
    assert page.locator("#pair").inner_text().endswith(f"key of “{data['tokens'][key - 1]}”")


def test_a_browser_tells_tokens_apart_that_are_alike(masked_lm, tmp_path, opened):
    explore(masked_lm, "red old red", "fire", output_file=tmp_path / "page.html")
    page = opened(tmp_path / "page.html")
    names = ["[CLS]", "red₁", "old", "red₃", "[SEP]₄", "fire", "[SEP]₆"]
    assert page.locator("#tokens button span").all_inner_texts() == names
    assert page.locator("#products button").all_inner_texts() == names
    assert page.locator("#alike").is_visible()
    page.locator("#tokens button").nth(3).hover()
    assert "“red₃” looks at" in page.locator("#said").inner_text()
    assert page.locator("#pair").inner_text().startswith(
        "Product by product: the query of “red₃” and the key of ")

    explore(masked_lm, TEXT, output_file=tmp_path / "page.html")
    page = opened(tmp_path / "page.html")
    assert page.locator("#tokens button span").all_inner_texts() == data_of(
        tmp_path / "page.html")["tokens"]
    assert page.locator("#alike").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1_920])
def test_a_browser_fits_the_page_on_any_screen(tmp_path, opened, width, scheme):
    folder = classifier_folder(tmp_path, num_attention_heads=12, labels=("<b>x", "y" * 80, "z"),
                               max_position_embeddings=64)
    path, text = tmp_path / "page.html", " ".join(HOSTILE[1:4]) + " " + "long" * 30
    explore(folder, text, output_file=path)
    page = opened(path, viewport={"width": width, "height": 700}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.title() == "bert_kit explore"
    assert page.locator("blockquote").inner_text().split() == text.split()
    assert "<b>x" in page.locator("#answer .bars").inner_text()
    tiles = page.locator("#answer .token")
    assert tiles.count() == len(data_of(path)["tokens"])
    dark = sum(map(int, re.findall(r"\d+", page.evaluate(
        "getComputedStyle(document.body).backgroundColor")))) < 3 * 128
    assert dark == (scheme == "dark")
