import assert from "node:assert/strict";
import {test} from "node:test";

import {centralSquare, fitSquare, normalize, weightsOf} from "../src/preprocessing.js";

/* An image of one grey value a pixel. */
function makeImage(rows) {
  const readRows = (left, top, width, count) =>
    Uint8ClampedArray.from(rows.slice(top, top + count).flatMap((row) => row.slice(left, left + width)).flatMap((value) => [value, value, value, 255]));
  return {width: rows[0].length, height: rows.length, readRows};
}

test("the square is central and its side rounded, halves to even", () => {
  assert.deepEqual(centralSquare(500, 375, 0.875), {side: 328, left: 86, top: 23});
  assert.equal(centralSquare(5, 9, 0.5).side, 2);
  assert.equal(centralSquare(7, 9, 0.5).side, 4);
  assert.equal(centralSquare(1, 1, 0.1).side, 1);
});

test("halving takes the pixels within two of the centre, by distance", () => {
  const [first, second] = weightsOf(4, 2);
  // The centre of the first output pixel is at 1; input centres 0.5, 1.5, 2.5 weigh 3/4, 3/4, 1/4, of sum 7/4.
  assert.equal(first.first, 0);
  assert.deepEqual([...first.weights].map((weight) => Math.round(weight * 7)), [3, 3, 1]);
  assert.equal(second.first, 1);
  assert.deepEqual([...second.weights].map((weight) => Math.round(weight * 7)), [1, 3, 3]);
});

test("doubling interpolates between the two nearest pixels", () => {
  const square = fitSquare(makeImage([[0, 100], [0, 100]]), 4, 1);
  assert.deepEqual([0, 3, 6, 9].map((index) => square[index]), [0, 25, 75, 100]);
});

test("the cubic filter has Keys' weights, and what it overshoots is cut", () => {
  const cubic = "bicubic, antialiased";
  const [, , , fourth] = weightsOf(4, 8, cubic);
  assert.equal(fourth.first, 0);
  assert.deepEqual([...fourth.weights].map((weight) => weight * 128), [-9, 111, 29, -3]);
  const square = fitSquare(makeImage([[0, 0, 255, 255], [0, 0, 255, 255], [0, 0, 255, 255], [0, 0, 255, 255]]), 8, 1, cubic);
  const row = [0, 1, 2, 3, 4, 5, 6, 7].map((column) => square[3 * column]);
  assert.equal(Math.min(...row), 0);
  assert.equal(Math.max(...row), 255);
  assert.ok(Math.abs(row[3] - (255 * 26) / 128) < 1e-4);
});

test("an image of the right size stays as it is", () => {
  const square = fitSquare(makeImage([[1, 2], [3, 4]]), 2, 1);
  assert.deepEqual([...square], [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]);
});

test("rows beyond one read are read in further ones", () => {
  const side = 600;
  const image = makeImage(Array.from({length: side}, (_, row) => Array(side).fill(row % 2 ? 40 : 60)));
  for (const value of fitSquare(image, 2, 1)) assert.ok(Math.abs(value - 50) < 0.1);
});

test("normalisation is per channel", () => {
  const pixels = normalize(Float32Array.of(255, 0, 100, 127.5, 10, 100), {mean: [127.5, 0, 100], std: [127.5, 10, 1]});
  assert.deepEqual([...pixels], [1, 0, 0, 0, 1, 0]);
});
