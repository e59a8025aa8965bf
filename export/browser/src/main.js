/* The page: files come in by choosing, dropping or pasting; each goes through the same steps, one after another. */
import {Classifier, loadRuntime} from "./classifier.js";
import {InputError} from "./errors.js";
import {decodeImage} from "./image.js";
import {isModelFile} from "./metadata.js";
import {fitSquare, normalize} from "./preprocessing.js";
import * as view from "./view.js";

const CLASSES_SHOWN = 5;

// model: {name, bytes} last chosen; network: {name, bytes, classifier, loading} in use; photo: {name, image, decoding}
// in use; last: {pixels, first, preparing} of the last classification.
const state = {model: null, network: null, photo: null, last: null};
let queue = Promise.resolve();

/* Runs tasks one at a time and shows what goes wrong. */
function enqueue(task) {
  queue = queue.then(async () => {
    view.setBusy(true);
    view.showError("");
    try {
      await task();
    } catch (error) {
      if (!(error instanceof InputError)) console.error(error);
      view.showError(error instanceof InputError ? error.message : `Something went wrong: ${error.message ?? error}`);
    } finally {
      view.showStatus("");
      view.setBusy(false);
    }
  });
  return queue;
}

/* Puts the file's name in front of what is wrong with it. */
async function about(name, task) {
  try {
    return await task();
  } catch (error) {
    throw error instanceof InputError ? new InputError(`${name} ${error.message}.`, {cause: error}) : error;
  }
}

async function openFiles(files) {
  const {models, sidecars, images} = await sortFiles(files);
  if (models.length > 1 || sidecars.length > 1 || images.length > 1) {
    throw new InputError("Expected one network and one image at a time.");
  }
  if (models.length > 0) state.model = models[0];
  if (models.length > 0 || sidecars.length > 0) await openModel(sidecars[0] ?? null);
  if (images.length > 0) await openImage(images[0]);
  if (state.network !== null && state.photo !== null) await classify();
  else view.showMissing(state.photo?.name, state.network?.name);
}

async function sortFiles(files) {
  const sorted = {models: [], sidecars: [], images: []};
  for (const file of files) {
    const beginning = await readBytes(file.slice(0, 8), file.name);
    if (/\.tflite$/i.test(file.name) || isModelFile(beginning)) {
      sorted.models.push({name: file.name, bytes: await readBytes(file, file.name)});
    } else if (/\.json$/i.test(file.name)) {
      sorted.sidecars.push(file);
    } else {
      sorted.images.push(file);
    }
  }
  return sorted;
}

/* Of a File or a part of one; folders can be dropped, but not be read. */
async function readBytes(blob, name) {
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch (error) {
    throw new InputError(`${name} could not be read; expected a file.`, {cause: error});
  }
}

/* Loads state.model; the one in use stays if that fails. sidecar: the File with its metadata, or null. */
async function openModel(sidecar) {
  if (state.model === null) throw new InputError(`${sidecar.name} describes a network; choose its .tflite file as well.`);
  const {name, bytes} = state.model;
  view.showStatus(`Loading ${name} …`);
  const metadata = sidecar && (await about(sidecar.name, () => parseSidecar(sidecar)));
  await loadRuntime();
  const both = sidecar === null ? name : `${name} with ${sidecar.name}`;
  const [loading, classifier] = await timed(() => about(both, () => Classifier.load(bytes, metadata)));
  state.network?.classifier.delete();
  state.network = {name, bytes: bytes.length, classifier, loading};
  view.showModel(state.network);
}

async function parseSidecar(file) {
  try {
    return JSON.parse(await file.text());
  } catch (error) {
    throw new InputError("is not a JSON file", {cause: error});
  }
}

/* Decodes `file`; the image in use stays if that fails. */
async function openImage(file) {
  const [decoding, image] = await timed(() => about(file.name, () => decodeImage(file)));
  state.photo?.image.close();
  state.photo = {name: file.name, image, decoding};
}

async function classify() {
  const {classifier} = state.network;
  const {image} = state.photo;
  const {preprocessing} = classifier.metadata;
  const size = preprocessing.image_size;
  const [cropping, crop] = await timed(() => fitSquare(image, size, preprocessing.crop_fraction, preprocessing.resize));
  const [normalizing, pixels] = await timed(() => normalize(crop, preprocessing));
  const [first, logits] = await timed(() => classifier.run(pixels));
  view.showCrop(crop, size, image);
  view.showClasses(classifier.best(logits, CLASSES_SHOWN));
  state.last = {pixels, first, preparing: cropping + normalizing};
  announce("classified", {logits: Array.from(logits), pixels: Array.from(pixels)});
  await measure();
}

async function measure() {
  const {pixels, first, preparing} = state.last;
  const parts = {first, preparing, decoding: state.photo.decoding, loading: state.network.loading};
  view.showLatency(null, parts);
  view.showStatus("Measuring …");
  const network = await state.network.classifier.measure(pixels);
  view.showLatency(network, parts);
  announce("measured", {network, ...parts});
}

async function timed(task) {
  const start = performance.now();
  const result = await task();
  return [performance.now() - start, result];
}

/* For scripts that drive the page. */
function announce(type, detail) {
  document.dispatchEvent(new CustomEvent(type, {detail}));
}

/* The network that the page was built with. */
async function openDefault() {
  const {model} = await (await fetch("default.json")).json();
  if (model === null) return;
  const download = async (path) => (await fetch(path)).blob();
  const files = [new File([await download(model.file)], model.name)];
  if (model.sidecar) files.push(new File([await download(model.sidecar)], model.sidecar));
  await openFiles(files);
}

function listen() {
  for (const id of ["model-input", "image-input"]) {
    document.getElementById(id).addEventListener("change", ({target}) => {
      const files = [...target.files];
      target.value = ""; // so that the same file can be chosen again
      if (files.length > 0) enqueue(() => openFiles(files));
    });
  }
  document.getElementById("measure").addEventListener("click", () => enqueue(measure));
  document.addEventListener("paste", ({clipboardData}) => {
    const files = [...clipboardData.files];
    if (files.length > 0) enqueue(() => openFiles(files));
  });
  for (const type of ["dragenter", "dragover"]) {
    document.addEventListener(type, (event) => {
      event.preventDefault();
      document.body.classList.add("dragging");
    });
  }
  document.addEventListener("dragleave", ({relatedTarget}) => {
    if (relatedTarget === null) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    const files = [...event.dataTransfer.files];
    enqueue(() => {
      if (files.length === 0) throw new InputError("Drop a file; links and text are not read.");
      return openFiles(files);
    });
  });
}

listen();
enqueue(openDefault);
