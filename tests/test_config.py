import dataclasses
import json
import pathlib
import typing

import jsonschema
import pytest
import yaml

from scarlet_tf.assessment.config import RankingConfig
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.settings import Count, validated
from scarlet_tf.base.yaml_files import read_yaml
from scarlet_tf.config import (
    ExportConfig,
    claim_run_dir,
    differing_keys,
    finetune_config,
    json_schema,
    load_config,
    parse_config,
    schema,
)
from scarlet_tf.config.reading import override
from scarlet_tf.optimization.config import OptimizationConfig
from scarlet_tf.parents.config import ParentConfig
from scarlet_tf.race.config import RaceConfig
from scarlet_tf.space.search_space import SearchSpace
from write_files import SCHEMA

CONFIGS = sorted(pathlib.Path(__file__).parents[1].glob("configs/*.yaml"))


@validated("supernet.optimizer")
@dataclasses.dataclass(frozen=True)
class Optimizer:
    name: typing.Literal["sgd", "rmsprop"] = "sgd"
    rate: float = 0.1


@validated("data")
@dataclasses.dataclass(frozen=True)
class Data:
    dataset: str
    image_size: int = 16
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    seed: int | None = None


@validated("supernet")
@dataclasses.dataclass(frozen=True)
class Training:
    epochs: Count = 1
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    augment: bool = True


@validated("search")
@dataclasses.dataclass(frozen=True)
class Search:
    upper_bounds: dict[str, float] = dataclasses.field(default_factory=dict)
    generations: int = 10
    seed: int = 0


@pytest.fixture(autouse=True)
def few_sections(request, monkeypatch):
    """Small stand-ins for the library's sections, so that these tests need no TensorFlow."""
    if "real_sections" in request.keywords:
        return
    stand_ins = {"data": Data, "supernet": Training, "search": Search, "retrain": Training, "export": ExportConfig}
    stand_ins |= {
        "parent": ParentConfig,
        "finetune": Training,
        "race": RaceConfig,
        "ranking": RankingConfig,
        "optimization": OptimizationConfig,
    }
    monkeypatch.setattr(schema, "section_types", lambda: stand_ins)


def values(**changes):
    return {"data": {"dataset": "digits"}, "space": "s1"} | changes


def mistakes(**changes) -> str:
    with pytest.raises(InputError) as caught:
        parse_config(values(**changes), "my.yaml")
    return str(caught.value)


def write(folder, text: str) -> pathlib.Path:
    path = folder / "my.yaml"
    path.write_text("data: {dataset: digits}\nspace: s1\n" + text)
    return path


def test_defaults_fill_what_is_not_given():
    config = parse_config(values())
    assert (config.seed, config.supernet.epochs, config.export) == (0, 1, ExportConfig())


def test_space_is_counted_at_the_size_of_the_images():
    assert parse_config(values()).space == SearchSpace.from_name("s1", input_size=16)
    own = SearchSpace.from_name("s1").to_dict() | {"name": "own"}
    assert mistakes(space=own) == "my.yaml: space.input_size: expected 16, which is data.image_size, got 224"


def test_mistakes_of_a_space_stand_beside_those_of_the_sections():
    own = SearchSpace.from_name("s1").to_dict() | {"name": "own", "stages": [{"channels": 8}], "stem_stride": 3}
    assert mistakes(space=own, seed=-1).split("\n  ") == [
        "my.yaml:",
        "seed: expected an integer >= 0, got -1",
        "space.stages[0].depth: missing",
        "space.stem_stride: expected an integer from 1 to 2, got 3",
    ]


def test_space_may_be_a_file_beside_the_config(tmp_path):
    own = SearchSpace.from_name("s1").to_dict() | {"name": "own", "stem_stride": 1}
    del own["input_size"]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    config = parse_config(values(space="own.yaml"), folder=tmp_path)
    assert (config.space.name, config.space.input_size) == ("own", 16)
    assert parse_config(config.to_dict()) == config


def test_the_seed_of_the_run_is_that_of_its_sections_but_data_may_have_its_own():
    config = parse_config(values(seed=7, data={"dataset": "digits", "seed": 3}))
    assert (config.seed, config.data.seed, config.search.seed) == (7, 3, 7)
    assert parse_config(values(seed=7)).data.seed == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"serch": {}}, "serch: unknown key; did you mean search?"),
        ({"search": {"generation": 1}}, "search.generation: unknown key; did you mean search.generations?"),
        ({"search": {"epochs": 1}}, "search.epochs: unknown key; did you mean supernet.epochs or retrain.epochs"),
        ({"search": {"zzz": 1}}, "search.zzz: unknown key; expected one of generations, upper_bounds"),
        (
            {"retrain": {"optimizer": {"rte": 1}}},
            "retrain.optimizer.rte: unknown key; did you mean retrain.optimizer.rate?",
        ),
        ({"search": {"generations": "5"}}, 'search.generations: expected an integer, got "5"'),
        ({"search": {"generations": 2.5}}, "search.generations: expected an integer, got 2.5"),
        ({"search": {"generations": True}}, "search.generations: expected an integer, got true"),
        (
            {"search": {"upper_bounds": {"multiply_adds": "big"}}},
            'search.upper_bounds.multiply_adds: expected a number, got "big"',
        ),
        ({"search": 3}, "search: expected a mapping, got 3"),
        ({"supernet": {"augment": 1}}, "supernet.augment: expected true or false, got 1"),
        ({"supernet": {"epochs": 0}}, "supernet.epochs: expected an integer >= 1, got 0"),
        (
            {"supernet": {"optimizer": {"name": "adam"}}},
            'supernet.optimizer.name: expected one of sgd, rmsprop, got "adam"',
        ),
        ({"data": {}}, "data.dataset: missing"),
        ({"data": {"dataset": 3}}, "data.dataset: expected a string, got 3"),
        ({"data": {"dataset": "x", "mean": 1}}, "data.mean: expected a list, got 1"),
        ({"data": {"dataset": "x", "mean": [1, "2"]}}, 'data.mean[1]: expected a number, got "2"'),
        ({"space": None}, "space: missing"),
        ({"space": "s3"}, "space: expected one of ['s1', 's2'] or a mapping, got 's3'"),
        ({"seed": -1}, "seed: expected an integer >= 0, got -1"),
        ({"csv": 1}, "csv: expected true or false, got 1"),
        (
            {"search": {"seed": 3}},
            "search.seed: unknown key; seed is set once for the whole run, at the top of the file",
        ),
        ({"seed": "x"}, 'seed: expected an integer >= 0, got "x"'),
        ({"name": ""}, 'name: expected a non-empty string, got ""'),
        (
            {"export": {"formats": ["int4"]}},
            'export.formats[0]: expected one of float32, float16, dynamic, int8, full_int8, got "int4"',
        ),
        ({"export": {"formats": []}}, "export.formats: expected a list of at least 1, got []"),
        ({"export": {"calibration_examples": 0}}, "export.calibration_examples: expected an integer >= 1, got 0"),
    ],
)
def test_mistake_is_answered_with_its_key(changes, message):
    answer = mistakes(**changes)
    assert answer.startswith(f"my.yaml: {message}")
    assert "\n" not in answer


def test_all_mistakes_are_listed_at_once():
    lines = mistakes(serch={}, search={"generations": "x", "sed": 1}, data={"image_size": 8}).splitlines()
    assert lines[0] == "my.yaml:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "serch",
        "data.dataset",
        "search.generations",
        "search.sed",
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [("5e6", 5e6), ("500e6", 500e6), ("60M", 60e6), ("'60M'", 60e6), ("1.5G", 1.5e9), ("3", 3.0), ("1_000", 1000.0)],
)
def test_budget_may_be_written_as_people_write_it(tmp_path, text, value):
    config = load_config(write(tmp_path, f"search: {{upper_bounds: {{multiply_adds: {text}}}}}\n"))
    assert config.search.upper_bounds == {"multiply_adds": value}


def test_whole_number_in_exponent_form_is_an_integer(tmp_path):
    config = load_config(write(tmp_path, "search: {generations: 1e2}\n"))
    assert (config.search.generations, type(config.search.generations)) == (100, int)


def test_yaml_keeps_words_and_dates_as_strings(tmp_path):
    for text in ("no", "on", "2024-01-01", "010"):
        config = tmp_path / "c.yaml"
        config.write_text(f"space: s1\ndata: {{dataset: {text}}}\n")
        if text == "010":
            with pytest.raises(InputError, match="expected a string, got 10"):
                load_config(config)
        else:
            assert load_config(config).data.dataset == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: [", "expected YAML"),
        ("- 1", "expected a mapping of data, parent, space"),
        ("", "expected a mapping of data, parent, space"),
        ("seed: 1\nseed: 2\n", "key 'seed' is given twice"),
        ("seed: !!python/object/apply:os.getcwd []\n", "expected YAML"),
        ("[1]: 2\n", "expected YAML"),
    ],
)
def test_bad_yaml_is_refused_with_the_file(tmp_path, content, message):
    path = tmp_path / "my.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=f"my.yaml: .*{message}"):
        load_config(path)


def test_missing_and_undecodable_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.yaml: expected a readable YAML file: No such file"):
        load_config(tmp_path / "nowhere.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match=r"binary.yaml: expected a YAML file in UTF-8"):
        load_config(tmp_path / "binary.yaml")


def test_name_is_the_files_unless_given(tmp_path):
    assert load_config(write(tmp_path, "")).name == "my"
    assert load_config(write(tmp_path, "name: other\n")).name == "other"


def test_overrides_reach_nested_and_new_keys(tmp_path):
    overrides = ["search.generations=5", "retrain.optimizer.rate=1e-3", "space=s2", "data.mean=[0, 0, 0]"]
    config = load_config(write(tmp_path, "search: {generations: 9}\n"), overrides)
    assert (config.search.generations, config.retrain.optimizer.rate) == (5, 1e-3)
    assert (config.space.name, config.data.mean) == ("s2", (0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search.generations", "--set search.generations: expected key=value"),
        ("=5", "--set =5: expected key=value"),
        ("search..x=5", "expected key=value"),
        ("search.generation=5", "search.generation: unknown key; did you mean search.generations?"),
        ("search.generations=many", 'search.generations: expected an integer, got "many"'),
        ("space.name=x", 'space is no section, it has the value "s1"'),
        ("seed=[", "--set seed=[: expected YAML"),
    ],
)
def test_bad_override_is_refused(tmp_path, override, message):
    with pytest.raises(InputError) as caught:
        load_config(write(tmp_path, ""), [override])
    assert message in str(caught.value)


def test_resolved_config_reads_back_equal(tmp_path):
    config = parse_config(values(seed=3, data={"dataset": "digits", "mean": [0.1, 0.2, 0.3]}))
    claim_run_dir(tmp_path, config)
    assert load_config(tmp_path / "config.yaml") == config
    claim_run_dir(tmp_path, config)


@pytest.mark.parametrize(
    "name", ["0908", "1e3", "12e03", "0x1F", "yes", "null", "<<", "a: b", "\x1b[31m", "é→\u2028🙂", " "]
)
def test_a_run_of_any_name_is_resumable(tmp_path, name):
    config = parse_config(values(name=name, data={"dataset": name}))
    claim_run_dir(tmp_path, config)
    assert load_config(tmp_path / "config.yaml") == config
    claim_run_dir(tmp_path, config)


def test_an_override_follows_the_rules_of_a_file(tmp_path):
    path = write(tmp_path, "")
    assert load_config(path, ["name='0908'", "retrain.optimizer.rate=4e-5"]).retrain.optimizer.rate == 4e-5
    assert load_config(path, ["name=yes"]).name == "yes"
    with pytest.raises(InputError, match="name: expected a non-empty string, got 908"):
        load_config(path, ["name=0908"])
    with pytest.raises(InputError, match=r"^--set data=\{a: 1, a: 2\}: expected YAML: key 'a' is given twice"):
        load_config(path, ["data={a: 1, a: 2}"])


@pytest.mark.real_sections
@pytest.mark.parametrize("name", ["0908", "é🙂 → #1", "a: b, [c]"])
def test_options_of_a_fine_tuning_keep_their_text(name):
    assert finetune_config("scarlet_a", {"data.directory": name}).data.directory == name


def test_a_file_that_is_no_configuration_is_named(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / "config.yaml").write_text("")
    with pytest.raises(
        InputError, match=r"run: expected a readable YAML file: Is a directory; the run's configuration is"
    ):
        load_config(path)
    with pytest.raises(InputError, match="expected a readable YAML file: File name too long"):
        load_config(tmp_path / ("a" * 300))
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfdata: {dataset: digits}\nspace: s1\n")
    assert load_config(tmp_path / "bom.yaml").name == "bom"


def test_run_folder_of_another_config_is_refused_with_both_values(tmp_path):
    claim_run_dir(tmp_path, parse_config(values()))
    before = (tmp_path / "config.yaml").read_text()
    with pytest.raises(InputError) as caught:
        claim_run_dir(tmp_path, parse_config(values(space="s2", search={"generations": 20})))
    text = str(caught.value)
    assert 'space: "s1" in the folder, "s2" now' in text
    assert "search.generations: 10 in the folder, 20 now" in text
    assert (tmp_path / "config.yaml").read_text() == before


def test_run_folder_of_another_user_space_names_the_field(tmp_path):
    space = SearchSpace.from_name("s1").to_dict() | {"name": "own", "input_size": 16}
    claim_run_dir(tmp_path, parse_config(values(space=space)))
    with pytest.raises(InputError, match=r"space.stem_stride: 2 in the folder, 1 now"):
        claim_run_dir(tmp_path, parse_config(values(space=space | {"stem_stride": 1})))


def test_keys_may_be_allowed_to_differ(tmp_path):
    claim_run_dir(tmp_path, parse_config(values()))
    claim_run_dir(
        tmp_path,
        parse_config(values(seed=1)),
        frozenset({"seed", "data.seed"}),
    )


@pytest.mark.real_sections
def test_keys_that_change_no_result_may_differ(tmp_path):
    """Lanes that ran out of memory may go on as sequential; another learning rate would be another experiment."""

    def config(**supernet):
        return parse_config({"data": {"source": "digits"}, "space": "s1", "supernet": supernet})

    claim_run_dir(tmp_path, config(execution="lanes"))
    claim_run_dir(tmp_path, config(execution="sequential"))
    often = {"data": {"source": "digits"}, "space": "s1", "checkpoint_seconds": 5, "csv": True, "tensorboard": True}
    claim_run_dir(tmp_path, parse_config(often))
    stale = {"data": {"source": "digits"}, "space": "s1", "search": {"stale_trial_minutes": 30}}
    claim_run_dir(tmp_path, parse_config(stale))
    with pytest.raises(InputError, match=r"supernet.learning_rate: 0.045 in the folder, 0.5 now"):
        claim_run_dir(tmp_path, config(execution="lanes", learning_rate=0.5))


@pytest.mark.real_sections
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{se_ratio: -0.1}", "retrain.se_ratio: expected a number from 0 to 1, got -0.1"),
        ("{se_ratio: .nan}", "retrain.se_ratio: expected a number from 0 to 1, got nan"),
        ("{width_multiplier: 0}", "retrain.width_multiplier: expected a number > 0, got 0"),
        ("{width_multiplier: .inf}", "retrain.width_multiplier: expected a number > 0, got inf"),
        ("{depth_multiplier: 0}", "retrain.depth_multiplier: expected a number > 0, got 0"),
        ("{width_multiplier: wide}", 'retrain.width_multiplier: expected a number > 0, got "wide"'),
        (
            "{init: supernet, width_multiplier: 1.4}",
            "retrain.width_multiplier: expected 1 with retrain.init: supernet, whose weights fit the network as it was"
            " searched, got 1.4; use init: scratch",
        ),
    ],
)
def test_bad_scaling_of_the_retrained_network_is_refused(tmp_path, text, message):
    path = tmp_path / "my.yaml"
    path.write_text(f"data: {{source: digits}}\nspace: s1\nretrain: {text}\n")
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path}: {message}"


@pytest.mark.real_sections
def test_a_run_can_be_ranked_with_other_settings(tmp_path):
    """Nothing in the run depends on them, and a ranking keeps its results by settings."""
    values = {"data": {"source": "digits"}, "space": "s1"}
    claim_run_dir(tmp_path, parse_config(values))
    claim_run_dir(tmp_path, parse_config({**values, "ranking": {"architectures": 50, "epochs": 3}}))


def test_differing_keys_are_dotted():
    assert differing_keys({"a": {"b": 1, "c": 2}, "d": 1}, {"a": {"b": 1, "c": 3}}) == {"a.c": (2, 3), "d": (1, None)}


@pytest.mark.real_sections
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_is_valid_and_opens_as_a_document(path):
    config = load_config(path)
    assert parse_config(config.to_dict()) == config
    header = path.read_text().partition("\n\n")[0]
    for word in ("Purpose:", "Command:", "Hardware:", "Time:", "Result:", "Reproduced:"):
        assert f"# {word}" in header
    assert f"scarlet run configs/{path.name}" in header


@pytest.fixture(scope="module")
def validator():
    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))


@pytest.mark.real_sections
def test_the_schema_for_editors_is_up_to_date_and_valid(validator):
    """`python tools/write_files.py schema` writes it."""
    assert json.loads(SCHEMA.read_text()) == json.loads(json.dumps(json_schema()))
    validator.check_schema(validator.schema)


@pytest.mark.real_sections
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_editors_find_no_mistake_in_shipped_configurations(path, validator):
    assert path.read_text().startswith(f"# yaml-language-server: $schema={SCHEMA.name}\n")
    assert [error.message for error in validator.iter_errors(read_yaml(path))] == []
    resolved = json.loads(json.dumps(load_config(path).to_dict()))
    assert [error.message for error in validator.iter_errors(resolved)] == []


SPACE = {
    "name": "own",
    "stages": [{"channels": 8, "depth": 1}, {"channels": 16, "depth": 2, "stride": 2}],
    "choices": [{"expansion": 3, "kernel_size": 3, "use_se": True}, {"expansion": 1, "kernel_size": 5}, {"skip": True}],
    "input_size": 32,
}


@pytest.mark.real_sections
@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({"search": {"upper_bounds": {"multiply_adds": "60M", "params": "5.5 k"}}}, True),
        ({"optimization": {"pruning": True}}, True),
        ({"optimization": {"pruning": {"sparsity": 0.75}}, "retrain": {"recipe": None}, "search": None}, True),
        ({"search": {"upper_bounds": {"multiply_adds": "big"}}}, False),
        ({"supernet": {"epochs": -1}}, False),
        ({"supernet": {"schedule": "linear"}}, False),
        ({"supernet": {"seed": 1}}, False),
        ({"retrain": {"recipe": "ancient"}}, False),
        ({"optimization": {"pruning": {"sparsity": 1}}}, False),
        ({"serch": {}}, False),
        ({"space": SPACE}, True),
        ({"space": SPACE | {"choices": "s2", "head_channels": None, "conventions": {"padding": "same"}}}, True),
        ({"space": SPACE | {"choices": "s3"}}, False),
        ({"space": SPACE | {"choices": []}}, False),
        ({"space": SPACE | {"choices": [{"expansion": 0.5, "kernel_size": 3}]}}, False),
        ({"space": SPACE | {"choices": [{"expansion": 3, "share": 1, "kernel_size": 3}]}}, False),
        ({"space": SPACE | {"choices": [{"skip": True, "kernel_size": 3}]}}, False),
        ({"space": SPACE | {"choices": [{"kernel_size": 3}]}}, False),
        ({"space": SPACE | {"stages": [{"channels": 8, "depth": 1, "stride": 3}]}}, False),
        ({"space": SPACE | {"stages": [{"channels": 8}]}}, False),
        ({"space": SPACE | {"stem_chanels": 8}}, False),
        ({"space": {key: SPACE[key] for key in ("name", "stages")}}, False),
    ],
)
def test_editors_find_what_a_run_finds(validator, changes, fits):
    values = {"data": {"source": "digits"}, "space": "s1", **changes}
    assert validator.is_valid(values) == fits
    if fits:
        parse_config(values)
    else:
        with pytest.raises(InputError):
            parse_config(values)


@pytest.mark.real_sections
@pytest.mark.parametrize(
    ("section", "key", "hint"),
    [
        ("supernet", "csv", "csv is set once for the whole run, at the top of the file or by --set csv=..."),
        ("finetune", "checkpoint_seconds", "checkpoint_seconds is set once for the whole run, at the top"),
        ("ranking", "seed", "seed is set once for the whole run"),
        ("search", "evaluation_group", "SearchConfig(evaluation_group=...) sets it in Python"),
        ("data", "shuffle_buffer", "DataConfig(shuffle_buffer=...) sets it in Python"),
        ("search.betanas", "cost_reference", "BetaNASConfig(cost_reference=...) sets it in Python"),
        ("search", "max_multiply_adds", "it is search.upper_bounds.multiply_adds now"),
        ("search.mutation", "ppo", "MutationConfig(ppo=...) sets it in Python"),
        ("optimization.pruning", "ramp", "PruningConfig(ramp=...) sets it in Python"),
    ],
)
def test_keys_that_configurations_lost_say_where_they_are_set(section, key, hint):
    values = {"data": {"source": "digits"}, "space": "s1"}
    override(values, f"{section}.{key}=1")
    with pytest.raises(InputError) as caught:
        parse_config(values, "my.yaml")
    assert str(caught.value).startswith(f"my.yaml: {section}.{key}: unknown key; {hint}")
    assert key not in json.dumps(
        parse_config({"data": {"source": "digits"}, "space": "s1"}).to_dict()[section.split(".")[0]]
    )


@pytest.mark.real_sections
def test_a_run_folder_of_an_earlier_version_may_have_the_defaults_of_lost_keys():
    values = {"data": {"source": "digits"}, "space": "s1"}
    older = {**values, "retrain": {"teacher_temperature": 1.0, "epochs": 3}}
    older["search"] = {"betanas": {"cost_reference": None, "drop_checks": 5}}
    config = parse_config(older)
    assert (config.retrain.epochs, config.search.betanas.drop_checks) == (3, 5)
    older["retrain"]["teacher_temperature"] = 9
    with pytest.raises(InputError, match=r"retrain.teacher_temperature: unknown key; RetrainConfig\("):
        parse_config(older)


@pytest.mark.real_sections
def test_every_training_gets_what_is_set_for_the_run():
    values = {"data": {"source": "digits"}, "space": "s1", "seed": 5, "csv": True, "checkpoint_seconds": 7}
    config = parse_config(values)
    for section in (config, config.supernet, config.retrain, config.finetune):
        assert (section.seed, section.csv, section.tensorboard, section.checkpoint_seconds) == (5, True, False, 7)
    assert {config.data.seed, config.search.seed, config.optimization.seed, config.ranking.seed} == {5}
    assert parse_config(config.to_dict()) == config


@pytest.mark.real_sections
def test_quantities_in_bounds_and_picks_and_a_table_beside_the_configuration(tmp_path):
    search = {
        "weights": {"accuracy": 1, "params": 0.5},
        "upper_bounds": {"params": "5M"},
        "picks": {"small": {"multiply_adds": "4M"}, "mine": "0,1"},
        "table": "phone.json",
    }
    config = parse_config(
        {"data": {"source": "digits", "image_size": 8}, "space": "s1", "search": search}, folder=tmp_path
    )
    assert config.search.upper_bounds == {"params": 5e6}
    assert config.search.picks == {"small": {"multiply_adds": 4e6}, "mine": "0,1"}
    assert config.search.table == str(tmp_path / "phone.json")
    assert parse_config(config.to_dict(), folder="elsewhere").search == config.search


@pytest.mark.real_sections
def test_a_mistake_inside_a_pick_is_one_line_that_names_it():
    search = {"picks": {"small": {"multiply_adds": "big"}}}
    with pytest.raises(InputError) as caught:
        parse_config({"data": {"source": "digits", "image_size": 8}, "space": "s1", "search": search})
    assert str(caught.value) == 'config: search.picks.small.multiply_adds: expected a number, got "big"'


@pytest.mark.parametrize("word", ["off", "on", False, True, None])
def test_a_word_leaves_the_race_out(word):
    config = parse_config(values(race=word))
    assert config.race.is_wanted == (word not in ("off", False))
    assert parse_config(config.to_dict()).race == config.race


@pytest.mark.parametrize(
    ("race", "message"),
    [
        ("of", 'race: expected a mapping, on or off, got "of"'),
        ({"rungs": [0.5, 0.25, 1]}, "race.rungs: expected rising shares that end with 1, got [0.5, 0.25, 1.0]"),
        ({"rungs": [0.25, 0.5]}, "race.rungs: expected rising shares that end with 1, got [0.25, 0.5]"),
        ({"rungs": []}, "race.rungs: expected"),
        ({"rivals": ["uniform", "best"]}, "race.rivals"),
        ({"rivals": ["uniform", "uniform"]}, "race.rivals: expected no repeats"),
        ({"judge": "int4"}, "race.judge: expected"),
        ({"finalists": -1}, "race.finalists: expected an integer >= 0, got -1"),
        ({"max_hours": 0}, "race.max_hours: expected a number > 0 or null, got 0"),
    ],
)
def test_mistakes_about_the_race_name_their_keys(race, message):
    assert message in mistakes(race=race)
