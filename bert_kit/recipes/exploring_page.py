"""The page that `exploring` fills: HTML, style and script in one text, with @DATA@ for the numbers.

Every text of the user's reaches the page as JSON and is set as plain text, never as HTML. The
policy in its head forbids the page to fetch anything.
"""

PAGE = r"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
 style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<link rel="icon" href="data:,"><title>bert_kit explore</title>
<style>
:root { color-scheme: light dark; --paper: #fff; --card: #f2f4f7; --ink: #16181d; --dim: #565d6b;
  --line: #c3c9d2; --plus: 86 156 214; --minus: 230 145 56;
  --dot: 20 90 170; --against: 200 90 0 }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171c; --card: #20252c; --ink: #eceff3; --dim: #a9b1be; --line: #4a525f;
    --plus: 40 100 165; --minus: 160 80 10; --dot: 120 190 255; --against: 255 160 60 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
main { max-width: 1100px; margin: auto; padding: 1rem clamp(.75rem, 3vw, 2rem) 3rem }
h1, h2 { line-height: 1.2; margin: 0 0 .5rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2.5rem }
p { margin: .4rem 0 } .dim { color: var(--dim); font-size: .9rem }
blockquote { margin: .5rem 0; padding-left: .75rem; border-left: 3px solid var(--line);
  white-space: pre-wrap }
fieldset { border: 0; margin: .75rem 0; padding: 0; display: flex; flex-wrap: wrap;
  gap: .4rem 1.5rem; align-items: center }
legend { padding: 0; font-weight: 600 } label { white-space: nowrap }
select, input { font: inherit; accent-color: rgb(var(--plus)); vertical-align: middle }
input[type=range] { width: 9rem } output { display: inline-block; min-width: 1.5em }
.tokens { display: flex; flex-wrap: wrap; gap: .3rem; margin: .75rem 0; padding: 0 }
.token { font: inherit; color: inherit; border: 1px solid var(--line); border-radius: .4rem;
  padding: .2rem .45rem; min-width: 3.2rem; text-align: center; --tone: var(--plus); --w: 0;
  background: color-mix(in srgb, rgb(var(--tone)) calc(var(--w) * 100%), var(--card)) }
.token > * { display: block } .token small { min-width: 4.2em;
  font-variant-numeric: tabular-nums }
.token.minus { --tone: var(--minus) } .token.second { border-style: dashed }
button { cursor: pointer }
.token[aria-current=true] { outline: 3px solid var(--ink); outline-offset: 0 }
.token[aria-pressed=true] span::before { content: "\1F4CC\FE0E " }
:focus-visible { outline: 3px solid rgb(var(--minus)); outline-offset: 1px }
#said { min-height: 3em; margin: .5rem 0 }
@media (max-width: 600px) { #said { min-height: 7.5em } }
.scroll { overflow-x: auto; padding: 4px }
#maps { display: grid; gap: 3px; width: max-content; max-width: 100%; align-items: center }
#maps > span { color: var(--dim); font-size: .75rem; text-align: center; min-width: 1.2rem }
#maps button { border: 1px solid var(--line); padding: 0; background: var(--card); line-height: 0;
  border-radius: 2px }
#maps [aria-pressed=true] { outline: 3px solid var(--ink) }
canvas { width: 100%; aspect-ratio: 1; image-rendering: pixelated }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)) }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem }
.bars { list-style: none; margin: .4rem 0 0; padding: 0; max-width: 32rem }
.bars li { display: flex; justify-content: space-between; gap: 1rem; padding: .1rem .4rem;
  margin-bottom: 2px; border-radius: .2rem; --w: 0; background: linear-gradient(to right,
  rgb(var(--plus) / .75) calc(var(--w) * 100%), var(--card) 0) }
.bars span:last-child { white-space: nowrap; font-variant-numeric: tabular-nums }
</style></head>
<body><main>
<noscript><p>This page draws itself with a script; please allow it.</p></noscript>
<header><h1>What the model sees</h1><div id="about"></div></header>

<section aria-labelledby="looks"><h2 id="looks">Tokens, layer by layer</h2>
<fieldset id="views"><legend>Show</legend>
<label><input type="radio" name="view" value="from" checked> where a token looks</label>
<label><input type="radio" name="view" value="to"> who looks at it</label>
<label><input type="radio" name="view" value="like"> which are like it</label></fieldset>
<fieldset>
<label>Layer <input type="range" id="layer" min="1" value="1"> <output id="number"></output></label>
<label>Head <select id="head"><option value="0">mean of all</option></select></label></fieldset>
<p class="dim" id="meaning"></p>
<div class="tokens" id="tokens" role="group" aria-label="Tokens"></div>
<p id="said" aria-live="polite"></p>
<p class="dim">Point at a token, or reach it with Tab and the arrow keys. A click holds it, another
lets it go.<span id="second" hidden> Dashed: the second text.</span></p>
<h3 class="dim" id="heads"></h3>
<div class="scroll"><div id="maps" role="group" aria-labelledby="heads"></div></div></section>

<section id="masked" hidden aria-labelledby="places"><h2 id="places">Masked places</h2>
<p class="dim">The five likeliest pieces at each place, hidden from the model and guessed
from all the others. Places count from [CLS], which is 0.</p><div class="cards"></div></section>

<section id="answer" hidden aria-labelledby="says"><h2 id="says"></h2></section>
</main>
<script type="application/json" id="data">@DATA@</script>
<script>
"use strict";
const find = id => document.getElementById(id);
const data = JSON.parse(find("data").textContent);
const layers = data.attention.length, heads = data.attention[0].length;
const size = data.tokens.length, everyone = [...data.tokens.keys()];
const state = {view: "from", layer: 1, head: 0, token: Math.min(1, size - 1), held: false};

function make(parent, tag, text = "", kind = "") {
  const made = parent.appendChild(document.createElement(tag));
  made.textContent = text;  // never HTML
  made.className = kind;
  return made;
}
const percent = share => `${(100 * share).toFixed(1)}%`;
const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;

function bars(parent, rows) {
  const list = make(parent, "ol", "", "bars");
  for (const [name, share] of rows) {
    const row = make(list, "li");
    make(row, "span", name);
    make(row, "span", percent(share));
    row.style.setProperty("--w", share);
  }
}

// A token as a tile: its colour has strength from -1 to 1, its number is a text.
function tile(parent, tag, place) {
  const made = make(parent, tag, "", data.segments[place] ? "token second" : "token");
  make(made, "span", data.tokens[place]);
  make(made, "small");
  return made;
}
function paint(tile, strength, text) {
  tile.style.setProperty("--w", Math.min(1, Math.abs(strength)).toFixed(3));
  tile.classList.toggle("minus", strength < 0);
  tile.lastChild.textContent = text;
}

// ---- what is shown
const mean = number => everyone.map(i => everyone.map(j =>
  data.attention[number].reduce((sum, head) => sum + head[i][j], 0) / heads));
const means = data.attention.map((_, number) => mean(number));
const attention = (layer, head) => head ? data.attention[layer - 1][head - 1] : means[layer - 1];
const matrix = () => state.view === "like" ? data.similarity[state.layer]
  : attention(state.layer, state.head);
// Square roots, for attention: else only the few largest could be seen.
const strength = value => state.view === "like" ? value : Math.sqrt(value);
const shown = value => state.view === "like" ? value.toFixed(2) : percent(value);
const VIEWS = {
  from: ["looks at", "How much of its attention the token gives to each; this adds up to 100%."],
  to: ["is looked at by", "How much of its attention each token gives to this one."],
  like: ["is like", "The cosine of the angle between the tokens' vectors after the layer: 1 where "
    + "they point the same way. Layer 0 is the embeddings, before any attention."]};

function draw() {
  const rows = matrix(), values = everyone.map(j =>
    state.view === "to" ? rows[j][state.token] : rows[state.token][j]);
  tiles.forEach((tile, j) => {
    paint(tile, strength(values[j]), shown(values[j]));
    tile.setAttribute("aria-current", j === state.token);
    tile.setAttribute("aria-pressed", state.held && j === state.token);
    tile.tabIndex = j === state.token ? 0 : -1;
  });
  const best = everyone.filter(j => state.view !== "like" || j !== state.token)
    .sort((a, b) => values[b] - values[a]).slice(0, 5);
  const where = state.view === "like" ? `Layer ${state.layer}`
    : `Layer ${state.layer}, ${state.head ? `head ${state.head}` : "mean of all heads"}`;
  find("said").textContent = `${where}: \u201c${data.tokens[state.token]}\u201d `
    + VIEWS[state.view][0] + " "
    + best.map(j => `${data.tokens[j]} ${shown(values[j])}`).join(", ");
  find("meaning").textContent = VIEWS[state.view][1];
  find("layer").min = state.view === "like" ? 0 : 1;
  find("layer").value = state.layer;
  find("number").textContent = state.layer;
  find("head").value = state.head;
  find("head").disabled = state.view === "like";
  let held = null;
  for (const map of maps.children) {
    if (map.tagName !== "BUTTON") continue;
    const here = +map.dataset.layer === state.layer && +map.dataset.head === state.head;
    map.setAttribute("aria-pressed", here);
    map.tabIndex = -1;
    if (here || !held) held = map;
  }
  held.tabIndex = 0;
}

// ---- tokens
const tiles = everyone.map(place => tile(find("tokens"), "button", place));
tiles.forEach((tile, place) => {
  const look = () => { if (!state.held) { state.token = place; draw(); } };
  tile.addEventListener("pointerenter", look);
  tile.addEventListener("focus", look);
  tile.addEventListener("click", () => {
    state.held = !(state.held && state.token === place);
    state.token = place;
    draw();
  });
});

// Arrow keys go from button to button; only one of them is reached with Tab.
function arrows(group, across, act) {
  group.addEventListener("keydown", event => {
    const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across(), ArrowDown: across()}[event.key];
    const buttons = [...group.querySelectorAll("button")];
    const next = buttons[buttons.indexOf(event.target) + step];
    if (step === undefined || !next) return;
    event.preventDefault();
    next.focus();
    act(next);
  });
}
arrows(find("tokens"), () => 1, tile => {
  Object.assign(state, {token: tiles.indexOf(tile), held: false});
  draw();
});

// ---- a small picture of every head, or of every layer's similarities
const maps = find("maps");
function picture(rows, layer, head) {
  const button = make(maps, "button"), canvas = make(button, "canvas");
  button.title = head === null ? `layer ${layer}` : `layer ${layer}, head ${head}`;
  button.setAttribute("aria-label", button.title);
  Object.assign(button.dataset, {layer, head: head === null ? state.head : head});
  canvas.width = canvas.height = size;
  const style = getComputedStyle(document.documentElement);
  const [dot, against] = ["--dot", "--against"].map(
    name => style.getPropertyValue(name).trim().split(" ").map(Number));
  const pixels = new ImageData(size, size);
  rows.flat().forEach((value, i) => {
    const power = strength(value);
    pixels.data.set([...(power < 0 ? against : dot), 255 * Math.abs(power)], 4 * i);
  });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  button.addEventListener("click", () => {
    Object.assign(state, head === null ? {layer} : {layer, head});
    draw();
  });
}
function drawMaps() {
  maps.replaceChildren();
  const like = state.view === "like", across = like ? layers + 1 : heads;
  maps.style.gridTemplateColumns = `auto repeat(${across}, minmax(20px, 72px))`;
  find("heads").textContent = like ? "All layers (a row is a token)"
    : "All heads: a row is a layer, a column a head (in a picture, a row is a token that looks)";
  make(maps, "span");
  for (let column = 1; column <= across; column++) make(maps, "span", column - like);
  if (like) {
    make(maps, "span");
    data.similarity.forEach((rows, layer) => picture(rows, layer, null));
  } else {
    data.attention.forEach((layer, number) => {
      make(maps, "span", number + 1);
      layer.forEach((rows, head) => picture(rows, number + 1, head + 1));
    });
  }
  draw();
}
arrows(maps, () => state.view === "like" ? 1 : heads, map => map.click());

// ---- controls
find("layer").max = layers;
for (let head = 1; head <= heads; head++) make(find("head"), "option", head).value = head;
find("layer").addEventListener("input", event => { state.layer = +event.target.value; draw(); });
find("head").addEventListener("input", event => { state.head = +event.target.value; draw(); });
find("views").addEventListener("input", event => {
  state.view = event.target.value;
  if (state.view !== "like") state.layer = Math.max(1, state.layer);
  drawMaps();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawMaps);

// ---- the rest of the page
data.texts.forEach(text => make(find("about"), "blockquote", text));
make(find("about"), "p", `${data.model}: ${count(layers, "layer")} of ${count(heads, "head")}, `
  + count(size, "token"), "dim");
find("second").hidden = data.texts.length < 2;

for (const {place, guesses, rank, probability} of data.masked) {
  find("masked").hidden = false;
  const card = make(find("masked").querySelector(".cards"), "div", "", "card");
  make(card, "strong", data.tokens[place]);
  make(card, "span", rank ? ` place ${place}: ${percent(probability)}, rank ${rank}`
    : ` place ${place}`, "dim");
  bars(card, guesses);
}

if (data.answer) {
  const {prediction, probabilities, classes, explained, attributions} = data.answer;
  const section = find("answer"), most = Math.max(...attributions.map(Math.abs)) || 1;
  const digits = Math.min(9, Math.max(0, 1 - Math.floor(Math.log10(most))));
  section.hidden = false;
  find("says").textContent = `The answer: ${prediction}`;
  bars(section, probabilities);
  if (probabilities.length < classes && probabilities.length)
    make(section, "p", `The likeliest of ${classes}.`, "dim");
  make(section, "p", `What each token adds to the score of \u201c${explained}\u201d (blue) or takes`
    + " from it (orange): gradient times input on the word embeddings.", "dim");
  const list = make(section, "div", "", "tokens");
  attributions.forEach((value, place) =>
    paint(tile(list, "div", place), value / most, (+value.toFixed(digits) || 0).toFixed(digits)));
}
drawMaps();
</script></body></html>
"""
