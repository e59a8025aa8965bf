/*
 * From an image's pixels to what a network reads; the same as scarlet_tf/data/preprocessing.py at evaluation.
 *
 * The central square whose side is crop_fraction of the shorter side, resized by a triangle filter (bilinear) or Keys'
 * cubic one (bicubic), widened by the ratio of the sizes where the image gets smaller, with half-pixel centres, then
 * (pixel - mean) / std. The filter is computed here because how a canvas scales differs between browsers.
 */
const ROWS_AT_ONCE = 256;
const BILINEAR = "bilinear, antialiased";
/* What metadata may call `resize`: how far a filter reaches, and its height at a distance from its centre. */
export const FILTERS = {
  [BILINEAR]: {reach: 1, height: (x) => Math.max(0, 1 - x)},
  "bicubic, antialiased": {
    reach: 2,
    height: (x) => (x < 1 ? ((1.5 * x - 2.5) * x) * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0),
  },
};

/* {side, left, top} of the central square, rounded as the Python code does: in float32, halves to even. */
export function centralSquare(width, height, fraction) {
  const shorter = Math.min(width, height);
  const side = Math.max(1, roundHalfToEven(Math.fround(Math.fround(fraction) * shorter)));
  return {side, left: Math.floor((width - side) / 2), top: Math.floor((height - side) / 2)};
}

/* For each of `to` output pixels the first of the `from` input pixels that it reads, and their weights, of sum 1. */
export function weightsOf(from, to, resize = BILINEAR) {
  const {reach, height} = FILTERS[resize];
  const scale = from / to;
  const width = Math.max(scale, 1);
  const radius = reach * width;
  return Array.from({length: to}, (_, index) => {
    const center = (index + 0.5) * scale;
    const first = Math.max(0, Math.ceil(center - radius - 0.5));
    const last = Math.min(from - 1, Math.floor(center + radius - 0.5));
    const weights = new Float64Array(last - first + 1);
    let sum = 0;
    for (let tap = 0; tap < weights.length; tap++) {
      weights[tap] = height(Math.abs(first + tap + 0.5 - center) / width);
      sum += weights[tap];
    }
    return {first, weights: weights.map((weight) => weight / sum)};
  });
}

/*
 * The central square as float32 [size, size, 3] in 0..255.
 *
 * image: {width, height, readRows}; readRows(left, top, width, rows) answers RGBA bytes of that box. It is read a few
 * rows at a time, so a large photograph needs little memory and no large canvas, which some browsers refuse.
 */
export function fitSquare(image, size, fraction, resize = BILINEAR) {
  const {side, left, top} = centralSquare(image.width, image.height, fraction);
  const filter = weightsOf(side, size, resize);
  const narrow = new Float32Array(side * size * 3);
  for (let row = 0; row < side; row += ROWS_AT_ONCE) {
    const rows = Math.min(ROWS_AT_ONCE, side - row);
    const pixels = image.readRows(left, top + row, side, rows);
    for (let offset = 0; offset < rows; offset++) {
      shrinkRow(pixels, 4 * side * offset, filter, narrow, 3 * size * (row + offset));
    }
  }
  // A cubic filter overshoots beside edges.
  return shrinkColumns(narrow, filter, size).map((value) => Math.min(255, Math.max(0, value)));
}

/* (pixel - mean) / std, per channel, of float32 [..., 3]. */
export function normalize(pixels, {mean, std}) {
  const scale = std.map((value) => Math.fround(1 / value));
  return pixels.map((pixel, index) => (pixel - mean[index % 3]) * scale[index % 3]);
}

function shrinkRow(pixels, start, filter, target, targetStart) {
  let position = targetStart;
  for (const {first, weights} of filter) {
    let [red, green, blue] = [0, 0, 0];
    let source = start + 4 * first;
    for (const weight of weights) {
      red += weight * pixels[source];
      green += weight * pixels[source + 1];
      blue += weight * pixels[source + 2];
      source += 4;
    }
    target[position++] = red;
    target[position++] = green;
    target[position++] = blue;
  }
}

function shrinkColumns(narrow, filter, size) {
  const length = 3 * size;
  const target = new Float32Array(size * length);
  const sums = new Float64Array(length);
  filter.forEach(({first, weights}, row) => {
    sums.fill(0);
    weights.forEach((weight, tap) => {
      const start = (first + tap) * length;
      for (let column = 0; column < length; column++) sums[column] += weight * narrow[start + column];
    });
    target.set(sums, row * length);
  });
  return target;
}

function roundHalfToEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
