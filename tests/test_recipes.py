import dataclasses

import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.config import claim_run_dir, load_config, parse_config
from scarlet_tf.config.schema import recipe_names, recipes
from scarlet_tf.training.config import RetrainConfig, SupernetConfig


def resolve(**sections):
    return parse_config({"data": {"source": "digits"}, "space": "s1"} | sections)


def mistake(**sections) -> str:
    with pytest.raises(InputError) as caught:
        resolve(**sections)
    return str(caught.value)


def test_the_papers_recipes_are_the_defaults_which_are_the_papers():
    config = resolve(supernet={"recipe": "paper_supernet"}, retrain={"recipe": "paper_standalone"})
    assert config.supernet == SupernetConfig() and config.retrain == RetrainConfig()
    retrain = config.retrain
    assert (retrain.optimizer, retrain.batch_size, retrain.learning_rate) == ("rmsprop", 4096, 0.256)
    assert (retrain.decay_rate, retrain.decay_epochs, retrain.warmup_epochs, retrain.epochs) == (0.97, 2.4, 5.0, 350)
    assert (retrain.weight_decay, retrain.label_smoothing, retrain.dropout, retrain.ema) == (1e-5, 0.1, 0.2, 0.9999)
    assert (config.data.normalization, config.data.augmentation) == ("inception", "inception")


def test_modern_is_long_and_strongly_augmented():
    config = resolve(retrain={"recipe": "modern"})
    retrain, data = config.retrain, config.data
    assert (retrain.optimizer, retrain.schedule, retrain.learning_rate, retrain.epochs) == ("sgd", "cosine", 0.5, 600)
    assert (data.rand_augment, data.mixup, data.cutmix, data.random_erasing) == (2, 0.2, 1.0, 0.1)
    assert (retrain.label_smoothing, retrain.ema, retrain.teacher) == (0.1, 0.9999, None)


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_holds_sections_that_validate(name):
    blocks = recipes()[name]
    sections = [section for section in ("supernet", "retrain") if section in blocks]
    assert sections and set(blocks) <= {"data", *sections}
    for section in sections:
        resolve(**{section: {"recipe": name}})


def test_what_is_written_out_wins_over_the_recipe():
    config = resolve(
        data={"source": "digits", "mixup": 0.5, "augmentation": "shift"},
        retrain={"recipe": "modern", "epochs": 3, "batch_size": 64, "learning_rate": 0.03},
    )
    assert (config.data.mixup, config.data.augmentation, config.data.cutmix) == (0.5, "shift", 1.0)
    assert (config.retrain.epochs, config.retrain.batch_size, config.retrain.schedule) == (3, 64, "cosine")


def test_a_recipe_may_be_set_on_the_command_line(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("data: {source: digits}\nspace: s1\nretrain: {epochs: 5}\n")
    config = load_config(path, ["retrain.recipe=modern"])
    assert (config.retrain.epochs, config.retrain.batch_size) == (5, 1024)


def test_no_recipe_may_be_written_as_null():
    assert resolve(retrain={"recipe": None, "epochs": 5}).retrain == dataclasses.replace(RetrainConfig(), epochs=5)


def test_the_resolved_config_spells_the_values_out_and_reads_back(tmp_path):
    config = resolve(supernet={"recipe": "paper_supernet"}, retrain={"recipe": "modern"}, seed=4)
    claim_run_dir(tmp_path, config)
    text = (tmp_path / "config.yaml").read_text()
    assert "recipe" not in text and "cutmix: 1.0" in text and "epochs: 600" in text
    assert load_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize("section", ["supernet", "retrain"])
@pytest.mark.parametrize("name", ["resnet", 3, ["modern"]])
def test_an_unknown_recipe_is_answered_with_the_names(section, name):
    text = mistake(**{section: {"recipe": name}})
    assert f"{section}.recipe: expected one of {', '.join(recipe_names(section))}, got" in text


def test_a_recipe_of_another_section_is_refused():
    assert "supernet.recipe: expected one of betanas, paper_supernet, got" in mistake(supernet={"recipe": "modern"})


def test_other_sections_have_no_recipes():
    assert "search.recipe: unknown key; did you mean" in mistake(search={"recipe": "modern"})


def test_recipes_that_disagree_about_the_data_are_refused_unless_the_data_decides(monkeypatch):
    blocks = {"a": {"supernet": {}, "data": {"mixup": 0.1}}, "b": {"retrain": {}, "data": {"mixup": 0.2}}}
    monkeypatch.setattr("scarlet_tf.config.schema.recipes", lambda: blocks)
    both = {"supernet": {"recipe": "a"}, "retrain": {"recipe": "b"}}
    assert "data.mixup: expected a value" in mistake(**both)
    assert resolve(data={"source": "digits", "mixup": 0.3}, **both).data.mixup == 0.3
