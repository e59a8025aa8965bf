import assert from "node:assert/strict";
import {test} from "node:test";

import {checkEnds, checkMetadata, isModelFile, readModelFile} from "../src/metadata.js";

const ends = (input, output, type = "float32") => ({inputs: [{shape: input, type}], outputs: [{shape: output, type}]});
const fitting = ends([1, 8, 8, 3], [1, 2]);
const preprocessing = {image_size: 8, crop_fraction: 0.875, mean: [0, 0, 0], std: [1, 1, 1]};
const metadata = {metadata_version: 1, labels: ["ant", "bee"], preprocessing};

test("files are told apart by their identifier", () => {
  assert.ok(isModelFile(new TextEncoder().encode("....TFL3")));
  assert.ok(!isModelFile(new TextEncoder().encode("TFL3....")));
  assert.ok(!isModelFile(new Uint8Array(0)));
  assert.throws(() => readModelFile(new TextEncoder().encode("no model at all")), /is not a .tflite file/);
});

test("an identifier with rubbish behind it is a torn file", () => {
  for (const byte of [0, 1, 127, 255]) {
    const bytes = new Uint8Array(64).fill(byte);
    bytes.set(new TextEncoder().encode("TFL3"), 4);
    assert.throws(() => readModelFile(bytes), /is torn: 64 bytes/);
  }
});

test("fixed float ends of batch 1 are taken, others named", () => {
  checkEnds(fitting);
  assert.throws(() => checkEnds(ends([-1, 8, 8, 3], [-1, 2])), /input of shape \[any, 8, 8, 3\]; expected a fixed shape/);
  assert.throws(() => checkEnds(ends([4, 8, 8, 3], [4, 2])), /batch 1/);
  assert.throws(() => checkEnds(ends([1, 8, 8, 3], [1, 2], "int8")), /type int8; export it with float32/);
  assert.throws(() => checkEnds(ends([1, 8, 8, 1], [1, 2])), /expected \[1, S, S, 3\]/);
  assert.throws(() => checkEnds(ends([1, 8, 8, 3], [1, 8, 8, 2])), /expected \[1, classes\]/);
  assert.throws(() => checkEnds({...fitting, inputs: []}), /has 0 inputs/);
});

test("metadata that fit are taken, others named", () => {
  checkMetadata(metadata, fitting);
  checkMetadata({...metadata, labels: null}, fitting);
  assert.throws(() => checkMetadata(null, fitting), /has no scarlet_tf metadata/);
  assert.throws(() => checkMetadata({...metadata, metadata_version: 2}, fitting), /version 2; expected 1/);
  assert.throws(() => checkMetadata({...metadata, labels: ["ant"]}, fitting), /labels that do not fit its 2 outputs/);
  assert.throws(() => checkMetadata({...metadata, preprocessing: null}, fitting), /does not say how images are prepared/);
  for (const wrong of [{crop_fraction: 0}, {mean: [0, 0]}, {std: [1, 0, 1]}]) {
    assert.throws(() => checkMetadata({...metadata, preprocessing: {...preprocessing, ...wrong}}, fitting), /make no sense/);
  }
  checkMetadata({...metadata, preprocessing: {...preprocessing, resize: "bicubic, antialiased"}}, fitting);
  const lanczos = {...metadata, preprocessing: {...preprocessing, resize: "lanczos"}};
  assert.throws(() => checkMetadata(lanczos, fitting), /resized by "lanczos"; expected bilinear, antialiased or bicubic/);
  const larger = {...metadata, preprocessing: {...preprocessing, image_size: 9}};
  assert.throws(() => checkMetadata(larger, fitting), /input of 8 pixels, but its metadata prepare images of 9/);
});
