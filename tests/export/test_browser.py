"""The page in export/browser, in headless Chromium, against Python on the same files."""

import io
import json
import re
import struct
import subprocess

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder
from PIL import Image, PngImagePlugin

import browser_page
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.export.tflite import export_tflite, load_tflite

# As in the fixture `float_file`.
SIZE, LABELS = 16, ["ant", "bee", "cat", "dog"]
PREPROCESSING = Preprocessing(SIZE, 0.875)
# Kernels round differently in WebAssembly; in int8 a value may land on the step of its scale beside.
TOLERANCE = {"none": 1e-3, "dynamic": 0.05, "int8": 0.1}


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The built page's folder; without npm or its registry the tests are skipped with the reason."""
    try:
        return browser_page.build_page(tmp_path_factory.mktemp("page"))
    except browser_page.MissingProgram as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def chromium():
    try:
        with browser_page.open_chromium() as browser:
            yield browser
    except browser_page.MissingProgram as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def address(site):
    with browser_page.serve(site) as url:
        yield url


@pytest.fixture(scope="module")
def tab(chromium, address):
    """(page, messages of errors, addresses asked for), opened once, for it fetches and compiles megabytes."""
    page = chromium.new_page()
    failures, requests = [], []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    yield page, failures, requests
    page.close()


@pytest.fixture
def page(tab, address):
    """The opened page; nothing that a test does may log an error or ask another server."""
    page, failures, requests = tab
    yield page
    page.set_viewport_size({"width": 1280, "height": 720})
    assert failures == []
    assert requests and all(url.startswith(address) for url in requests)


@pytest.fixture(scope="session")
def exported(model, float_file, int8_file, tmp_path_factory):
    """Names of files by quantization, each with its metadata."""
    dynamic = tmp_path_factory.mktemp("dynamic") / "model_dynamic.tflite"
    export_tflite(model, dynamic, "dynamic", labels=LABELS, preprocessing=PREPROCESSING)
    return {"none": [float_file], "dynamic": [dynamic], "int8": [int8_file, float_file.with_suffix(".json")]}


@pytest.fixture(scope="module")
def picture():
    return encode(make_picture())


def make_picture(height=61, width=47):
    """uint8 [H, W, 3]: smooth colours with noise, nowhere symmetric."""
    rows, columns = np.mgrid[0:height, 0:width]
    smooth = np.stack([rows / height, columns / width, (rows * columns) / (height * width)], -1)
    noise = np.random.default_rng(7).normal(0, 0.1, smooth.shape)
    return np.uint8(255 * np.clip(smooth + noise, 0, 1))


def encode(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **{"format": "PNG", **options})
    return buffer.getvalue()


def as_file(name, content):
    return {"name": name, "mimeType": "", "buffer": content}


def open_model(page, *files):
    """Opens paths or `as_file`s, the network first, and waits until the page shows it."""
    name = files[0]["name"] if isinstance(files[0], dict) else files[0].name
    page.set_input_files("#model-input", list(files))
    page.locator("#model-facts dd", has_text=re.compile(f"^{re.escape(name)}$")).wait_for()
    page.locator("body[aria-busy=false]").wait_for()


def classify(page, content, name="picture.png"):
    """{"logits", "pixels"} as the page announces them."""
    page.evaluate(
        """() => {
            window.classified = new Promise((resolve) =>
                document.addEventListener("classified", ({detail}) => resolve(detail), {once: true}));
        }"""
    )
    page.set_input_files("#image-input", as_file(name, content))
    return page.evaluate("() => window.classified")


def drop(page, files):
    """Drops [(name, content)] on the page."""
    page.evaluate(
        """(files) => {
            const dataTransfer = new DataTransfer();
            for (const [name, content] of files) {
                dataTransfer.items.add(new File([Uint8Array.from(content)], name));
            }
            document.body.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true}));
        }""",
        [(name, list(content)) for name, content in files],
    )


def litert(path, pixels):
    """Logits of float32 [S, S, 3] in Python."""
    interpreter, _ = load_tflite(path)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[np.newaxis])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]


def edited(path, change):
    """The file's bytes after `change(model)`, a schema.ModelT."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    change(model)
    builder = Builder(2**16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("quantization", TOLERANCE)
def test_the_page_answers_what_python_answers(page, exported, picture, model, quantization):
    open_model(page, *exported[quantization])
    answer = classify(page, picture)
    pixels = PREPROCESSING.decode_and_prepare(picture).numpy()
    np.testing.assert_allclose(np.reshape(answer["pixels"], pixels.shape), pixels, atol=1e-5)
    tolerance = TOLERANCE[quantization]
    np.testing.assert_allclose(answer["logits"], litert(exported[quantization][0], pixels), atol=tolerance)
    if quantization == "none":
        np.testing.assert_allclose(answer["logits"], model(pixels[np.newaxis])[0], atol=tolerance)


def test_the_best_classes_come_first_with_their_probabilities(page, float_file, picture):
    open_model(page, float_file)
    logits = np.array(classify(page, picture)["logits"])
    probabilities = np.asarray(keras.ops.softmax(logits))
    order = np.argsort(-probabilities)
    shown = [line.split("\n") for line in page.locator("#classes li").all_inner_texts()]
    assert [name for name, _ in shown] == [LABELS[index] for index in order]
    assert [share for _, share in shown] == [f"{100 * probabilities[index]:.1f}\u00a0%" for index in order]
    assert page.inner_text("#answer").startswith(LABELS[order[0]])


def test_latency_is_a_median_of_runs(page, float_file, picture):
    page.evaluate("() => document.addEventListener('measured', ({detail}) => { window.latency = detail; })")
    open_model(page, float_file)
    classify(page, picture)
    page.locator("#measure:enabled").click()
    page.locator("#latency", has_text="runs)").wait_for()
    latency = page.evaluate("() => window.latency")
    assert 0 < latency["network"]["low"] <= latency["network"]["median"] <= latency["network"]["high"]
    assert latency["network"]["runs"] == 20
    assert all(latency[part] > 0 for part in ("first", "preparing", "decoding", "loading"))


def test_facts_of_the_network_are_shown(page, exported):
    [file] = exported["dynamic"]
    open_model(page, file)
    facts = dict(zip(*(page.locator(f"#model-facts {tag}").all_inner_texts() for tag in ("dt", "dd")), strict=True))
    assert facts["File"] == "model_dynamic.tflite" and facts["Precision"] == "int8 weights, float activations"
    assert facts["Size"] == f"{file.stat().st_size / 1000:.1f}\u00a0kB"
    assert facts["Input"].replace("\u00a0", " ") == f"{SIZE} × {SIZE} pixels"
    assert facts["Runs on"] == "WebAssembly, 1 thread"


def test_network_and_image_may_be_dropped_together(page, float_file, picture):
    drop(page, [("model.tflite", float_file.read_bytes()), ("picture.png", picture)])
    page.locator("#classes li").first.wait_for()
    assert page.locator("#classes li").count() == len(LABELS)


def test_an_image_may_be_pasted(page, float_file, picture):
    open_model(page, float_file)
    page.evaluate(
        """(content) => {
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([Uint8Array.from(content)], "pasted.png", {type: "image/png"}));
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData}));
        }""",
        list(picture),
    )
    page.locator("#classes li").first.wait_for()


def test_a_photograph_is_upright_and_near_to_what_python_decodes(page, float_file):
    exif = Image.Exif()
    exif[0x0112] = 6
    jpeg = encode(make_picture(400, 300), format="JPEG", quality=95, exif=exif)
    open_model(page, float_file)
    pixels = PREPROCESSING.decode_and_prepare(jpeg).numpy()
    difference = np.abs(np.reshape(classify(page, jpeg, "photo.jpg")["pixels"], pixels.shape) - pixels)
    # JPEG decoders may differ by a step or two of 255 (2 / 255 = 0.008); another orientation differs by more than 0.5.
    assert difference.max() < 0.02
    assert "300\u00a0×\u00a0400" not in page.inner_text("#caption")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "WebP", "JPEG"])
def test_every_orientation_of_every_format_is_turned_as_in_python(page, float_file, form, orientation):
    """Exactly, but for JPEG's decoders; a large image is read in several boxes."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if form == "JPEG" else {"lossless": True} if form == "WebP" else {}
    content = encode(make_picture(400, 300), format=form, exif=exif, **options)
    open_model(page, float_file)
    pixels = PREPROCESSING.decode_and_prepare(content).numpy()
    found = np.reshape(classify(page, content, f"photo.{form.lower()}")["pixels"], pixels.shape)
    np.testing.assert_allclose(found, pixels, atol=0.02 if form == "JPEG" else 1e-5)


def test_a_gamma_in_the_file_changes_nothing(page, float_file):
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", struct.pack(">I", 100_000))
    png = encode(make_picture(), pnginfo=info)
    open_model(page, float_file)
    pixels = PREPROCESSING.decode_and_prepare(png).numpy()
    np.testing.assert_allclose(np.reshape(classify(page, png)["pixels"], pixels.shape), pixels, atol=1e-5)


def test_transparency_is_pointed_out(page, float_file):
    pixels = np.dstack([make_picture(), np.full([61, 47], 128, np.uint8)])
    open_model(page, float_file)
    classify(page, encode(pixels))
    assert "partly transparent" in page.inner_text("#caption")


def _dynamic(model):
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].shapeSignature = np.array([-1, SIZE, SIZE, 3], np.int32)


def _int8_ends(model):
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].type = schema.TensorType.INT8


def _without_metadata(model):
    model.metadata = []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_dynamic, "wrong.tflite has an input of shape [any, 16, 16, 3]; expected a fixed shape with batch 1."),
        (_int8_ends, "wrong.tflite has an input of type int8; export it with float32"),
        (_without_metadata, "wrong.tflite has no scarlet_tf metadata; choose the .json file"),
        (lambda content: content[:-30], "wrong.tflite was refused by LiteRT.js: torn"),
        (lambda content: content[: len(content) // 2], "wrong.tflite is torn"),
        (lambda content: b"PK\3\4 a renamed archive", "wrong.tflite is not a .tflite file"),
        (lambda content: b"", "wrong.tflite is not a .tflite file"),
    ],
    ids=["dynamic batch", "int8 ends", "no metadata", "nearly whole", "half", "not a model", "empty"],
)
def test_a_wrong_network_is_refused_and_the_page_goes_on(page, float_file, picture, change, message):
    by_schema = change in (_dynamic, _int8_ends, _without_metadata)
    content = edited(float_file, change) if by_schema else change(float_file.read_bytes())
    open_model(page, float_file)
    page.set_input_files("#model-input", as_file("wrong.tflite", content))
    page.locator("#error:not([hidden])").wait_for()
    assert page.inner_text("#error").startswith(message)
    classify(page, picture)
    assert page.is_hidden("#error")
    assert page.locator("#model-facts dd").first.inner_text() == float_file.name


def test_a_json_file_stands_in_for_embedded_metadata(page, float_file, picture):
    content = edited(float_file, _without_metadata)
    page.set_input_files("#model-input", as_file("bare.tflite", content))
    page.locator("#error", has_text="no scarlet_tf metadata").wait_for()
    page.set_input_files("#model-input", float_file.with_suffix(".json"))
    page.locator("#model-facts dd", has_text="bare.tflite").wait_for()
    assert page.is_hidden("#error")
    classify(page, picture)
    assert page.inner_text("#answer").split(",")[0] in LABELS


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([("notes.txt", b"some text")], "notes.txt is neither a .tflite file nor an image"),
        ([("torn.png", encode(make_picture())[:40])], "torn.png is neither"),
        ([("a.png", b""), ("b.png", b"")], "Expected one network and one image at a time."),
        ([], "Drop a file; links and text are not read."),
    ],
)
def test_a_wrong_drop_is_answered(page, files, message):
    drop(page, files)
    page.locator("#error:not([hidden])").wait_for()
    assert page.inner_text("#error").startswith(message)


def test_a_new_page_asks_for_the_network_of_a_json_file(chromium, address):
    page = chromium.new_page()
    page.goto(address)
    assert page.is_hidden("#measure") and page.is_hidden("#error")
    drop(page, [("model.json", b"{}")])
    page.locator("#error", has_text="model.json describes a network; choose its .tflite file as well.").wait_for()
    page.close()


def test_a_json_file_that_does_not_fit_is_named(page, float_file):
    drop(page, [("model.tflite", float_file.read_bytes()), ("other.json", b"{}")])
    page.locator("#error", has_text="model.tflite with other.json has metadata of version undefined").wait_for()


def test_a_page_built_with_a_network_opens_it_at_once(chromium, site, float_file, tmp_path):
    build = ["npm", "run", "build", "--", "--out", tmp_path / "site", "--model"]
    subprocess.run([*build, float_file], cwd=site.parent, check=True, capture_output=True)
    with browser_page.serve(tmp_path / "site") as url:
        page = chromium.new_page()
        page.goto(url)
        page.locator("#model-facts dd", has_text=float_file.name).wait_for()
        page.close()
    missing = subprocess.run([*build, tmp_path / "none.tflite"], cwd=site.parent, capture_output=True, text=True)
    assert missing.returncode == 2 and "none.tflite: no such file" in missing.stderr


def test_labels_are_shown_as_text(page, float_file, picture):
    metadata = json.loads(float_file.with_suffix(".json").read_text())
    metadata["labels"] = ["<img src=x>", "<b>bee</b>", "cat", "dog"]
    sidecar = as_file("model.json", json.dumps(metadata).encode())
    open_model(page, as_file("model.tflite", float_file.read_bytes()), sidecar)
    classify(page, picture)
    assert set(page.locator("#classes .name").all_inner_texts()) == set(metadata["labels"])


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_phones_and_desktops(page, float_file, picture, width, scheme):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    long_name = as_file("a_network_with_a_name_that_is_much_longer_than_any_line.tflite", float_file.read_bytes())
    open_model(page, long_name)
    classify(page, picture)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_everything_is_reached_by_keyboard_and_has_a_name(page, float_file, picture):
    open_model(page, float_file)
    classify(page, picture)
    page.locator("#measure:enabled").wait_for()
    page.locator("#model-input").focus()
    for following in ("image-input", "measure"):
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.id") == following
    assert page.get_by_label("Choose a .tflite file").count() == page.get_by_label("Choose an image").count() == 1


def test_a_server_with_isolation_headers_gives_threads(chromium, site, float_file, picture):
    with browser_page.serve(site, browser_page.ISOLATION_HEADERS) as url:
        page = chromium.new_page()
        page.goto(url)
        open_model(page, float_file)
        answer = classify(page, picture)
        assert "thread" in page.inner_text("#model-facts") and page.evaluate("() => crossOriginIsolated")
        page.close()
    pixels = PREPROCESSING.decode_and_prepare(picture).numpy()
    np.testing.assert_allclose(answer["logits"], litert(float_file, pixels), atol=1e-3)
