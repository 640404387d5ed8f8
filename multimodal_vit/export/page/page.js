// The page: images drawn or taken, a text, and what the model says of them.

import * as ort from "./ort.wasm.bundle.min.mjs";
import { fit, NothingDrawn } from "./fitting.js";

const PEN = 14; // of a canvas of 168: as wide, in what is drawn, as MNIST's strokes
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", import.meta.url).href };

const at = (id) => document.getElementById(id);
const percent = (value) => `${(100 * value).toFixed(1)} %`;
const sigmoid = (x) => 1 / (1 + Math.exp(-x));

const [about, session] = await Promise.all([
  fetch("model.json").then((response) => response.json()),
  ort.InferenceSession.create("model.onnx"),
]).catch((error) => {
  at("about").textContent = `The model cannot be loaded: ${error.message}`;
  throw error;
});
const [ROWS, COLUMNS] = about.grid;
const [H, W, C] = about.imageShape;
const COUNT = ROWS * COLUMNS;
const known = new Map(about.classNames.map((name, label) => [plain(name), label]));
const cells = Array.from({ length: COUNT }, (_, i) => makeCell(i));
let attention = null; // of the last answer: shares by word and patch
let looking = -1; // the word whose attention is shown
let swaps = 0; // pairs of words that were swapped so far
let asked = Promise.resolve(); // one question after the other

at("about").textContent =
  `${about.name}: ${COUNT} images in ${ROWS} rows of ${COLUMNS}; it knows the words ` +
  `${about.classNames.join(", ")}. It runs here; nothing leaves this page.`;
at("grid").style.gridTemplateColumns = `repeat(${COLUMNS}, minmax(0, 1fr))`;
at("text").value = Array.from({ length: COUNT }, (_, i) => about.classNames[i % 10]).join(" ");
at("text").addEventListener("input", () => answer());
at("swap-button").addEventListener("click", () => (asked = asked.then(swapWords)));
document.querySelector("main").hidden = false;
await answer();
document.body.dataset.ready = "yes";

// ---- images ----

function makeCell(index) {
  const cell = at("cell").content.firstElementChild.cloneNode(true);
  at("grid").append(cell);
  const [pad, seen] = cell.querySelectorAll("canvas");
  const look = document.createElement("canvas");
  [look.width, look.height, look.className] = [pad.width, pad.height, "look"];
  pad.after(look);
  pad.getContext("2d", { willReadFrequently: true });
  pad.setAttribute("role", "img");
  [seen.width, seen.height] = [W, H];
  const select = cell.querySelector("select");
  select.setAttribute("aria-label", `image ${index + 1}: drawn, or a test image of`);
  select.append(new Option("draw", ""));
  for (const name of about.classNames) select.append(new Option(name, name));
  const own = { index, pad, look, seen, select, drawn: false, example: -1, used: new Map() };
  select.addEventListener("change", () => take(own));
  cell.querySelector(".clear").setAttribute("aria-label", `clear image ${index + 1}`);
  cell.querySelector(".clear").addEventListener("click", () => (clear(own), answer()));
  drawWith(own);
  return own;
}

function clear(cell) {
  cell.pad.getContext("2d").clearRect(0, 0, cell.pad.width, cell.pad.height);
  [cell.drawn, cell.example, cell.select.value] = [false, -1, ""];
}

/** Shows the next test image of the class that is chosen. */
function take(cell) {
  const name = cell.select.value;
  clear(cell);
  if (name) {
    cell.select.value = name;
    const label = about.classNames.indexOf(name);
    const own = about.examples.labels.flatMap((other, i) => (other === label ? [i] : []));
    const turn = cell.used.get(name) ?? cell.index;
    cell.used.set(name, turn + 1);
    cell.example = own.length ? own[turn % own.length] : -1;
    if (cell.example >= 0) show(about.examples.images[cell.example], cell.pad);
  }
  answer();
}

/** Draws bytes [H · W · C] over the whole of a canvas. */
function show(bytes, canvas) {
  const small = new OffscreenCanvas(W, H);
  const data = new ImageData(W, H);
  for (let i = 0; i < H * W; i++) {
    for (let c = 0; c < 3; c++) data.data[4 * i + c] = bytes[i * C + (C === 3 ? c : 0)];
    data.data[4 * i + 3] = 255;
  }
  small.getContext("2d").putImageData(data, 0, 0);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function drawWith(cell) {
  const { pad } = cell;
  let last = null;
  const place = (event) => {
    const box = pad.getBoundingClientRect();
    const scale = pad.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  };
  const line = (from, to) => {
    const context = pad.getContext("2d");
    context.lineWidth = PEN;
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = getComputedStyle(document.body).color;
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
  };
  pad.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pad.setPointerCapture(event.pointerId);
    if (!cell.drawn) clear(cell);
    cell.drawn = true;
    last = place(event);
    line(last, last);
  });
  pad.addEventListener("pointermove", (event) => {
    if (!last) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) {
      const next = place(one);
      line(last, next);
      last = next;
    }
  });
  for (const name of ["pointerup", "pointercancel"]) {
    pad.addEventListener(name, () => {
      if (last) answer();
      last = null;
    });
  }
}

/** What the model sees of a cell, Uint8Array [H · W · C]; null where there is nothing. */
function bytesOf(cell) {
  if (cell.example >= 0) return Uint8Array.from(about.examples.images[cell.example]);
  if (!cell.drawn) return null;
  const { width, height } = cell.pad;
  const { data } = cell.pad.getContext("2d").getImageData(0, 0, width, height);
  const tones = new Float64Array(width * height); // dark on light, whatever the page's colours
  for (let i = 0; i < tones.length; i++) tones[i] = 1 - data[4 * i + 3] / 255;
  try {
    return fit({ height, width, channels: 1, data: tones }, about.appearance, about.imageShape);
  } catch (error) {
    if (error instanceof NothingDrawn) return null;
    throw error;
  }
}

// ---- text ----

function plain(name) {
  return name.toLowerCase().split(/\s+/).filter(Boolean).join(" ");
}

/** The labels that a text names, and what is wrong with it. */
function read(text) {
  let words;
  if (text.includes(",")) {
    words = text.split(",").map((part) => part.trim()).filter(Boolean);
  } else {
    words = [];
    let left = text.split(/\s+/).filter(Boolean);
    const longest = Math.max(...[...known.keys()].map((name) => name.split(" ").length));
    while (left.length) {
      let length = Math.min(longest, left.length);
      while (length > 1 && !known.has(plain(left.slice(0, length).join(" ")))) length--;
      words.push(left.slice(0, length).join(" "));
      left = left.slice(length);
    }
  }
  const unknown = words.find((word) => !known.has(plain(word)));
  let wrong = "";
  if (unknown !== undefined) wrong = `“${unknown}” is none of the words that the model knows.`;
  else if (words.length !== COUNT) wrong = `The text has ${words.length} words; it reads ${COUNT}.`;
  return { labels: wrong ? null : words.map((word) => known.get(plain(word))), wrong };
}

// ---- answers ----

/** The model's answer to pasted images and labels. */
async function run(pasted, labels) {
  const shape = [1, ROWS * H, COLUMNS * W, C];
  const found = await session.run({
    image: new ort.Tensor("uint8", pasted, shape),
    words: new ort.Tensor("int32", Int32Array.from(labels), [1, COUNT]),
  });
  const logits = Array.from(found.logits.data);
  const m = about.numMatchOutputs;
  return {
    true: sigmoid(m === 2 ? logits[0] - logits[1] : logits[0]),
    classes: logits.slice(m).map(sigmoid),
    attention: found.attention ? sharesOf(found.attention) : null,
  };
}

/** From weights [1, L, heads, n, P] the mean over layers and heads, as shares of each word's. */
function sharesOf({ data, dims }) {
  const [, layers, heads, n, P] = dims;
  const mean = Array.from({ length: n }, () => new Float64Array(P));
  for (let l = 0; l < layers * heads; l++) {
    for (let i = 0; i < n; i++) {
      for (let p = 0; p < P; p++) mean[i][p] += data[(l * n + i) * P + p];
    }
  }
  return mean.map((row) => {
    const total = Math.max(row.reduce((a, b) => a + b, 0), 1e-9);
    return row.map((value) => value / total);
  });
}

function pasted() {
  const whole = new Uint8Array(COUNT * H * W * C);
  const parts = cells.map(bytesOf);
  cells.forEach((cell, i) => {
    const bytes = parts[i] ?? new Uint8Array(H * W * C).fill(Math.round(about.appearance.paper * 255));
    cell.seen.getContext("2d").clearRect(0, 0, W, H);
    if (parts[i]) show(bytes, cell.seen);
    const what = cell.example >= 0 ? `a test image of ${cell.select.value}` : "drawn";
    cell.pad.setAttribute("aria-label", `image ${i + 1}: ${parts[i] ? what : "empty"}`);
    const [row, column] = [Math.floor(i / COLUMNS), i % COLUMNS];
    for (let y = 0; y < H; y++) {
      const start = ((row * H + y) * COLUMNS + column) * W * C;
      whole.set(bytes.subarray(y * W * C, (y + 1) * W * C), start);
    }
  });
  return { whole, empty: parts.filter((part) => !part).length };
}

function answer() {
  return (asked = asked.then(async () => {
    const { labels, wrong } = read(at("text").value);
    const { whole, empty } = pasted();
    at("words").textContent = wrong;
    at("words").className = wrong ? "wrong" : "";
    at("swapped").textContent = "";
    at("swap-button").disabled = !labels || empty > 0;
    const found = await run(whole, labels ?? new Array(COUNT).fill(0));
    showClasses(found.classes, empty === COUNT);
    const judged = labels && !empty;
    at("verdict").className = judged ? String(found.true > 0.5) : "";
    at("verdict").textContent = judged ? said(found.true) : empty ? "Fill all images." : "";
    attention = judged ? found.attention : null;
    showLooks(labels);
  }));
}

const said = (probability) =>
  `${probability > 0.5 ? "True" : "False"}: probability of true ${percent(probability)}`;

async function swapWords() {
  const { labels } = read(at("text").value);
  const pairs = [];
  for (let i = 0; i < COUNT; i++) {
    for (let j = i + 1; j < COUNT; j++) if (labels[i] !== labels[j]) pairs.push([i, j]);
  }
  if (!pairs.length) {
    at("swapped").textContent = "All words are the same; there is nothing to swap.";
    return;
  }
  const [i, j] = pairs[swaps++ % pairs.length];
  const other = [...labels];
  [other[i], other[j]] = [labels[j], labels[i]];
  const { whole } = pasted();
  const [before, after] = [await run(whole, labels), await run(whole, other)];
  const turns = before.true > 0.5 !== after.true > 0.5;
  at("swapped").textContent =
    `“${other.map((label) => about.classNames[label]).join(" ")}” ` +
    `(words ${i + 1} and ${j + 1} swapped): ${said(after.true)}. ` +
    `The answer ${turns ? "turns" : "stays"}.`;
}

function showClasses(values, empty) {
  const list = at("classes");
  if (!list.children.length) {
    for (const name of about.classNames) {
      const row = document.createElement("div");
      row.className = "class";
      const [label, bar, number] = ["span", "meter", "span"].map((tag) => document.createElement(tag));
      label.textContent = name;
      bar.setAttribute("aria-label", `probability of ${name}`);
      row.append(label, bar, number);
      list.append(row);
    }
  }
  values.forEach((value, i) => {
    const [, bar, number] = list.children[i].children;
    bar.value = empty ? 0 : value;
    number.textContent = empty ? "" : percent(value);
  });
}

function showLooks(labels) {
  at("looks").hidden = !attention;
  const buttons = at("look-buttons");
  buttons.replaceChildren();
  if (!attention) looking = -1;
  (attention ? labels : []).forEach((label, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = about.classNames[label];
    button.setAttribute("aria-label", `word ${i + 1}: ${about.classNames[label]}`);
    button.addEventListener("click", () => {
      looking = looking === i ? -1 : i;
      drawLooks();
    });
    buttons.append(button);
  });
  drawLooks();
}

function drawLooks() {
  [...at("look-buttons").children].forEach((button, i) =>
    button.setAttribute("aria-pressed", String(i === looking)));
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--look");
  const shares = looking < 0 ? null : attention[looking];
  for (const { look, index } of cells) {
    const context = look.getContext("2d");
    context.clearRect(0, 0, look.width, look.height);
    if (!shares) continue;
    const rows = about.patches[0], columns = about.patches[1];
    const [row, column] = [Math.floor(index / COLUMNS), index % COLUMNS];
    const [height, width] = [(look.height * ROWS) / rows, (look.width * COLUMNS) / columns];
    const peak = Math.max(...shares);
    shares.forEach((share, p) => {
      context.fillStyle = `rgba(${colour}, ${(0.75 * share) / peak})`;
      const x = (p % columns) * width - column * look.width;
      const y = Math.floor(p / columns) * height - row * look.height;
      context.fillRect(x, y, width, height);
    });
  }
}
