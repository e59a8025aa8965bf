"""`scarlet finetune`: a search result, or a network of the zoo, on a folder of images in one command."""

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from test_pipeline import VALUES, config, network_result

import scarlet_tf as st
from scarlet_tf import cli
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import read_json
from scarlet_tf.config import claim_run_dir, finetune_config, load_config
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.digits import load as load_digits
from scarlet_tf.data.preprocessing import Preprocessing
from scarlet_tf.models.network import build_network, get_arrays, load_network
from scarlet_tf.run import Run, retraining, run_ranking, run_stage
from scarlet_tf.run.methods import Finetuning
from scarlet_tf.space.search_space import Architecture
from scarlet_tf.training.network import save_model

EXPORT = ["--set", "export.formats=[float32, int8]", "--set", "export.saved_model=false"]
EXPORT += ["--set", "export.benchmark_threads=0", "--set", "export.verification_examples=20"]


@pytest.fixture
def photos(tmp_path):
    """Images of three digits, 40 each, as PNG files of 8 x 8 pixels in folders."""
    split = load_digits(DataConfig(), Preprocessing(8)).splits["train"]
    for images, labels in split.batches(400).take(1):
        pixels = np.round((images.numpy() + 1) * 127.5).astype(np.uint8)
        for label in (1, 4, 7):
            folder = tmp_path / "photos" / f"digit_{label}"
            folder.mkdir(parents=True)
            for index in np.flatnonzero(labels.numpy() == label)[:40]:
                (folder / f"{index}.png").write_bytes(tf.io.encode_png(pixels[index]).numpy())
    return tmp_path / "photos"


@pytest.fixture
def source(tmp_path):
    """A finished run, as far as fine-tuning reads it: a tiny network for ten classes."""
    folder, architecture = tmp_path / "source", Architecture((0, 6, 3), config().space)
    claim_run_dir(folder, config(data={"augmentation": "shift"}))
    network = build_network(architecture, (8, 8, 3), 10, seed=0)
    save_model(network, folder / "retrain" / "model.keras")
    network_result().write(folder, architecture.space)
    return folder


def finetune(*arguments) -> int:
    return cli.main(["finetune", *map(str, arguments)])


@pytest.mark.slow
def test_a_search_result_is_fine_tuned_exported_and_verified_in_one_command(
    source, photos, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("SCARLET_ZOO_DIR", str(tmp_path / "zoo"))
    run = tmp_path / "flowers"
    command = [source, "--data", photos, "--epochs", 2, "--batch-size", 16, "--freeze-bn", "--rate-decay", 0.8]
    command += ["--out", run, "--json", *EXPORT]
    assert finetune(*command) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["origin"]["network"] == "source"
    assert summary["dataset"]["classes"] == ["digit_1", "digit_4", "digit_7"]
    assert [row["file"] for row in summary["files"]] == ["model_float32.tflite", "model_int8.tflite"]

    before, after = (get_arrays(load_network(folder / "retrain" / "model.keras")) for folder in (source, run))
    assert after["classifier/kernel"].shape[1] == 3
    for key in before:
        if "_bn/" in key:
            np.testing.assert_array_equal(after[key], before[key], err_msg=key)
    assert not np.array_equal(after["stem_conv/kernel"], before["stem_conv/kernel"])

    resolved = load_config(run / "config.yaml")
    assert resolved.data.augmentation == "shift"  # as the source's
    assert (resolved.finetune.rate_decay, resolved.data.image_size) == (0.8, 8)
    certificate = read_json(run / "export" / "certificate.json")
    assert certificate["details"]["origin"] == read_json(run / "retrain" / "result.json")["origin"]
    assert set(certificate["seeds"]) == {"run", "data", "finetune"}
    assert cli.main(["verify", str(run)]) == 0
    assert cli.main(["export", str(run / "config.yaml"), "--run-dir", str(run)]) == 0
    st.register_network("flowers", run)
    again = ["flowers", "--data", photos, "--epochs", 1, "--batch-size", 16, "--out", tmp_path / "again", *EXPORT]
    assert finetune(*again) == 0
    assert read_json(tmp_path / "again" / "retrain" / "result.json")["origin"]["network"] == "flowers"
    assert finetune(*command[:4], 3, *command[5:]) == 2  # another experiment in the same folder
    assert "finetune.epochs: 2 in the folder, 3 now" in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupted_command_goes_on(source, photos, tmp_path, monkeypatch):
    class Stop(keras.callbacks.Callback):
        left = 3

        def on_train_batch_end(self, batch, logs=None):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    command = [source, "--data", photos, "--epochs", 2, "--batch-size", 16, *EXPORT, "--out"]
    real = retraining.finetune
    monkeypatch.setattr(retraining, "finetune", lambda *args, **kwargs: real(*args, **kwargs, callbacks=[Stop()]))
    assert finetune(*command, tmp_path / "killed") == 130
    monkeypatch.setattr(retraining, "finetune", real)
    for folder in ("killed", "straight"):
        assert finetune(*command, tmp_path / folder) == 0
    first, second = (
        get_arrays(load_network(tmp_path / name / "retrain/model.keras")) for name in ("killed", "straight")
    )
    for key in first:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)


def test_a_yaml_file_may_say_what_is_fine_tuned(source, photos, tmp_path):
    """`network` is relative to the file; stages of a search are refused."""
    values = VALUES | {"data": {"source": "folder", "directory": str(photos), "image_size": 8}}
    values["finetune"] = {"network": "source", "epochs": 1, "batch_size": 16, "train_from": "classifier"}
    values["export"] = {
        "formats": ["float32"],
        "saved_model": False,
        "benchmark_threads": 0,
        "verification_examples": 20,
    }
    path, run = tmp_path / "flowers.yaml", tmp_path / "run"
    path.write_text(yaml.safe_dump(values))
    assert load_config(path).finetune.network == str(source)
    with pytest.raises(InputError, match=r"search: nothing to do; set finetune\.network to null"):
        run_stage("search", load_config(path), run)
    with pytest.raises(InputError, match="scarlet finetune CONFIG --run-dir"):
        run_stage("export", load_config(path), run)
    with pytest.raises(InputError, match="rank: expected a run with a search"):
        run_ranking(load_config(path), run)
    assert finetune(path, "--run-dir", run) == 0
    before, after = (get_arrays(load_network(folder / "retrain" / "model.keras")) for folder in (source, run))
    changed = {key for key in after if not np.array_equal(after[key], before[key])}
    assert changed == {"classifier/kernel", "classifier/bias"}


@pytest.mark.parametrize("name", ["c.weights.h5", "c.npz"])
def test_a_zoo_network_starts_from_its_file(name, photos, tmp_path):
    model = st.FairNASC(input_shape=(32, 32, 3), classes=6)
    save = model.save_weights if name.endswith(".h5") else functools.partial(st.save_torch_weights, model)
    save(tmp_path / name)
    settings = {"data.directory": str(photos), "data.image_size": 32, "finetune.weights": str(tmp_path / name)}
    wanted = finetune_config("fairnas_c", settings)
    source = Finetuning().source(Run(wanted, tmp_path / "run"))
    expected = get_arrays(model)
    for key, array in get_arrays(source.network).items():
        np.testing.assert_array_equal(array, expected[key], err_msg=key)
    assert source.origin["weights_sha256"]
    assert wanted.finetune.network == "fairnas_c"
    assert wanted.data.augmentation == "crop_flip"


def test_without_a_file_the_seed_says_which_random_weights_a_zoo_network_has(photos, tmp_path):
    def arrays(seed):
        settings = {"data.directory": str(photos), "data.image_size": 32, "seed": seed}
        return get_arrays(Finetuning().source(Run(finetune_config("fairnas_c", settings), tmp_path / "run")).network)

    first, again, other = arrays(1), arrays(1), arrays(2)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert not np.array_equal(first["stem_conv/kernel"], other["stem_conv/kernel"])


def _mistakes(source, photos, tmp_path):
    empty, single, torn = tmp_path / "empty", tmp_path / "single", tmp_path / "torn"
    empty.mkdir()
    (single / "only").mkdir(parents=True)
    for name in ("a", "b"):
        (torn / name).mkdir(parents=True)
        (torn / name / "x.jpg").write_bytes(b"\xff\xd8\xff torn")
    foreign = tmp_path / "foreign.weights.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(foreign)
    zoo = ["fairnas_c", "--data", photos, "--image-size", 32]
    yield [source, "--data", tmp_path / "nothing"], "data.directory: expected a folder of class folders"
    yield [source, "--data", empty], "expected at least two class folders, got []"
    yield [source, "--data", single], "expected at least two class folders, got ['only']"
    yield [source, "--data", torn], "2 of 2 images cannot be decoded"
    yield [source], "--data: expected the folder of class folders"
    yield [tmp_path / "nothing", "--data", photos], "expected a YAML file, a run folder with config.yaml, or one of"
    yield [source, "--data", photos, "--weights", foreign], "finetune.weights: expected none with"
    yield [*zoo, "--weights", foreign], "expected the .weights.h5 file of this very model"
    yield [*zoo, "--weights", tmp_path / "nothing.h5"], "weights: expected None"
    yield [source, "--data", photos, "--train-from", "block_99"], "finetune.train_from: expected one of stem, "
    yield (
        [source, "--data", photos, "--rate-decay", 2],
        "finetune.rate_decay: expected a number above 0 and up to 1, got 2.0",
    )
    yield [source, "--data", photos, "--batch-size", 5000], "finetune.batch_size: expected at most the "


def test_mistakes_are_named_before_anything_is_trained(source, photos, tmp_path, capsys):
    for number, (arguments, message) in enumerate(_mistakes(source, photos, tmp_path)):
        run = tmp_path / f"run{number}"
        assert finetune(*arguments, "--out", run) == 2, arguments
        found = capsys.readouterr().err
        assert message in found, found
        assert "Traceback" not in found
        assert not (run / "config.yaml").exists()  # the corrected command may use the folder
