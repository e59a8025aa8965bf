"""Exit codes and messages of the `scarlet` command; test_end_to_end.py has whole runs."""

import json
import pathlib
import subprocess
import sys

import pytest
import yaml

from scarlet_tf import cli
from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.files import file_name

SCARLET_A = "4,8,2,5,7,3,7,0,5,4,2,5,0,5,7,9,1,7,11"
CONFIG = """
data: {source: digits, image_size: 8}
space:
  name: tiny
  stages: [{channels: 8, depth: 1}, {channels: 16, depth: 1, stride: 2}]
  choices: [{expansion: 3, kernel_size: 3}, {skip: true}]
  stem_stride: 1
  stem_channels: 8
  first_channels: 8
  tail_channels: 16
supernet: {epochs: 1, batch_size: 256}
search: {upper_bounds: {multiply_adds: 200k}, population_size: 2, generations: 2, picks: 1, recalibration_batches: 1}
race: off
retrain: {epochs: 1, batch_size: 256, learning_rate: 0.01, warmup_epochs: 0, optimizer: sgd, ema: 0.0}
export: {calibration_examples: 8, verification_examples: 32}
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A valid configuration in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text(CONFIG)
    return "my.yaml"


@pytest.fixture
def fake_pipeline(monkeypatch):
    """Replaces the stages; the test sets what running them answers or raises."""
    from scarlet_tf import run as runs

    behaviour = {}

    def run(*args, max_hours=None, adb=None, until=None):
        behaviour.update(arguments=args, max_hours=max_hours, adb=adb, until=until)
        next(arg for arg in args if isinstance(arg, pathlib.Path)).mkdir(parents=True, exist_ok=True)
        print("chatter of a library")
        if "error" in behaviour:
            raise behaviour["error"]
        return behaviour.get("answer", {})

    monkeypatch.setattr(runs, "run_all", run)
    monkeypatch.setattr(runs, "run_stage", run)
    return behaviour


# -- help ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "doctor",
        "init",
        "run",
        "train-supernet",
        "search",
        "retrain",
        "finetune",
        "export",
        "cost",
        "verify",
        "benchmark",
    ],
)
def test_every_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert f"example: scarlet {command} " in out
    assert "--json" in out


def test_version_is_the_packages(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.startswith("scarlet 0.")


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["run"], ["search", "my.yaml"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_help_and_cost_import_no_tensorflow():
    script = (
        "import sys, contextlib, scarlet_tf.cli as cli\n"
        f"assert cli.main(['cost', '{SCARLET_A}']) == 0\n"
        "with contextlib.suppress(SystemExit): cli.main(['run', '--help'])\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["serch"]])
def test_help_and_usage_errors_import_nothing_that_takes_time(arguments):
    script = (
        "import sys, contextlib, scarlet_tf.cli as cli\n"
        f"with contextlib.suppress(SystemExit): cli.main({arguments!r})\n"
        "print(sorted({'numpy', 'rich', 'yaml', 'pydantic', 'filelock', 'psutil', 'keras'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# -- cost ------------------------------------------------------------------------------------------------------


def test_cost_of_an_architecture(capsys):
    assert cli.main(["cost", SCARLET_A]) == 0
    assert "365.3 M multiply-adds, 6.71 M params  (224 x 224 x 3, 1000 classes)" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", ["cost scarlet_a", "cost scarlet_a --json"])
def test_reader_that_goes_away_is_no_failure(arguments):
    script = f'"$0" -m scarlet_tf {arguments}; echo "exit code $?" >&2'
    done = subprocess.run(
        ["sh", "-c", f"({script}) | true", sys.executable], capture_output=True, text=True, check=False
    )
    assert done.stderr == "exit code 0\n"


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_under_the_figures_is_told_in_a_line():
    script = '"$0" -m scarlet_tf cost scarlet_a > /dev/full'
    done = subprocess.run(["sh", "-c", script, sys.executable], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "scarlet: error: standard output: could not be written: No space left on device\n"


def test_cost_as_json_at_another_size(capsys):
    assert cli.main(["cost", SCARLET_A, "--json", "--input-size", "192", "--classes", "10"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["space"], figures["input_size"], figures["num_classes"]) == ("s2", 192, 10)
    assert figures["architecture"] == SCARLET_A
    assert isinstance(figures["multiply_adds"], int)


def test_cost_of_a_zoo_network_shows_the_published_figure_and_the_gap(capsys):
    assert cli.main(["cost", "scarlet_b"]) == 0
    out = capsys.readouterr().out
    assert "326.9 M multiply-adds, 6.53 M params" in out
    assert "published: 329 M multiply-adds, 6.5 M params, ImageNet top-1 76.3 %, ImageNet top-5 93.0 %" in out
    assert "note: the published table says 329 M multiply-adds" in out
    assert "unexplained" in out


def test_cost_in_a_space_of_ones_own(config, capsys):
    text = CONFIG.split("space:\n")[1].split("supernet:")[0]
    pathlib.Path("space.yaml").write_text("\n".join(line.removeprefix("  ") for line in text.splitlines()))
    assert cli.main(["cost", "0,1", "--space", "space.yaml", "--input-size", "8", "--classes", "2"]) == 0
    assert "tiny:0,1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["0,1"], "architecture: space 's2' has 19 layers, got 2 choices"),
        ([SCARLET_A.replace("11", "13")], "layer 18: expected a choice from 0 to 12, got 13"),
        (["scarlet_z"], "scarlet_z: expected choices such as 4,8,2,... or one of"),
        ([SCARLET_A, "--space", "s3"], "expected one of ['s1', 's2']"),
        (["scarlet_b", "--space", "s1"], "--space: scarlet_b belongs to space 's2', got 's1'"),
        ([SCARLET_A, "--input-size", "0"], "--input-size: expected an integer >= 1, got 0"),
        ([SCARLET_A, "--classes", "0"], "--classes: expected an integer >= 1, got 0"),
    ],
)
def test_bad_cost_arguments_exit_with_2_and_one_message(arguments, message, capsys):
    assert cli.main(["cost", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("scarlet: error: ")
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


@pytest.fixture
def network_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = "stem_channels: 8\ntail_channels: 8\ninput_size: 32\nnum_classes: 5\n"
    pathlib.Path("my.yaml").write_text(f"blocks: [ds_r1_k3_s1_c8, ir_r1_k3_s2_e3_c16]\n{options}")
    return "my.yaml"


def test_cost_of_a_network_in_a_file(network_file, capsys):
    assert cli.main(["cost", network_file]) == 0
    assert capsys.readouterr().out.startswith("my.yaml\n0.2 M multiply-adds, 0.00 M params  (32 x 32 x 3, 5 classes)")
    assert cli.main(["cost", network_file, "--json", "--input-size", "16", "--classes", "7"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["file"], figures["input_size"], figures["num_classes"]) == ("my.yaml", 16, 7)
    multiply_adds = 64 * (27 * 8 + 9 * 8 + 8 * 8 + 8 * 24) + 16 * (9 * 24 + 24 * 16 + 16 * 8) + 8 * 7
    assert figures["multiply_adds"] == multiply_adds
    params = (27 * 8 + 16) + (9 * 8 + 16 + 8 * 8 + 16) + (8 * 24 + 48 + 9 * 24 + 48 + 24 * 16 + 32)
    assert figures["params"] == params + (16 * 8 + 16) + (8 * 7 + 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["my.yaml", "--space", "s2"], "--space: expected none, for my.yaml is a whole network, got 's2'"),
        (["my.yaml", "--input-size", "0"], "--input-size: expected an integer >= 1, got 0"),
        (["other.yaml"], "other.yaml: expected a readable YAML file: No such file or directory"),
        (["bad.yaml"], "bad.yaml: ir_r1_k3_s2_e3_c16_nmi: n: expected re, r6, hs, sw; mi cannot be expressed"),
    ],
)
def test_bad_network_files_exit_with_2_and_one_message(network_file, arguments, message, capsys):
    pathlib.Path("bad.yaml").write_text("blocks: [ir_r1_k3_s2_e3_c16_nmi]")
    assert cli.main(["cost", *arguments]) == 2
    assert capsys.readouterr().err == f"scarlet: error: {message}\n"


# -- runs ------------------------------------------------------------------------------------------------------


def test_run_goes_to_the_folder_named_after_the_config(config, fake_pipeline, capsys):
    assert cli.main(["run", config, "--json", "--set", "seed=3"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {}
    given, folder = fake_pipeline["arguments"]
    assert (given.seed, folder) == (3, pathlib.Path("runs/my"))
    assert "chatter of a library" in pathlib.Path("runs/my/run.log").read_text()


def test_run_folder_has_a_name_that_every_system_allows(config, fake_pipeline):
    pathlib.Path(config).rename("what? con.yaml")
    assert cli.main(["run", "what? con.yaml", "--json"]) == 0
    assert fake_pipeline["arguments"][1] == pathlib.Path("runs", file_name("what? con"))
    assert [path.name[:9] for path in pathlib.Path("runs").iterdir()] == ["what_ con"]


@pytest.mark.parametrize("command", ["run", "train-supernet", "retrain"])
def test_a_limit_on_the_hours_is_handed_on(config, fake_pipeline, command):
    assert cli.main([command, config, "--json", "--run-dir", "r", "--max-hours", "7.5"]) == 0
    assert fake_pipeline["max_hours"] == 7.5
    assert cli.main([command, config, "--json", "--run-dir", "r"]) == 0
    assert fake_pipeline["max_hours"] is None


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf"])
def test_a_bad_limit_on_the_hours_is_named(config, hours, capsys):
    assert cli.main(["run", config, f"--max-hours={hours}"]) == 2
    assert "--max-hours: expected a number > 0, got" in capsys.readouterr().err
    assert not pathlib.Path("runs").exists()


def test_a_search_may_take_what_is_there_but_not_less(config, fake_pipeline, capsys):
    assert cli.main(["search", config, "--run-dir", "r", "--max-hours", "0"]) == 0
    assert fake_pipeline["max_hours"] == 0
    assert cli.main(["search", config, "--run-dir", "r", "--max-hours", "-1"]) == 2
    assert "--max-hours: expected a number >= 0, got -1.0" in capsys.readouterr().err


def test_an_export_has_no_limit_on_its_hours(config, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["export", config, "--run-dir", "r", "--max-hours", "1"])
    assert caught.value.code == 2


def test_a_comparison_gets_what_was_asked_for(config, monkeypatch, capsys):
    from scarlet_tf import run as runs

    asked = {}
    figures = {"median": 0.5, "low": None, "high": None}
    row = {"seeds": 1, "hypervolume": figures, "evaluations_to_target": figures, "ratio_to_random": figures}
    answer = {
        "space": "tiny",
        "bounds": ["multiply_adds < 200000"],
        "evaluations": 4,
        "target": 0.5,
        "algorithms": {"random": row},
    }

    def stand_in(config, run_dir, path, **given):
        asked.update(given)
        return answer

    monkeypatch.setattr(runs, "run_comparison", stand_in)
    command = ["search", config, "--run-dir", "r", "--compare"]
    assert cli.main([*command, "--seeds", "3", "4", "--algorithms", "random", "--evaluations", "9"]) == 0
    assert asked == {"seeds": [3, 4], "algorithms": ["random"], "evaluations": 9}
    assert "random" in capsys.readouterr().out
    asked.clear()
    assert cli.main([*command, "--json"]) == 0
    assert asked == {} and json.loads(capsys.readouterr().out) == answer


def test_options_of_a_comparison_need_it(config, capsys):
    assert cli.main(["search", config, "--run-dir", "r", "--seeds", "1"]) == 2
    assert "--seeds: expected --compare with it" in capsys.readouterr().err


def test_a_comparison_needs_a_trained_supernet(config, capsys):
    assert cli.main(["search", config, "--run-dir", "r", "--compare"]) == 2
    assert (
        "search needs a trained supernet, which is not there yet; first run: scarlet train-supernet"
        in capsys.readouterr().err
    )


def test_a_run_that_was_ended_in_time_is_finished_by_the_other_stages(config, capsys):
    """One step of each training is all there is time for; what it leaves is searched, retrained and exported."""
    options = [config, "--run-dir", "r", "--json"]
    for change in ("csv=true", "export.formats=[float32]", "export.saved_model=false"):
        options += ["--set", change]
    figures = {}
    for stage in ("train-supernet", "search", "retrain", "export"):
        limit = ["--max-hours", "1e-9"] if stage in ("train-supernet", "retrain") else []
        assert cli.main([stage, *options, *limit]) == 0, capsys.readouterr().err
        figures[stage] = json.loads(capsys.readouterr().out)
    for stage in ("train-supernet", "retrain"):
        assert (figures[stage]["steps"], figures[stage]["stopped"]) == (1, "max_hours")
        assert figures[stage]["history"][-1]["stopped"] == "max_hours"
    assert figures["export"]["files"]
    assert "max_hours: 1" not in pathlib.Path("r/config.yaml").read_text()  # race.max_hours is null
    assert len(pathlib.Path("r/supernet/log.csv").read_text().splitlines()) == 2


def test_stage_command_calls_its_stage(config, fake_pipeline, capsys):
    fake_pipeline["answer"] = {"steps": 3, "history": [1, 2], "test": {"accuracy": 0.5}}
    assert cli.main(["train-supernet", config, "--run-dir", "r"]) == 0
    assert fake_pipeline["arguments"][0] == "train-supernet"
    out = capsys.readouterr().out
    assert "test.accuracy" in out
    assert "2 entries" in out


def test_a_run_until_a_stage_shows_its_result(config, fake_pipeline, capsys):
    fake_pipeline["answer"] = {"size": 3, "picks": [1, 2]}
    assert cli.main(["run", config, "--until", "search"]) == 0
    assert fake_pipeline["until"] == "search"
    out = capsys.readouterr().out
    assert "search" in out and "2 entries" in out and "Everything is in" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "my.yaml", "--until", "serch"],
            "--until serch: expected one of the stages train-supernet, search, race, retrain, ",
        ),
        (["run", "my.yaml", "--until", "optimize"], "optimize: nothing to do; set optimization.quantization_aware or"),
        (["run", "none.yaml"], "none.yaml: expected a readable YAML file: No such file or directory"),
        (["run", "my.yaml", "--set", "search.generation=5"], "did you mean search.generations?"),
        (["run", "my.yaml", "--set", "supernet.epochs=many"], 'supernet.epochs: expected an integer >= 0, got "many"'),
        (["retrain", "my.yaml", "--run-dir", "r"], "first run: scarlet train-supernet my.yaml --run-dir r"),
        (["run", "my.yaml", "--set", "search.upper_bounds.multiply_adds=1k"], "reaches multiply_adds from 0.0"),
        (["verify", "none.tflite"], "none.tflite: expected a .tflite file or a SavedModel folder, found nothing"),
    ],
)
def test_bad_input_exits_with_2_and_no_traceback(config, arguments, message, capsys):
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("scarlet: error: ")
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_failure_exits_with_1_and_leaves_its_traceback_in_the_log(config, fake_pipeline, capsys):
    fake_pipeline["error"] = RuntimeError("the machine is on fire\nand more")
    assert cli.main(["run", config]) == 1
    expected = "scarlet: failed: RuntimeError: the machine is on fire; the traceback is in runs/my/run.log\n"
    assert capsys.readouterr().err == expected
    log = pathlib.Path("runs/my/run.log").read_text()
    assert "Traceback (most recent call last)" in log
    assert "the machine is on fire" in log


def test_bad_input_in_a_stage_is_in_the_log_without_a_traceback(config, fake_pipeline, capsys):
    fake_pipeline["error"] = InputError("data.directory: empty")
    assert cli.main(["run", config]) == 2
    log = pathlib.Path("runs/my/run.log").read_text()
    assert "data.directory: empty" in log
    assert "Traceback" not in log


def test_interruption_exits_with_130_and_says_how_to_resume(config, fake_pipeline, capsys):
    fake_pipeline["error"] = KeyboardInterrupt()
    assert cli.main(["run", config, "--run-dir", "my runs/1"]) == 130
    expected = "scarlet: interrupted; the same command resumes: scarlet run my.yaml --run-dir 'my runs/1'\n"
    assert capsys.readouterr().err == expected


def test_log_is_appended_to(config, fake_pipeline):
    for _ in range(2):
        assert cli.main(["run", config, "--json"]) == 0
    assert pathlib.Path("runs/my/run.log").read_text().count("chatter of a library") == 2


def test_log_that_cannot_be_written_is_bad_input(config, fake_pipeline, capsys):
    pathlib.Path("runs").write_text("a file, not a folder")
    assert cli.main(["run", config]) == 2
    assert "could not be opened for the log" in capsys.readouterr().err


def test_latency_commands_name_what_is_wrong_and_predict(config, capsys, tmp_path):
    from scarlet_tf.space.metric_table import MetricTable, parts
    from scarlet_tf.space.search_space import SearchSpace

    assert cli.main(["latency", "build", "--config", config, "--out", "."]) == 2
    assert "expected the name of a file for the table, got a folder" in capsys.readouterr().err
    predict = ["latency", "predict", "0,1", "--config", config, "--table", "t.json"]
    assert cli.main(predict) == 2
    assert "t.json: could not be read" in capsys.readouterr().err
    space = SearchSpace.from_dict(yaml.safe_load(CONFIG)["space"])
    entries = {key: [0.5] for key, _, _ in parts(space, 8, 10)}
    MetricTable(space, 8, 10, ["latency_ms"], entries, {"cpu": "one"}).save("t.json")
    assert cli.main([*predict, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    # Stem, one block, a skip that keeps every second pixel, and the tail.
    assert figures["latency_ms"] == 2.0 and figures["device"] == {"cpu": "one"}


def test_latency_predict_knows_the_published_networks_and_the_tables_error(capsys, tmp_path):
    from scarlet_tf.space.metric_table import MetricTable, parts
    from scarlet_tf.space.search_space import SearchSpace

    space, path = SearchSpace.from_name("s2"), str(tmp_path / "s2.yaml")
    entries = {key: [0.5] for key, _, _ in parts(space, 224, 1000)}
    details = {"calibration": {"networks": [{}, {}], "left_out": {"median_absolute_error": 0.02, "spearman": 1.0}}}
    MetricTable(space, 224, 1000, ["latency_ms"], entries, details=details).save(path)
    assert cli.main(["latency", "predict", "scarlet_a", "--table", path, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    # Stem, tail and 19 layers, none of which is a skip.
    assert figures["latency_ms"] == 10.5 and figures["multiply_adds"] == 365_307_392
    assert figures["error"] == {"median_absolute_error": 0.02, "spearman": 1.0, "networks": 2}
    assert cli.main(["latency", "predict", "scarlet_a", "--space", "s1", "--table", path]) == 2
    assert "--space: scarlet_a belongs to space 's2', got 's1'" in capsys.readouterr().err
    assert cli.main(["latency", "predict", "scarlet_a", "--table", path]) == 0
    assert "error: median_absolute_error 0.02" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["run", "search", "export"])
def test_a_phone_is_handed_on(command, config, fake_pipeline):
    line = [command, config, "--run-dir", "r", "--json"]
    assert cli.main(line) == 0 and fake_pipeline["adb"] is None
    assert cli.main([*line, "--adb", "--benchmark-model", "b"]) == 0
    assert fake_pipeline["adb"] == {"serial": None, "benchmark_model": "b"}
    assert cli.main([*line, "--adb", "PHONE1"]) == 0 and fake_pipeline["adb"]["serial"] == "PHONE1"


def test_latency_build_on_a_phone_says_what_is_missing(config, capsys, tmp_path, monkeypatch):
    build = ["latency", "build", "--config", config, "--out", str(tmp_path / "t.json")]
    assert cli.main([*build, "--benchmark-model", "b"]) == 2
    assert "--benchmark-model: expected --adb with it" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main([*build, "--adb"]) == 2
    assert "expected adb, of Android's platform-tools, on the PATH" in capsys.readouterr().err


# -- the processor ---------------------------------------------------------------------------------------------


def run_in_a_process(config, monkeypatch, **environment):
    """Exit code and stderr of `scarlet run`, with its data out of reach."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    script = "import sys; from scarlet_tf import cli; sys.exit(cli.main())"
    command = [
        sys.executable,
        "-c",
        script,
        "run",
        config,
        "--set",
        "data.directory=none",
        "--set",
        "data.source=folder",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TF_ENABLE_ONEDNN_OPTS": "true"}, "TF_ENABLE_ONEDNN_OPTS: expected 0 or 1, or unset it, got 'true'"),
        ({"SCARLET_KERNELS": "mkl"}, "SCARLET_KERNELS: expected auto or one of onednn, eigen, plain, got 'mkl'"),
        (
            {"SCARLET_KERNELS": "onednn", "TF_ENABLE_ONEDNN_OPTS": "0"},
            "SCARLET_KERNELS: expected auto or one of eigen, plain here, got 'onednn': TensorFlow runs without oneDNN here"
            " (TF_ENABLE_ONEDNN_OPTS=1 before its import may turn it on)",
        ),
    ],
)
def test_kernels_that_cannot_be_had_are_said_before_data_are_read(config, monkeypatch, environment, message):
    code, err = run_in_a_process(config, monkeypatch, **environment)
    assert (code, err) == (2, f"scarlet: error: {message}\n")
    assert not pathlib.Path("runs").exists()


def test_the_log_of_a_run_begins_with_who_decided_on_onednn(config, fake_pipeline, monkeypatch, capsys):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    for name in (host.ALLOCATOR, host.SET_BY_US):
        monkeypatch.delenv(name, raising=False)
    assert cli.main(["run", config, "--json"]) == 0
    first, *_ = pathlib.Path("runs/my/run.log").read_text().splitlines()
    assert first.endswith(" INFO scarlet_tf: oneDNN: on, set by you (TF_ENABLE_ONEDNN_OPTS=1)")
    assert "oneDNN" not in "".join(capsys.readouterr())
