"""Every code block of the documentation runs, or is listed in doc_exemptions.py with the reason and a check."""

import glob
import json
import re
import shlex
import shutil

import pytest
from doc_blocks import LANGUAGES, ROOT, blocks_of, commands_in, commands_of, documents, with_blocks
from doc_exemptions import EXEMPTIONS, TRAINS, exemption_of
from doc_workspace import make_workspace, names

from scarlet_tf import cli
from scarlet_tf.config import parse_config
from scarlet_tf.config.yaml_reader import parse_yaml
from scarlet_tf.foreign.files import network_from_file
from scarlet_tf.space import SearchSpace


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("documentation"))


@pytest.fixture
def workspace(finished, tmp_path, monkeypatch):
    """A copy of the finished one for each document, as working directory; networks added to the zoo stay in it."""
    folder = shutil.copytree(finished, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SCARLET_ZOO_DIR", str(folder / "zoo"))
    return folder


@pytest.mark.parametrize("document", documents())
def test_every_block_names_its_language(document):
    assert [str(block) for block in blocks_of(document) if block.language not in LANGUAGES] == []


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


@pytest.mark.parametrize("document", with_blocks("python", "sh"))
def test_python_and_commands_run_from_top_to_bottom(document, workspace):
    namespace = names(document)
    for block in blocks_of(document, "python", "sh", "yaml"):
        if block.language == "python":
            code = compile("\n" * (block.line - 1) + block.text, block.document, "exec")
            exec(code, namespace)
        elif block.language == "sh":
            for command in commands_in(block.text):
                run_or_check(command, block)
        elif block.title and not (workspace / block.title).exists():
            (workspace / block.title).write_text(block.text)


def run_or_check(command, block):
    exemption = exemption_of(command)
    if exemption:
        exemption.check(command)
    else:
        assert command.startswith("scarlet "), f"{block}: {command!r} is neither scarlet's nor exempted"
        run(command)


@pytest.mark.slow
@pytest.mark.parametrize("document", with_blocks("sh"))
def test_commands_that_train_run(document, workspace):
    for command in commands_of(document):
        exemption = exemption_of(command)
        if exemption and exemption.reason == TRAINS:
            run(command)


def run(command):
    words = [name for word in shlex.split(command)[1:] for name in sorted(glob.glob(word)) or [word]]
    assert cli.main(words) == 0, command


def test_javascript_imports_what_is_there():
    for document in with_blocks("javascript"):
        for block in blocks_of(document, "javascript"):
            for names_, module in re.findall(r'import \{(.*?)\} from "\./(.*?)"', block.text):
                source = (ROOT / "export/browser/src" / module).read_text()
                assert all(re.search(rf"export .*\b{name.strip()}\b", source) for name in names_.split(",")), block


def test_no_exemption_is_stale():
    used = {exemption_of(command) for document in documents() for command in commands_of(document)}
    assert [one.prefix for one in EXEMPTIONS if one not in used] == []
