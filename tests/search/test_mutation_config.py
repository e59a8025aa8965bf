import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.config import load_config, parse_config
from scarlet_tf.search.config import MutationConfig, SearchConfig
from scarlet_tf.search.mutation import HierarchicalMutation, UniformMutation
from scarlet_tf.space.search_space import SearchSpace

SPACE = SearchSpace.from_name("s1", input_size=32)


def test_defaults_are_the_published_probabilities():
    config = MutationConfig()
    assert config.ratio == 0.8 and (config.ppo.clip, config.ppo.learning_rate) == (0.2, 1e-3)
    assert config.probabilities() == pytest.approx(
        {"random": 0.2, "prior": 0.15, "controller": 0.65 * 0.7, "roulette": 0.65 * 0.3}
    )
    assert SearchConfig().mutation == config


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"controller": 0.0}, {"random": 0.2, "prior": 0.15, "roulette": 0.65}),
        ({"roulette": 0.0}, {"random": 0.2, "prior": 0.15, "controller": 0.65}),
        ({"reinforced": 0.0}, {"random": 0.2 / 0.35, "prior": 0.15 / 0.35}),
        ({"random": 0.0, "prior": 0.0}, {"controller": 0.7, "roulette": 0.3}),
        ({"reinforced": 0.0, "random": 0.0, "controller": 0.0, "roulette": 0.0}, {"prior": 1.0}),
    ],
)
def test_what_is_switched_off_leaves_its_share_to_the_rest_of_its_group(changes, expected):
    assert MutationConfig(**changes).probabilities() == pytest.approx(expected)


def test_build_makes_what_is_switched_on():
    mutation = MutationConfig(controller=0.0, prior=0.0, ratio=0.5).build(SPACE, seed=0)
    assert isinstance(mutation, HierarchicalMutation) and mutation.ratio == 0.5
    assert {type(op).__name__ for op in mutation.operators.values()} == {"RandomMutation", "RouletteMutation"}
    uniform = MutationConfig(kind="uniform", ratio=0.3).build(SPACE, seed=0)
    assert isinstance(uniform, UniformMutation) and uniform.mutation_ratio == 0.3
    controller = MutationConfig(ppo={"genes": 3, "units": 4}).build(SPACE, seed=5).operators["controller"]
    assert (controller.config.genes, controller.config.units, controller.seed) == (3, 4, 5)


@pytest.mark.parametrize(
    "mutation, message",
    [
        ({"ratio": 1.5}, r"search\.mutation\.ratio: expected a number from 0 to 1, got 1\.5"),
        ({"random": -0.1}, r"search\.mutation\.random: expected a number from 0 to 1, got -0\.1"),
        ({"kind": "greedy"}, r"search\.mutation\.kind: expected one of .*hierarchical.*greedy"),
        ({"random": 0, "reinforced": 0, "prior": 0}, r"search\.mutation: expected random, reinforced or prior above 0"),
        ({"controller": 0, "roulette": 0}, r"search\.mutation: expected controller or roulette above 0"),
        ({"ppo": {"clip": 0}}, r"search\.mutation\.ppo\.clip: expected a number above 0 and below 1, got 0"),
        ({"ppo": {"clip": 1.0}}, r"search\.mutation\.ppo\.clip: expected a number above 0 and below 1, got 1\.0"),
        ({"ppo": {"learning_rate": -1.0}}, r"search\.mutation\.ppo\.learning_rate: expected a number > 0"),
        ({"ppo": {"units": 0}}, r"search\.mutation\.ppo\.units: expected an integer >= 1, got 0"),
        ({"ppo": {"epochs": 0}}, r"search\.mutation\.ppo\.epochs: expected an integer >= 1, got 0"),
        ({"ppo": {"genes": 0}}, r"search\.mutation\.ppo\.genes: expected an integer >= 1 or null, got 0"),
        (
            {"ppo": {"baseline_decay": 1.0}},
            r"search\.mutation\.ppo\.baseline_decay: expected a number from 0 to below 1",
        ),
        ({"ppo": {"layers": 1}}, r"search\.mutation\.ppo\.layers: unknown key; "),
        ({"rate": 1}, r"search\.mutation\.rate: unknown key; "),
        (3, r"search\.mutation: expected a .*mapping, got "),
    ],
)
def test_mistakes_are_named_in_python_and_in_yaml(mutation, message):
    with pytest.raises(InputError, match=message):
        SearchConfig(mutation=mutation)
    if "ppo" in message:  # Python alone sets it
        return
    with pytest.raises(InputError, match=rf"my\.yaml: {message}") as caught:
        parse_config({"data": {"source": "digits"}, "space": "s1", "search": {"mutation": mutation}}, "my.yaml")
    assert "\n" not in str(caught.value)


def test_nested_keys_are_read_overridden_and_written_out(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("data: {source: digits}\nspace: s1\nsearch: {mutation: {ratio: 0.5}}\n")
    config = load_config(path, ["search.mutation.prior=0", "search.mutation.controller=0.5"])
    expected = MutationConfig(ratio=0.5, prior=0.0, controller=0.5)
    assert config.search.mutation == expected
    assert parse_config(config.to_dict()) == config


def test_the_key_of_earlier_versions_is_answered_with_the_new_one():
    with pytest.raises(InputError, match=r"search\.mutation_ratio: unknown key; did you mean search\.mutation\?"):
        parse_config({"data": {"source": "digits"}, "space": "s1", "search": {"mutation_ratio": 0.5}})
