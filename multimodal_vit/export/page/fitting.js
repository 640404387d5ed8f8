// A picture of one's own, made to look like those that a model was trained on.
//
// The same as multimodal_vit/pictures/fitting.py, which says what is done and why; what is changed
// here is changed there. A picture is {height, width, channels, data}, data a Float64Array of rows
// of pixels of channels, from 0 (black) to 1 (white).

const INK = 0.25;
const NEAR = 0.1;
const LONGEST = 256;
const LEAST_CONTRAST = 0.08;

/** Nothing in a picture differs from its border. */
export class NothingDrawn extends Error {}

/**
 * Uint8Array [H · W · C] of a picture.
 * @param picture {height, width, channels, data}
 * @param appearance {kind, paper, ink, longSide, centre, centred} of the training's pictures
 * @param shape [H, W, C]
 * @param how "auto" or "plain"
 */
export function fit(picture, appearance, shape, how = "auto") {
  const [H, W, C] = shape;
  let found;
  if (how === "auto" && appearance.kind === "ink") {
    const tones = grey(picture);
    const stays = tones.height === H && tones.width === W && isLike(tones, appearance);
    found = stays ? tones : fitInk(tones, appearance, H, W);
  } else {
    found = resized(how === "auto" ? cut(picture, H / W) : picture, H, W);
  }
  if (found.channels !== C) found = grey(found);
  const bytes = new Uint8Array(H * W * C);
  for (let i = 0; i < bytes.length; i++) {
    const value = found.data[found.channels === C ? i : Math.floor(i / C)];
    bytes[i] = Math.floor(Math.min(Math.max(value, 0), 1) * 255 + 0.5);
  }
  return bytes;
}

function grey({ height, width, channels, data }) {
  if (channels === 1) return { height, width, channels, data };
  const tones = new Float64Array(height * width);
  for (let i = 0; i < tones.length; i++) {
    for (let c = 0; c < channels; c++) tones[i] += data[i * channels + c] / channels;
  }
  return { height, width, channels: 1, data: tones };
}

function median(values) {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

function borderOf({ height, width, data }) {
  const found = [];
  for (let y = 0; y < height; y++) found.push(data[y * width], data[y * width + width - 1]);
  for (let x = 0; x < width; x++) found.push(data[x], data[(height - 1) * width + x]);
  return found;
}

function isLike(tones, appearance) {
  const sign = Math.sign(appearance.ink - appearance.paper);
  const contrast = tones.data.map((value) => (value - appearance.paper) * sign);
  const near = Math.abs(median(borderOf(tones)) - appearance.paper) < NEAR;
  return near && -least(contrast) <= NEAR && most(contrast) >= NEAR;
}

const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);

function fitInk(tones, appearance, H, W) {
  const longest = Math.max(tones.height, tones.width);
  if (longest > LONGEST) {
    const small = (side) => Math.max(1, Math.floor((side * LONGEST) / longest + 0.5));
    tones = resized(tones, small(tones.height), small(tones.width));
  }
  const { height, width } = tones;
  const paper = median(borderOf(tones));
  const lighter = tones.data.map((value) => Math.max(value - paper, 0));
  const darker = tones.data.map((value) => Math.max(paper - value, 0));
  const squares = (values) => values.reduce((sum, value) => sum + value * value, 0);
  let ink = squares(lighter) > squares(darker) ? lighter : darker;
  const strongest = most(ink);
  if (strongest < LEAST_CONTRAST) throw new NothingDrawn();
  ink = ink.map((value) => value / strongest);
  let [top, bottom, left, right] = [height, 0, width, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (ink[y * width + x] > INK) {
        [top, bottom] = [Math.min(top, y), Math.max(bottom, y + 1)];
        [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
      }
    }
  }
  const step = Math.max(bottom - top, right - left) / appearance.longSide;
  let centre = [(top + bottom) / 2, (left + right) / 2];
  if (appearance.centred === "mass") {
    let [mass, down, across] = [0, 0, 0];
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        const value = ink[y * width + x];
        mass += value;
        down += value * (y + 0.5);
        across += value * (x + 0.5);
      }
    }
    centre = [down / mass, across / mass];
  }
  const rows = weights(H, height, centre[0] - appearance.centre[0] * step, step, false);
  const columns = weights(W, width, centre[1] - appearance.centre[1] * step, step, false);
  const found = product(rows, columns, { height, width, channels: 1, data: ink });
  const peak = Math.max(most(found.data), 1e-9);
  const range = appearance.ink - appearance.paper;
  found.data = found.data.map((value) => appearance.paper + (range * value) / peak);
  return found;
}

function cut({ height: h, width: w, channels, data }, ratio) {
  const height = Math.min(h, Math.max(1, Math.floor(w * ratio + 0.5)));
  const width = Math.min(w, Math.max(1, Math.floor(h / ratio + 0.5)));
  const [top, left] = [(h - height) >> 1, (w - width) >> 1];
  const part = new Float64Array(height * width * channels);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * w + left) * channels;
    part.set(data.subarray(start, start + width * channels), y * width * channels);
  }
  return { height, width, channels, data: part };
}

function resized(picture, H, W) {
  const rows = weights(H, picture.height, 0, picture.height / H, true);
  const columns = weights(W, picture.width, 0, picture.width / W, true);
  return product(rows, columns, picture);
}

/** The weights of a resampling along one axis, a row for each pixel of the result. */
function weights(numOut, numIn, start, step, inside) {
  const reach = Math.max(step, 1);
  return Array.from({ length: numOut }, (_, i) => {
    const centre = start + (i + 0.5) * step;
    const row = new Float64Array(numIn);
    let total = 0;
    for (let r = 0; r < numIn; r++) {
      row[r] = Math.max(1 - Math.abs(r + 0.5 - centre) / reach, 0);
      total += row[r];
    }
    const by = Math.max(inside ? total : reach, 1e-9);
    return row.map((value) => value / by);
  });
}

/** rows · picture · columnsᵀ, for each channel. */
function product(rows, columns, { width, channels, data }) {
  const [H, W] = [rows.length, columns.length];
  const found = new Float64Array(H * W * channels);
  const line = new Float64Array(width * channels);
  for (let i = 0; i < H; i++) {
    line.fill(0);
    rows[i].forEach((weight, r) => {
      if (!weight) return;
      const start = r * width * channels;
      for (let x = 0; x < line.length; x++) line[x] += weight * data[start + x];
    });
    for (let j = 0; j < W; j++) {
      columns[j].forEach((weight, x) => {
        if (!weight) return;
        for (let c = 0; c < channels; c++) {
          found[(i * W + j) * channels + c] += weight * line[x * channels + c];
        }
      });
    }
  }
  return { height: H, width: W, channels, data: found };
}
