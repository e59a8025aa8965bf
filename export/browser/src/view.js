/* What the page shows. Everything that comes out of files is set as text, never as HTML. */
const byId = (id) => document.getElementById(id);
// A crop of fewer pixels is enlarged without smoothing, so that they can be told apart.
const SHARP_BELOW = 96;
const PRECISIONS = {none: "float32", dynamic: "int8 weights, float activations", full_int8: "int8 throughout"};
const SVG = "http://www.w3.org/2000/svg";

export function showError(message) {
  byId("error").textContent = message;
  byId("error").hidden = message === "";
}

export function showStatus(message) {
  byId("status").textContent = message;
}

/* name and bytes of the file; classifier as it was loaded. */
export function showModel({name, bytes, classifier}) {
  const {metadata, inputShape, classes, threads} = classifier;
  const {crop_fraction: fraction, normalization} = metadata.preprocessing;
  showFacts(byId("model-facts"), [
    ["File", name],
    ["Size", describeBytes(bytes)],
    ["Precision", PRECISIONS[metadata.quantization] ?? metadata.quantization],
    ["Input", `${area(inputShape[1], inputShape[2])} pixels`],
    ["Crop", `${Number((100 * fraction).toFixed(1))}\u00a0% of the shorter side`],
    ["Normalised", normalization],
    ["Output", `${metadata.output?.name ?? "scores"} of ${classes} classes`],
    ["Architecture", metadata.architecture?.choices?.join(",")],
    ["Runs on", `WebAssembly, ${threads} ${threads === 1 ? "thread" : "threads"}`],
  ]);
}

/* What is there and what is missing before anything can be classified. */
export function showMissing(imageName, modelName) {
  const missing = modelName === undefined ? "Choose a network" : "Choose an image";
  const both = modelName === undefined && imageName === undefined;
  byId("result-empty").textContent = both ? `${missing} and an image.` : `${imageName ?? modelName} is ready. ${missing}.`;
}

/* pixels: float32 [size, size, 3] in 0..255, as the network gets them before normalisation, of an image as decoded. */
export function showCrop(pixels, size, {width, height, isTransparent}) {
  const canvas = byId("crop");
  [canvas.width, canvas.height] = [size, size];
  canvas.className = size < SHARP_BELOW ? "sharp" : "";
  const image = new ImageData(size, size);
  for (let pixel = 0; pixel < size * size; pixel++) {
    for (let channel = 0; channel < 3; channel++) image.data[4 * pixel + channel] = pixels[3 * pixel + channel];
    image.data[4 * pixel + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  const caption = `What the network sees: ${area(size, size)} pixels from the middle of ${area(width, height)}.`;
  const warning = " The image is partly transparent; colours behind may differ from those in the file.";
  byId("caption").textContent = isTransparent ? caption + warning : caption;
  byId("preview").hidden = false;
}

/* classes: [{label, probability}], most likely first. */
export function showClasses(classes) {
  byId("result-empty").hidden = true;
  const [best] = classes;
  byId("answer").textContent = `${best.label}, ${percent(best.probability)}`;
  byId("classes").replaceChildren(...classes.map(makeRow));
}

/* network: as Classifier.measure answers it, or null while it is being measured; the parts are in milliseconds. */
export function showLatency(network, {first, preparing, decoding, loading}) {
  byId("latency-empty").hidden = true;
  const runs = network && (network.repeats > 1 ? area(network.runs, network.repeats) : network.runs);
  showFacts(byId("latency"), [
    ["Median", network ? `${milliseconds(network.median)} (${runs} runs)` : "…"],
    ["Middle half", network ? `${milliseconds(network.low)} to ${milliseconds(network.high)}` : "…"],
    ["First run", milliseconds(first)],
    ["Preparing", milliseconds(preparing)],
    ["Decoding", milliseconds(decoding)],
    ["Loading", milliseconds(loading)],
  ]);
  byId("measure").hidden = false;
}

export function setBusy(busy) {
  byId("measure").disabled = busy;
  document.body.setAttribute("aria-busy", String(busy));
}

function showFacts(list, facts) {
  const rows = facts.filter(([, value]) => value != null).flatMap(([name, value]) => [make("dt", name), make("dd", value)]);
  list.replaceChildren(...rows);
  list.hidden = false;
}

function makeRow({label, probability}) {
  const row = document.createElement("li");
  row.append(make("span", label, "name"), make("span", percent(probability), "share"), makeBar(probability));
  return row;
}

function makeBar(probability) {
  const bar = document.createElementNS(SVG, "svg");
  bar.setAttribute("class", "bar");
  bar.setAttribute("aria-hidden", "true");
  for (const [name, width] of [["track", 1], ["value", probability]]) {
    const part = document.createElementNS(SVG, "rect");
    for (const [key, value] of [["class", name], ["width", `${100 * width}%`], ["height", "100%"], ["rx", "4"]]) {
      part.setAttribute(key, value);
    }
    bar.append(part);
  }
  return bar;
}

function make(tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

// Numbers stay with their units: \u00a0 does not break.
function percent(share) {
  return `${(100 * share).toFixed(1)}\u00a0%`;
}

function area(width, height) {
  return `${width}\u00a0×\u00a0${height}`;
}

function milliseconds(value) {
  return `${value < 10 ? value.toPrecision(2) : value.toFixed(1)}\u00a0ms`;
}

function describeBytes(bytes) {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)}\u00a0kB` : `${(bytes / 1e6).toFixed(1)}\u00a0MB`;
}
