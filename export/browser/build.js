/*
 * Puts the page and LiteRT.js into dist/, which any static web server can serve.
 *
 *     npm ci
 *     npm run build
 *     npm run build -- --model runs/digits/export/model_float32.tflite      with a network that the page opens at once
 *
 * `--out FOLDER` builds elsewhere. The folder is emptied first.
 */
import {access, cp, mkdir, rm, writeFile} from "node:fs/promises";
import {basename, dirname, join, resolve} from "node:path";
import {fileURLToPath} from "node:url";
import {parseArgs} from "node:util";

const HERE = dirname(fileURLToPath(import.meta.url));
const CORE = join(HERE, "node_modules/@litertjs/core");
const WASM_UTILS = join(HERE, "node_modules/@litertjs/wasm-utils");
// The page takes the variant that the browser and the server's headers allow; the library has more that it never asks for.
const WASM_VARIANTS = ["litert_wasm_internal", "litert_wasm_compat_internal", "litert_wasm_threaded_internal"];

function fail(message) {
  console.error(`build: ${message}`);
  process.exit(2);
}

async function exists(path) {
  return access(path).then(() => true, () => false);
}

function readArguments() {
  try {
    const options = {model: {type: "string"}, out: {type: "string", default: join(HERE, "dist")}};
    return parseArgs({options}).values;
  } catch (error) {
    return fail(`${error.message}. Usage: npm run build -- [--model FILE.tflite] [--out FOLDER]`);
  }
}

async function build({model, out}) {
  // npm runs scripts in the package's folder; names on the command line are meant from where npm was called.
  const from = process.env.INIT_CWD ?? process.cwd();
  const target = resolve(from, out);
  const source = model && resolve(from, model);
  if (!(await exists(CORE))) fail("node_modules is missing; run `npm ci` first");
  if (source && !(await exists(source))) fail(`${source}: no such file`);
  await rm(target, {recursive: true, force: true});
  await mkdir(target, {recursive: true});
  await cp(join(HERE, "src"), target, {recursive: true});
  await cp(join(CORE, "dist/index.js"), join(target, "vendor/litert/core.js"));
  await cp(join(WASM_UTILS, "dist/index.js"), join(target, "vendor/litert/wasm-utils.js"));
  for (const variant of WASM_VARIANTS) {
    for (const suffix of [".js", ".wasm"]) {
      await cp(join(CORE, "wasm", variant + suffix), join(target, "vendor/litert/wasm", variant + suffix));
    }
  }
  await cp(join(CORE, "package.json"), join(target, "vendor/litert/package.json"));
  await cp(join(HERE, "../../LICENSE"), join(target, "vendor/litert/LICENSE"));
  await writeFile(join(target, "default.json"), JSON.stringify({model: source ? await addModel(source, target) : null}) + "\n");
  console.log(target);
}

/* Copies the network, and the JSON beside it if there is one; returns what the page needs to open it. */
async function addModel(source, target) {
  await cp(source, join(target, "model.tflite"));
  const sidecar = source.replace(/\.tflite$/, ".json");
  const hasSidecar = sidecar !== source && (await exists(sidecar));
  if (hasSidecar) await cp(sidecar, join(target, "model.json"));
  return {name: basename(source), file: "model.tflite", sidecar: hasSidecar ? "model.json" : null};
}

await build(readArguments());
