import dataclasses
import json

import numpy as np
import pytest
import yaml

from scarlet_tf.base.errors import InputError
from scarlet_tf.space.choices import Choice, Stage
from scarlet_tf.space.search_space import Architecture, SearchSpace
from scarlet_tf.space.spec import Conventions

TINY = {
    "name": "tiny",
    "stages": [{"channels": 16, "depth": 1}, {"channels": 24, "depth": 2, "stride": 2}],
    "choices": [{"expansion": 3, "kernel_size": 3}, {"expansion": 6, "kernel_size": 5, "use_se": True}, {"skip": True}],
    "stem_stride": 1,
    "tail_channels": 64,
    "input_size": 16,
}


def test_published_spaces_have_the_papers_sizes():
    assert SearchSpace.from_name("s1").size == 7**19
    assert SearchSpace.from_name("s2").size == 13**19


def test_choice_order_is_the_papers():
    s1 = [choice.label for choice in SearchSpace.from_name("s1").choices]
    assert s1 == ["E3K3", "E3K5", "E3K7", "E6K3", "E6K5", "E6K7", "skip"]
    s2 = [choice.label for choice in SearchSpace.from_name("s2").choices]
    assert s2[:3] == ["E3K3", "E3K3+SE", "E3K5"]
    assert s2[6:8] == ["E6K3", "E6K3+SE"]
    assert s2[11:] == ["E6K7+SE", "skip"]


def test_layers_follow_the_papers_table():
    layers = SearchSpace.from_name("s2").layers
    assert [layer.out_channels for layer in layers] == [32] * 2 + [40] * 4 + [80] * 4 + [96] * 4 + [192] * 4 + [320]
    assert [layer.index for layer in layers if layer.stride == 2] == [0, 2, 6, 14]
    assert [layer.in_channels for layer in layers] == [16] + [layer.out_channels for layer in layers[:-1]]


def test_width_multiplier_rounds_to_eights_and_never_narrows_the_tail():
    space = SearchSpace.from_name("s2", width_multiplier=0.5)
    assert all(layer.out_channels % 8 == 0 for layer in space.layers)
    assert space.widths == (16, 8, 1280)
    assert SearchSpace.from_name("s2", width_multiplier=1.4).widths == (48, 24, 1792)


def test_sampling_is_uniform_valid_and_repeatable(rng):
    space = SearchSpace.from_dict(TINY)
    sampled = np.array([space.sample(rng).choices for _ in range(600)])
    for column in sampled.T:
        # 600 draws of 3: expected 200, standard deviation 11.5; five of these on either side.
        assert np.all(np.abs(np.bincount(column, minlength=3) - 200) < 58)
    assert space.sample(np.random.default_rng(0)) == space.sample(np.random.default_rng(0))


@pytest.mark.parametrize("name", ["s1", "s2"])
def test_architecture_round_trips_through_string_and_json(name, rng):
    space = SearchSpace.from_name(name)
    for _ in range(20):
        arch = space.sample(rng)
        assert Architecture.parse(arch.to_string(), space) == arch
        assert Architecture.parse(f"{name}:{arch.to_string()}", space) == arch
        document = json.loads(json.dumps(arch.to_dict()))
        assert document["space"] == name
        assert document["version"] == 1
        assert Architecture.from_dict(document) == arch


def test_architecture_accepts_spaces_around_numbers():
    space = SearchSpace.from_dict(TINY)
    assert Architecture.parse(" 0, 1 ,2 ", space).to_string() == "0,1,2"


def test_architecture_takes_numpy_integers_and_stores_plain_ones():
    arch = Architecture(tuple(np.array([0, 1, 2])), SearchSpace.from_dict(TINY))
    assert all(type(choice) is int for choice in arch.choices)
    assert hash(arch) == hash(Architecture((0, 1, 2), arch.space))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,1", "has 3 layers, got 2 choices"),
        ("0,1,2,0", "has 3 layers, got 4 choices"),
        ("0,1,3", "layer 2: expected a choice from 0 to 2, got 3"),
        ("0,-1,2", "layer 1: expected an integer, got '-1'"),
        ("0,1.0,2", "layer 1: expected an integer, got '1.0'"),
        ("0,,2", "layer 1: expected an integer, got ''"),
        ("", "layer 0: expected an integer"),
        ("s2:0,1,2", "belongs to space 's2', expected 'tiny'"),
    ],
)
def test_bad_architecture_string_is_refused_with_the_layer(text, message):
    with pytest.raises(InputError, match=message):
        Architecture.parse(text, SearchSpace.from_dict(TINY))


@pytest.mark.parametrize("choices", [(0, 1, 2.0), (0, True, 2), ("0", 1, 2)])
def test_architecture_refuses_what_is_not_an_integer(choices):
    with pytest.raises(InputError, match="expected an integer"):
        Architecture(choices, SearchSpace.from_dict(TINY))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "architecture.version: expected 1, got 2"),
        ({"space": "s1"}, "architecture.space: expected 'tiny', got 's1'"),
        ({"choices": "0,1,2"}, "architecture.choices: expected a list"),
        ({"extra": 1}, "architecture.extra: unknown key; expected one of"),
    ],
)
def test_bad_architecture_document_is_refused_with_the_key(change, message):
    space = SearchSpace.from_dict(TINY)
    document = Architecture((0, 1, 2), space).to_dict() | change
    with pytest.raises(InputError, match=message):
        Architecture.from_dict(document, space)


def test_architecture_document_of_an_unknown_space_needs_the_space():
    document = Architecture((0, 1, 2), SearchSpace.from_dict(TINY)).to_dict()
    with pytest.raises(InputError, match="expected one of"):
        Architecture.from_dict(document)


def test_space_round_trips_through_dict_and_yaml(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(TINY))
    space = SearchSpace.from_yaml(path)
    assert space == SearchSpace.from_dict(TINY) == SearchSpace.from_dict(json.loads(json.dumps(space.to_dict())))
    assert (space.num_layers, space.num_choices, space.size) == (3, 3, 27)


EXTENDED = {
    "stages": [{"channels": 16, "depth": 1, "activation": "relu"}, {"channels": 24, "depth": 2, "stride": 2}],
    "choices": [{"expansion": 1, "kernel_size": 3, "use_se": True}, {"expansion": 3.67, "kernel_size": 5}],
    "first_channels": None,
    "stem_activation": "silu",
    "tail_activation": "silu",
    "head_channels": 32,
    "head_bias": False,
    "squeeze_excite": {"ratio": 0.5, "source": "input", "divisor": 8, "activation": "silu", "gate": "sigmoid"},
    "conventions": {"padding": "same", "bn_epsilon": 1e-3, "bn_momentum": 0.99},
}


def test_blocks_of_other_families_by_hand():
    space = SearchSpace.from_dict(TINY | EXTENDED)
    assert SearchSpace.from_dict(json.loads(json.dumps(space.to_dict()))) == space
    assert [choice.label for choice in space.choices] == ["E1K3+SE", "E3.67K5"]
    spec = Architecture((0, 1, 0), space).lower()
    assert (spec.first_channels, spec.head_channels, spec.stem_activation) == (None, 32, "silu")
    first, second, third = spec.blocks
    assert (first.expand, first.hidden_channels, first.se_channels, first.activation) == (False, 32, 16, "relu")
    assert (first.se_gate, first.se_activation) == ("sigmoid", "silu")
    assert (second.expand, second.hidden_channels, second.se_channels) == (True, 56, 0)  # 58.7, to a multiple of 8
    assert second.activation == third.activation == space.activation
    assert third.se_channels == 16  # 12, to a multiple of 8
    assert type(spec).from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_later_fields_of_a_space_are_written_only_where_they_say_something():
    assert not SearchSpace.from_name("s2").to_dict().keys() & EXTENDED.keys() - {"stages", "choices", "first_channels"}


def test_choices_of_a_published_space_can_be_taken_by_name():
    space = SearchSpace.from_dict(TINY | {"choices": "s1"})
    assert space.choices == SearchSpace.from_name("s1").choices


def test_fingerprint_changes_with_every_field():
    space = SearchSpace.from_dict(TINY)
    others = [
        dataclasses.replace(space, stages=(Stage(16, 3),)),
        dataclasses.replace(space, choices=space.choices[:2]),
        dataclasses.replace(space, stem_channels=24),
        dataclasses.replace(space, activation="relu6"),
        dataclasses.replace(space, input_size=32),
    ]
    assert len({s.fingerprint for s in [space, *others]}) == 6
    assert SearchSpace.from_dict(TINY).fingerprint == space.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": []}, "space.stages: expected a list of at least 1, got"),
        ({"choices": []}, "space.choices: expected a list of at least 1 or one of s1, s2, got"),
        ({"choices": "s3"}, 'space.choices: expected a list of at least 1 or one of s1, s2, got "s3"'),
        ({"choices": [{"skip": True}, {"skip": True}]}, "space.choices: expected no repeats"),
        ({"choices": [{"skip": True, "expansion": 3}]}, r"space.choices\[0\]: expected .* or {skip: true}, got {.*3}"),
        ({"choices": [{"skip": False}]}, r"space.choices\[0\]: expected .* or {skip: true}, got {.*false}"),
        ({"choices": [{}]}, r"space.choices\[0\]: expected {expansion, kernel_size, use_se} or .* got {}"),
        ({"choices": [{"expansion": 3}]}, r"space.choices\[0\]: expected {expansion, kernel_size, use_se} or"),
        ({"choices": [{"kernel_size": 3, "share": 1.5}]}, r"space.choices\[0\].share: expected a number from 0 to 1"),
        ({"choices": [3]}, r"space.choices\[0\]: expected a mapping, got 3"),
        ({"choices": [{"expansion": 3, "kernel_size": 4}]}, "kernel_size: expected an odd integer >= 1, got 4"),
        (
            {"choices": [{"expansion": 3, "kernels": 3}]},
            r"kernels: unknown key; did you mean space.choices\[0\].kernel_size",
        ),
        ({"stages": [{"channels": 16, "depth": 0}]}, r"space.stages\[0\].depth: expected an integer >= 1, got 0"),
        ({"stages": [{"channels": 16}]}, r"space.stages\[0\].depth: missing"),
        (
            {"stages": [{"channels": 16, "depth": 1, "stride": 3}]},
            r"stages\[0\].stride: expected an integer from 1 to 2",
        ),
        (
            {"stages": [{"channels": 16, "depth": 2, "hidden_channels": [3]}]},
            r"space.stages\[0\].hidden_channels: expected 2 integers, one for each layer, got \[3\]",
        ),
        (
            {"stages": [{"channels": 16, "depth": 1, "use_se": True}]},
            r"space.stages\[0\]: expected hidden_channels with",
        ),
        ({"stages": 3}, "space.stages: expected a list"),
        ({"activation": "swish"}, "space.activation: expected one of"),
        ({"stem_stride": 4}, "space.stem_stride: expected an integer from 1 to 2, got 4"),
        ({"tail_channels": "64"}, "space.tail_channels: expected an integer"),
        ({"width_multiplier": 0}, "space.width_multiplier: expected a number > 0"),
        ({"width_multiplier": float("nan")}, "space.width_multiplier: expected a number > 0"),
        (
            {"choices": [{"expansion": 3, "kernel_size": 3, "use_se": "no"}]},
            r"choices\[0\].use_se: expected true or",
        ),
        ({"choices": [{"expansion": 0.5, "kernel_size": 3}]}, r"choices\[0\].expansion: expected 0 or a number >= 1"),
        (
            {"stages": [{"channels": 16, "depth": 1, "activation": "gelu"}]},
            r"space.stages\[0\].activation: expected one",
        ),
        ({"stem_activation": None}, "space.stem_activation: expected one of"),
        ({"head_channels": 0}, "space.head_channels: expected an integer >= 1 or null, got 0"),
        ({"squeeze_excite": {"ratio": 2}}, "squeeze_excite.ratio: expected a number above 0 and up to 1, got 2"),
        ({"squeeze_excite": {"gate": "tanh"}}, "squeeze_excite.gate: expected one of"),
        ({"squeeze_excite": {"width": 2}}, "space.squeeze_excite.width: unknown key"),
        ({"conventions": {"padding": "valid"}}, "conventions.padding: expected one of"),
        ({"conventions": {"bn_momentum": 1}}, "conventions.bn_momentum: expected a number above 0 and below 1, got 1"),
        ({"conventions": []}, "space.conventions: expected a mapping"),
        ({"name": "a:b"}, "space.name"),
        ({"width": 1}, "space.width: unknown key"),
    ],
)
def test_bad_space_is_refused_with_the_key(change, message):
    with pytest.raises(InputError, match=message):
        SearchSpace.from_dict(TINY | change)


def test_every_mistake_of_a_space_is_named_at_once():
    stages = [TINY["stages"][0], {"channels": 24, "depth": 2, "strides": 2, "stride": 0}]
    with pytest.raises(InputError) as caught:
        SearchSpace.from_dict(TINY | {"stages": stages, "width_multiplier": -1, "stem_chanels": 8})
    assert str(caught.value).split("; ") == [
        "space.stages[1].stride: expected an integer from 1 to 2, got 0",
        "space.stages[1].strides: unknown key",
        "did you mean space.stages[1].stride?",
        "space.width_multiplier: expected a number > 0, got -1",
        "space.stem_chanels: unknown key",
        "did you mean space.stem_channels?",
    ]


def test_python_takes_lists_mappings_and_numpys_floats():
    choices = [Choice(np.float64(3), 3), {"skip": True}]
    space = SearchSpace("own", [Stage(16, 1)], choices, width_multiplier=np.float64(1), conventions={"padding": "same"})
    assert space.choices == (Choice(3, 3), Choice()) and space.conventions == Conventions("same")
    assert hash(space) == hash(dataclasses.replace(space, name="own"))
    with pytest.raises(InputError, match=r"choice.kernel_size: expected an integer >= 0, got 3.0"):
        Choice(3, 3.0)


def test_numbers_stay_as_they_are_written():
    """An integer is written as one, so that files and fingerprints from before stay what they were."""
    written = TINY | {"width_multiplier": 1, "squeeze_excite": {"ratio": 1}, "choices": [TINY["choices"][0]]}
    space = SearchSpace.from_dict(written)
    numbers = [space.width_multiplier, space.squeeze_excite.ratio, space.choices[0].expansion]
    assert [type(number) for number in numbers] == [int, int, int]
    assert SearchSpace.from_name("s1").fingerprint == "417b3380c16a"
    assert SearchSpace.from_name("s2").fingerprint == "750774c5fd60"


def test_bad_space_file_is_named(tmp_path):
    path = tmp_path / "space.yaml"
    with pytest.raises(InputError, match=r"space.yaml: expected a readable YAML file"):
        SearchSpace.from_yaml(path)
    path.write_bytes(b"name: caf\xe9")
    with pytest.raises(InputError, match=r"space.yaml: expected a YAML file in UTF-8"):
        SearchSpace.from_yaml(path)
    path.write_text("name: [")
    with pytest.raises(InputError, match=r"space.yaml: expected YAML"):
        SearchSpace.from_yaml(path)
    path.write_text("name: a\nname: b")
    with pytest.raises(InputError, match=r"space.yaml: expected YAML: key 'name' is given twice"):
        SearchSpace.from_yaml(path)
    path.write_text("")
    with pytest.raises(InputError, match=r"space.yaml: space: expected a mapping, got null"):
        SearchSpace.from_yaml(path)
    path.write_text(yaml.safe_dump(TINY | {"stages": []}))
    with pytest.raises(InputError, match=r"space.yaml: space.stages"):
        SearchSpace.from_yaml(path)


def test_unknown_space_name_is_refused():
    with pytest.raises(InputError, match=r"expected one of \['s1', 's2'\]"):
        SearchSpace.from_name("s3")
    with pytest.raises(InputError, match=r"expected one of \['s1', 's2'\]"):
        SearchSpace.from_name(["s1"])


def test_an_architecture_moves_between_spaces_of_the_same_layers_and_choices():
    space = SearchSpace.from_dict(TINY)
    small = dataclasses.replace(space, width_multiplier=0.5, activation="relu6")
    assert Architecture((0, 1, 2), space).within(small) == Architecture((0, 1, 2), small)
    for other in (SearchSpace.from_name("s1"), dataclasses.replace(space, choices=space.choices[:2])):
        with pytest.raises(InputError, match="it belongs to space 'tiny'"):
            Architecture((0, 1, 1), space).within(other)


def test_skip_is_nothing_when_stand_alone_but_keeps_its_stride():
    space = SearchSpace.from_dict(TINY)
    kinds = [(block.kind, block.stride) for block in Architecture((2, 2, 2), space).lower().blocks]
    assert kinds == [("identity", 2)]


@pytest.mark.parametrize(("skip", "kind"), [("let", "linear"), ("relu", "linear"), ("identity", "identity")])
def test_skip_in_the_supernet_keeps_channels_and_strides(skip, kind):
    space = SearchSpace.from_dict(TINY)
    blocks = Architecture((2, 2, 2), space).lower(skip=skip).blocks
    assert [block.kind for block in blocks] == [kind] * 3
    assert [(block.in_channels, block.out_channels, block.stride) for block in blocks] == [
        (16, 16, 1),
        (16, 24, 2),
        (24, 24, 1),
    ]
    assert {getattr(block, "activation", None) for block in blocks} == {"relu" if skip == "relu" else None}


def test_block_after_a_skip_reads_the_narrower_input():
    blocks = Architecture((0, 2, 1), SearchSpace.from_dict(TINY)).lower().blocks
    assert (blocks[-1].in_channels, blocks[-1].hidden_channels, blocks[-1].out_channels) == (16, 96, 24)
    assert not blocks[-1].residual


def test_choice_with_all_defaults_is_the_skip():
    assert Choice().is_skip
    assert Choice().to_dict() == {"skip": True}
    assert Choice.from_dict(Choice(3, 5, True).to_dict()) == Choice(3, 5, True)
