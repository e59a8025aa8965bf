"""Settings: bounds beside each field hold in Python and in YAML, and every mistake is explained by them."""

import dataclasses
import subprocess
import sys
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Le, MinLen

from scarlet_tf.base.errors import InputError
from scarlet_tf.base.mistakes import describe, keys_of
from scarlet_tf.base.settings import (
    AboveZero,
    AsGiven,
    BelowOne,
    Between,
    Count,
    Lax,
    NonNegative,
    Positive,
    Read,
    Share,
    Text,
    Whole,
    as_settings,
    from_plain,
    from_yaml,
    to_plain,
    validated,
)


@validated("oven.tray")
@dataclasses.dataclass(frozen=True)
class Tray:
    depth: Count = 1


@validated("oven.recipe")
@dataclasses.dataclass(frozen=True)
class Recipe:
    minutes: Annotated[tuple[Positive, Positive], Lax()] | Positive


@validated("oven")
@dataclasses.dataclass(frozen=True)
class Oven:
    degrees: Positive = 180.0
    fan: bool = False
    mode: Literal["grill", "bake"] = "bake"
    shares: Annotated[tuple[Share, ...], Lax(), MinLen(1)] = (1.0,)
    tray: Annotated[Tray, Lax()] = dataclasses.field(default_factory=Tray)
    recipe: Literal["bread", "cake"] | Annotated[Recipe, Lax()] = "bread"
    timer: Count | dict[str, str | dict[str, float]] | None = None

    def __post_init__(self):
        if self.fan and self.mode == "grill":
            raise InputError("oven.fan: expected false with mode: grill, got true")


@pytest.mark.parametrize(
    ("values", "mistakes"),
    [
        ({"degrees": 0}, ["oven.degrees: expected a number > 0, got 0"]),
        ({"degrees": float("inf")}, ["oven.degrees: expected a number > 0, got inf"]),
        ({"degrees": float("nan")}, ["oven.degrees: expected a number > 0, got nan"]),
        ({"degrees": "warm"}, ['oven.degrees: expected a number > 0, got "warm"']),
        ({"degrees": True}, ["oven.degrees: expected a number > 0, got true"]),
        ({"fan": 1}, ["oven.fan: expected true or false, got 1"]),
        ({"mode": "gril"}, ['oven.mode: expected one of grill, bake, got "gril"; did you mean grill?']),
        ({"shares": []}, ["oven.shares: expected a list of at least 1, got []"]),
        ({"shares": [0.5, 1.5]}, ["oven.shares[1]: expected a number from 0 to 1, got 1.5"]),
        ({"tray": {"depth": 0}}, ["oven.tray.depth: expected an integer >= 1, got 0"]),
        ({"tray": {"dept": 2}}, ["oven.tray.dept: unknown key; did you mean oven.tray.depth?"]),
        ({"tray": 3}, ["oven.tray: expected a mapping, got 3"]),
        (
            {"recipe": "bred"},
            ['oven.recipe: expected one of bread, cake or a mapping, got "bred"; did you mean bread?'],
        ),
        ({"recipe": {}}, ["oven.recipe.minutes: missing"]),
        ({"recipe": {"minutes": -1}}, ["oven.recipe.minutes: expected a list of 2 or a number > 0, got -1"]),
        ({"recipe": {"minutes": [1]}}, ["oven.recipe.minutes: expected a list of 2 or a number > 0, got [1]"]),
        (
            {"recipe": {"minutes": [1, 2, 3]}},
            ["oven.recipe.minutes: expected a list of 2 or a number > 0, got [1, 2, 3]"],
        ),
        ({"recipe": {"minutes": [1, 0]}}, ["oven.recipe.minutes[1]: expected a number > 0, got 0"]),
        (
            {"recipe": {"minutes": 1, "minute": 1}},
            ["oven.recipe.minute: unknown key; did you mean oven.recipe.minutes?"],
        ),
        ({"timer": 0}, ["oven.timer: expected an integer >= 1, a mapping or null, got 0"]),
        ({"timer": {"x": {"y": "z"}}}, ['oven.timer.x.y: expected a number, got "z"']),
        ({"degree": 1}, ["oven.degree: unknown key; did you mean oven.degrees?"]),
        ({"fan": True, "mode": "grill"}, ["oven.fan: expected false with mode: grill, got true"]),
        (
            {"degrees": -1, "fan": None, "zzz": 1},
            [
                "oven.degrees: expected a number > 0, got -1",
                "oven.fan: expected true or false, got null",
                "oven.zzz: unknown key; expected one of degrees, fan, mode, recipe, shares, timer, tray",
            ],
        ),
    ],
)
def test_python_and_yaml_are_refused_alike(values, mistakes):
    with pytest.raises(InputError) as caught:
        Oven(**values)
    assert str(caught.value) == "; ".join(mistakes)
    found = []
    assert from_yaml(Oven, values, found) is None
    assert found == mistakes


def test_lists_and_mappings_become_tuples_and_settings():
    values = {"degrees": 200, "shares": [0, 1], "tray": {"depth": 3}}
    oven = Oven(200.0, shares=(0.0, 1.0), tray=Tray(3))
    assert Oven(**values) == from_yaml(Oven, values, []) == oven
    assert type(Oven(**values).degrees) is float
    assert to_plain(oven)["tray"] == {"depth": 3} and to_plain(oven)["shares"] == [0.0, 1.0]


def test_a_choice_of_a_name_or_settings_takes_both():
    oven = Oven(recipe=Recipe((1.0, 2.0)))
    assert Oven(recipe={"minutes": [1, 2]}) == from_yaml(Oven, {"recipe": {"minutes": [1, 2]}}, []) == oven
    assert from_yaml(Oven, to_plain(oven), []) == oven and to_plain(oven)["recipe"] == {"minutes": [1.0, 2.0]}
    assert Oven(recipe="cake").recipe == "cake" and hash(oven) != hash(Oven())
    assert "oven.recipe.minutes" in keys_of(Oven, "oven")


def test_arguments_by_position_are_named_in_mistakes():
    with pytest.raises(InputError, match=r"oven\.degrees: expected a number > 0, got -1; oven\.fan: expected true"):
        Oven(-1, 3)


def test_quantities_are_for_yaml_alone():
    assert from_yaml(Oven, {"timer": "2k", "tray": {"depth": 1e2}}, []) == Oven(timer=2000, tray=Tray(100))
    with pytest.raises(InputError, match=r"oven\.tray.depth: expected an integer >= 1, got 100.0"):
        Oven(tray={"depth": 1e2})


def test_copies_are_validated_and_instances_frozen():
    oven = dataclasses.replace(Oven(), degrees=90)
    assert oven.degrees == 90 and Oven().degrees == 180
    with pytest.raises(InputError, match=r"oven\.degrees"):
        dataclasses.replace(oven, degrees=-90)
    with pytest.raises(dataclasses.FrozenInstanceError):
        oven.degrees = 1


def test_calls_that_fit_no_signature_are_type_errors():
    with pytest.raises(TypeError, match="positional"):
        Oven(*range(9))
    with pytest.raises(TypeError, match="multiple values"):
        Oven(1.0, degrees=2.0)


def test_settings_may_be_given_as_mapping_or_not_at_all():
    oven = Oven(90)
    assert as_settings(Oven, oven) is oven and as_settings(Oven, None) == Oven()
    assert as_settings(Oven, {"degrees": 90}) == oven
    with pytest.raises(InputError, match="oven: expected a Oven or a mapping, got int"):
        as_settings(Oven, 3)
    with pytest.raises(InputError, match=r"oven\.3: unknown key"):
        as_settings(Oven, {3: 4})


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (Count, "an integer >= 1"),
        (Whole, "an integer >= 0"),
        (Positive, "a number > 0"),
        (NonNegative, "a number >= 0"),
        (Share, "a number from 0 to 1"),
        (BelowOne, "a number from 0 to below 1"),
        (AboveZero, "a number above 0 and up to 1"),
        (Between, "a number above 0 and below 1"),
        (Annotated[int, Le(3)], "an integer up to 3"),
        (Annotated[int, Ge(-1), Le(3)], "an integer from -1 to 3"),
        (Text | None, "a non-empty string or null"),
        (tuple[int, int] | Positive, "a list of 2 or a number > 0"),
        (Literal["a"] | Annotated[Tray, Lax()], "a or a mapping"),
        (bool | Tray, "true or false or a mapping"),
        (int | float | None, "an integer, a number or null"),
    ],
)
def test_annotations_in_words(hint, text):
    assert describe(hint) == text


@validated("menu.dish")
@dataclasses.dataclass(frozen=True)
class Dish:
    price: Annotated[Positive, AsGiven()]
    sides: Annotated[tuple[Text, ...], Lax()] = ()

    def __post_init__(self):
        if self.price < len(self.sides):
            raise InputError(f"menu.dish.price: expected {len(self.sides)} or more, got {self.price}")


def of_the_day(value):
    return {"price": 5} if value == "of the day" else value


@validated("menu")
@dataclasses.dataclass(frozen=True)
class Menu:
    dishes: Annotated[
        tuple[Annotated[Dish, Read(of_the_day)], ...], MinLen(1), Read(lambda v: [] if v == "none" else v)
    ]


def test_other_written_forms_are_read_and_integers_kept():
    menu = from_plain(Menu, {"dishes": ["of the day", {"price": 4, "sides": ["rice"]}, {"price": 2.5}]})
    assert menu == Menu([Dish(5), Dish(4, ("rice",)), Dish(2.5)])
    assert [type(dish.price) for dish in menu.dishes] == [int, int, float]
    assert Dish(3).price == 3 and isinstance(Dish(3).price, int)


@pytest.mark.parametrize(
    ("dishes", "message"),
    [
        ("none", 'menu.dishes: expected a list of at least 1, got "none"'),
        ([3], "menu.dishes[0]: expected a mapping, got 3"),
        (
            [{"price": 0}, {"prise": 1, "price": 1}],
            "menu.dishes[0].price: expected a number > 0, got 0; "
            "menu.dishes[1].prise: unknown key; did you mean menu.dishes[1].price?",
        ),
        (["of the day", {"price": 1, "sides": ["a", "b"]}], "menu.dishes[1].price: expected 2 or more, got 1"),
    ],
)
def test_mistakes_in_lists_of_settings_have_their_place(dishes, message):
    with pytest.raises(InputError) as caught:
        from_plain(Menu, {"dishes": dishes})
    assert str(caught.value) == message


def test_keys_of_lists_are_those_of_their_members():
    assert list(keys_of(Menu, "menu")) == ["menu.dishes", "menu.dishes.price", "menu.dishes.sides"]


def test_configurations_import_no_framework_and_pydantic_only_when_used():
    script = (
        "import sys, scarlet_tf.training.config, scarlet_tf.data.data_config\n"
        "assert not {'tensorflow', 'keras', 'pydantic'} & set(sys.modules)\n"
        "scarlet_tf.training.config.SupernetConfig()\n"
        "import scarlet_tf.models.zoo_data\n"
        "assert 'pydantic' not in sys.modules\n"
        "scarlet_tf.training.config.SupernetConfig(epochs=2)\n"
        "assert 'pydantic' in sys.modules and not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
