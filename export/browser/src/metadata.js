/* What a .tflite file says about itself: its ends, and the metadata that scarlet_tf's export embeds in it. */
import {InputError} from "./errors.js";
import {Table} from "./flatbuffer.js";
import {FILTERS} from "./preprocessing.js";

const IDENTIFIER = "TFL3";
const METADATA_NAME = "scarlet_tf";
const METADATA_VERSION = 1;
// Positions of fields in the tables of TensorFlow Lite's schema.fbs.
const MODEL = {subgraphs: 2, buffers: 4, metadata: 6};
const SUBGRAPH = {tensors: 0, inputs: 1, outputs: 2};
const TENSOR = {shape: 0, type: 1, name: 3, shapeSignature: 7};
const METADATA = {name: 0, buffer: 1};
const BUFFER = {data: 0};
const TYPES = ["float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8"];

/* Whether the bytes begin as .tflite files do. */
export function isModelFile(bytes) {
  return bytes.length >= 8 && new TextDecoder("latin1").decode(bytes.subarray(4, 8)) === IDENTIFIER;
}

/*
 * {inputs, outputs, metadata} of a .tflite file's bytes. Ends are {name, shape, type}, with -1 in `shape` where it is
 * not fixed; metadata is the embedded object or null. InputError for other files and for torn ones.
 */
export function readModelFile(bytes) {
  if (!isModelFile(bytes)) {
    throw new InputError("is not a .tflite file: the identifier TFL3 at its beginning is missing");
  }
  try {
    const model = Table.root(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    const graph = model.tables(MODEL.subgraphs)[0];
    if (graph === undefined) throw new RangeError("no graph");
    const tensors = graph.tables(SUBGRAPH.tensors);
    // Every buffer is looked at, for weights lie at the end of the file, where an interrupted copy ends early.
    const buffers = model.tables(MODEL.buffers).map((buffer) => buffer.bytes(BUFFER.data));
    return {
      inputs: graph.int32s(SUBGRAPH.inputs).map((index) => describeTensor(tensors[index])),
      outputs: graph.int32s(SUBGRAPH.outputs).map((index) => describeTensor(tensors[index])),
      metadata: readMetadata(model, buffers),
    };
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`is torn: ${bytes.length} bytes are not the whole file`, {cause: error});
  }
}

/* The one input [1, S, S, 3] and the one output [1, classes] that this page can serve; InputError for other networks. */
export function checkEnds({inputs, outputs}) {
  if (inputs.length !== 1 || outputs.length !== 1) {
    throw new InputError(`has ${inputs.length} inputs and ${outputs.length} outputs; expected one of each`);
  }
  const [[input], [output]] = [inputs, outputs];
  for (const [end, {shape, type}] of [["input", input], ["output", output]]) {
    if (shape.includes(-1) || shape[0] !== 1) {
      throw new InputError(`has an ${end} of shape ${describeShape(shape)}; expected a fixed shape with batch 1`);
    }
    if (type !== "float32") {
      throw new InputError(`has an ${end} of type ${type}; export it with float32 input and output (float_ends)`);
    }
  }
  const [, height, width, channels] = input.shape;
  if (input.shape.length !== 4 || height !== width || channels !== 3) {
    throw new InputError(`has an input of shape ${describeShape(input.shape)}; expected [1, S, S, 3], square RGB images`);
  }
  if (output.shape.length !== 2) {
    throw new InputError(`has an output of shape ${describeShape(output.shape)}; expected [1, classes]`);
  }
}

/* InputError unless the metadata (embedded or from a JSON file) describe a network with these ends. */
export function checkMetadata(metadata, {inputs, outputs}) {
  if (metadata === null) {
    throw new InputError("has no scarlet_tf metadata; choose the .json file that was exported beside it as well");
  }
  if (metadata?.metadata_version !== METADATA_VERSION) {
    throw new InputError(`has metadata of version ${metadata?.metadata_version}; expected ${METADATA_VERSION}`);
  }
  checkPreprocessing(metadata.preprocessing, inputs[0].shape[1]);
  const [labels, classes] = [metadata.labels, outputs[0].shape[1]];
  if (labels != null && !(Array.isArray(labels) && labels.length === classes)) {
    throw new InputError(`has labels that do not fit its ${classes} outputs`);
  }
}

function checkPreprocessing(preprocessing, size) {
  if (preprocessing == null) {
    throw new InputError("does not say how images are prepared; export it with `preprocessing`, or choose its .json file");
  }
  const {image_size: imageSize, crop_fraction: fraction, resize, mean, std} = preprocessing;
  if (imageSize !== size) {
    throw new InputError(`has an input of ${size} pixels, but its metadata prepare images of ${imageSize}`);
  }
  const areColors = (values) => Array.isArray(values) && values.length === 3 && values.every(Number.isFinite);
  if (!(fraction > 0 && fraction <= 1) || !areColors(mean) || !areColors(std) || std.includes(0)) {
    throw new InputError("has metadata whose crop_fraction, mean or std make no sense");
  }
  if (resize !== undefined && !Object.hasOwn(FILTERS, resize)) {
    throw new InputError(`wants images resized by ${JSON.stringify(resize)}; expected ${Object.keys(FILTERS).join(" or ")}`);
  }
}

export function describeShape(shape) {
  return `[${shape.map((size) => (size === -1 ? "any" : size)).join(", ")}]`;
}

function describeTensor(tensor) {
  const signature = tensor.int32s(TENSOR.shapeSignature);
  const type = tensor.int8(TENSOR.type);
  return {
    name: tensor.string(TENSOR.name),
    shape: signature.length > 0 ? signature : tensor.int32s(TENSOR.shape),
    type: TYPES[type] ?? `number ${type}`,
  };
}

function readMetadata(model, buffers) {
  const entry = model.tables(MODEL.metadata).find((each) => each.string(METADATA.name) === METADATA_NAME);
  if (entry === undefined) return null;
  try {
    return JSON.parse(new TextDecoder().decode(buffers[entry.uint32(METADATA.buffer)]));
  } catch (error) {
    throw new InputError("has scarlet_tf metadata that are not JSON", {cause: error});
  }
}
