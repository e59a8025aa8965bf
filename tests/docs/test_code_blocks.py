"""Every code block of the documentation runs, or is listed in doc_exemptions.py with the reason and a check."""

import glob
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest
from doc_blocks import LANGUAGES, ROOT, blocks_of, commands_in, commands_of, documents, with_blocks
from doc_exemptions import EXEMPTIONS, HARMLESS, exemption_of, trains
from doc_workspace import make_workspace, names
from fake_adb import FakeAdb

from scarlet_tf import cli
from scarlet_tf.base.yaml_files import parse_yaml
from scarlet_tf.config import parse_config
from scarlet_tf.models.foreign.networks import network_from_file
from scarlet_tf.space.search_space import SearchSpace

# Documents that go through every stage in Python, or build published networks.
LARGE = ("docs/python.md", "docs/zoo.md", "docs/how-to/official-weights.md")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("documentation"))


@pytest.fixture
def workspace(finished, tmp_path, monkeypatch):
    """A copy of the finished one for each document, as working directory, with a phone; networks added to the zoo stay in it."""
    folder = shutil.copytree(finished, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SCARLET_ZOO_DIR", str(folder / "zoo"))
    monkeypatch.setenv("PATH", f"{FakeAdb(tmp_path / 'phone').folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.mark.parametrize("document", documents())
def test_every_block_names_its_language(document):
    assert [str(block) for block in blocks_of(document) if block.language not in LANGUAGES] == []


@pytest.mark.parametrize("document", with_blocks("text"))
def test_text_holds_no_commands(document):
    commands = re.compile(r"^\s*(scarlet (?!_)[a-z-]+ |python |make |cp |export [A-Z]|npm |docker )", re.MULTILINE)
    assert [str(block) for block in blocks_of(document, "text") if commands.search(block.text)] == []


@pytest.mark.parametrize("document", with_blocks("yaml", "json"))
def test_yaml_is_a_configuration_a_space_a_network_or_a_table(document, tmp_path):
    for block in blocks_of(document, "yaml", "json"):
        values = json.loads(block.text) if block.language == "json" else parse_yaml(block.text, str(block))
        check_values(values, block, tmp_path)


def check_values(values, block, folder):
    if "entries" in values:
        assert all(len(entry) == len(values["metrics"]) for entry in values["entries"].values()), block
    elif "calibration" in values:
        assert set(values) == {"measured", "calibration"}, block
    elif "stages" in values:
        SearchSpace.from_dict(values)
    elif "blocks" in values or isinstance(values.get("supernet"), str):
        (folder / "network.yaml").write_text(block.text)
        network_from_file(folder / "network.yaml")
    else:
        parse_config(merged(values), str(block), ROOT)


def merged(values):
    """The values over those of the digits recipe, section by section; another kind of dataset replaces that one's."""
    base = parse_yaml((ROOT / "configs/digits.yaml").read_text(), "digits")
    both = {key: {**base[key], **values[key]} for key in values if isinstance(values[key], dict) and key in base}
    return {**base, **values, **both}


@pytest.mark.parametrize(
    "document",
    [pytest.param(one, marks=pytest.mark.slow if one in LARGE else ()) for one in with_blocks("python", "sh")],
)
def test_python_and_commands_run_from_top_to_bottom(document, workspace):
    go_through(document, training=False)


@pytest.mark.slow
@pytest.mark.parametrize("document", [one for one in with_blocks("sh") if any(map(trains, commands_of(one)))])
def test_commands_that_train_run_in_their_place(document, workspace):
    go_through(document, training=True)


def go_through(document, training):
    namespace = names(document)
    for block in blocks_of(document, "python", "sh", "yaml"):
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.text, block.document, "exec"), namespace)
        elif block.language == "sh":
            for command in commands_in(block.text):
                run_or_check(command, block, training)
        elif block.title and not pathlib.Path(block.title).exists():
            pathlib.Path(block.title).write_text(block.text)


def run_or_check(command, block, training):
    exemption = exemption_of(command)
    if exemption and not (training and trains(command)):
        exemption.check(command)
    elif command.startswith(HARMLESS):
        subprocess.run(["bash", "-euc", command], check=True)
    else:
        assert command.startswith("scarlet "), f"{block}: {command!r} is neither scarlet's nor exempted"
        words = [name for word in shlex.split(command)[1:] for name in sorted(glob.glob(word)) or [word]]
        assert cli.main(words) == 0, f"{block}: {command}"


def test_javascript_imports_what_is_there():
    for document in with_blocks("javascript"):
        for block in blocks_of(document, "javascript"):
            for names_, module in re.findall(r'import \{(.*?)\} from "\./(.*?)"', block.text):
                source = (ROOT / "export/browser/src" / module).read_text()
                assert all(re.search(rf"export .*\b{name.strip()}\b", source) for name in names_.split(",")), block


def test_no_exemption_is_stale():
    used = {exemption_of(command) for document in documents() for command in commands_of(document)}
    assert [one.prefix for one in EXEMPTIONS if one not in used] == []
