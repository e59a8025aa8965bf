/* A network in LiteRT.js: loading it, running it, and how long that takes. */
import {Tensor, getGlobalLiteRt, loadAndCompile, loadLiteRt, supportsFeature} from "@litertjs/core";

import {InputError} from "./errors.js";
import {checkEnds, checkMetadata, readModelFile} from "./metadata.js";

const WASM_FOLDER = new URL("vendor/litert/wasm/", import.meta.url).href;
const WARM_UP_RUNS = 3;
// Clocks in browsers are coarse, so what is timed at once takes at least this long.
const LEAST_MILLISECONDS = 5;
const MOST_MILLISECONDS = 5000;

let runtime = null;

/* Fetches LiteRT.js' WebAssembly once; answers {threads}. Threads need a cross-origin isolated page. */
export function loadRuntime() {
  runtime ??= startRuntime();
  return runtime;
}

async function startRuntime() {
  const threads = globalThis.crossOriginIsolated && (await supportsFeature("relaxedSimd")) && (await supportsFeature("threads"));
  // Emscripten's hook: everything that LiteRT logs would otherwise be an error in the browser's console.
  globalThis.Module = {printErr: (line) => (line.startsWith("ERROR") ? console.error(line) : console.debug(line))};
  await loadLiteRt(WASM_FOLDER, {threads});
  return {threads: threads ? getGlobalLiteRt().liteRtWasm.getThreadCount() : 1};
}

export class Classifier {
  /* `file` and `metadata` come from readModelFile. */
  constructor(compiled, file, metadata, threads) {
    this.compiled = compiled;
    this.metadata = metadata;
    this.threads = threads;
    this.inputShape = file.inputs[0].shape;
    this.classes = file.outputs[0].shape[1];
  }

  /* bytes: a .tflite file; sidecar: the parsed JSON beside it, which goes before what is embedded, or null. */
  static async load(bytes, sidecar = null) {
    const file = readModelFile(bytes);
    const metadata = sidecar ?? file.metadata;
    checkEnds(file);
    checkMetadata(metadata, file);
    const {threads} = await loadRuntime();
    const compiled = await loadAndCompile(bytes, {accelerator: "wasm"}).catch((error) => {
      throw new InputError("was refused by LiteRT.js: torn, or with operations that are not built in", {cause: error});
    });
    return new Classifier(compiled, file, metadata, threads);
  }

  label(index) {
    return this.metadata.labels?.[index] ?? `class ${index}`;
  }

  /* Normalised pixels, float32 of S * S * 3, to what the network answers, float32 [classes]. */
  async run(pixels) {
    const input = new Tensor(pixels, this.inputShape);
    try {
      const [output] = await this.compiled.run(input);
      const answer = output.toTypedArray();
      output.delete();
      return answer;
    } finally {
      input.delete();
    }
  }

  /* [{label, probability}] of the `count` most likely classes, from what `run` answered. */
  best(answer, count) {
    const probabilities = this.metadata.output?.name === "probabilities" ? Array.from(answer) : softmax(answer);
    const ranked = probabilities.map((probability, index) => ({label: this.label(index), probability}));
    return ranked.sort((a, b) => b.probability - a.probability).slice(0, count);
  }

  /*
   * {median, low, high, runs, repeats} in milliseconds a run, copying in and out included; low and high are quartiles.
   *
   * A run too short for the clock is timed `repeats` times at once. Fewer than `runs` where they would take seconds.
   */
  async measure(pixels, runs = 20) {
    for (let warmUp = 1; warmUp < WARM_UP_RUNS; warmUp++) await this.run(pixels);
    const estimate = await this.#time(pixels, 1);
    const repeats = Math.ceil(LEAST_MILLISECONDS / Math.max(estimate, 0.01));
    const times = [];
    const end = performance.now() + MOST_MILLISECONDS;
    while (times.length < runs && (times.length < 3 || performance.now() < end)) {
      times.push(await this.#time(pixels, repeats));
      await nextTask();
    }
    times.sort((a, b) => a - b);
    const [low, median, high] = [0.25, 0.5, 0.75].map((share) => quantile(times, share));
    return {median, low, high, runs: times.length, repeats};
  }

  delete() {
    this.compiled.delete();
  }

  async #time(pixels, repeats) {
    const start = performance.now();
    for (let repeat = 0; repeat < repeats; repeat++) await this.run(pixels);
    return (performance.now() - start) / repeats;
  }
}

function softmax(logits) {
  const greatest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - greatest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

function quantile(sorted, share) {
  const position = share * (sorted.length - 1);
  const below = Math.floor(position);
  const above = Math.ceil(position);
  return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
}

/* Lets the page be drawn and react between two measurements. */
function nextTask() {
  return new Promise((resolve) => setTimeout(resolve));
}
