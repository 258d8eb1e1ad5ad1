import json
import tomllib
from dataclasses import dataclass, field
from enum import StrEnum

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from expunge.base.errors import SettingsError
from expunge.base.settings import (
    Range,
    Setting,
    check_settings,
    describe_settings,
    from_mapping,
    nest,
    setting,
    to_mapping,
)


class Mode(StrEnum):
    SLOW = "slow"
    FAST = "fast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    radius: float = setting(4.0, "how far", above=0)
    limit: int | None = setting(None, "how many", at_least=1)

    def __post_init__(self):
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Middle:
    inner: Inner = field(default_factory=lambda: Inner(radius=3.0))
    name: str = setting("plain", "what it is called")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    rate: float = setting(0.1, "how fast", above=0, at_most=1)
    steps: int = setting(10, "how often", at_least=1)
    mode: Mode = setting(Mode.SLOW, "which way")
    mean: tuple[float, ...] = setting((0.5,), "where")
    inner: Inner = field(default_factory=lambda: Inner(radius=2.0))
    middle: Middle = field(default_factory=Middle)

    def __post_init__(self):
        check_settings(self)


INNER = st.builds(Inner, radius=st.floats(0, 1e9, exclude_min=True), limit=st.one_of(st.none(), st.integers(1, 10**9)))
OUTER = st.builds(
    Outer,
    rate=st.floats(0, 1, exclude_min=True),
    steps=st.integers(1, 10**9),
    mode=st.sampled_from(Mode),
    mean=st.lists(st.floats(-9, 9), max_size=3).map(tuple),
    inner=INNER,
    middle=st.builds(Middle, inner=INNER, name=st.text(max_size=5)),
)


@given(OUTER)
def test_settings_survive_json_and_toml(settings):
    mapping = to_mapping(settings)
    assert from_mapping(Outer, mapping) == settings
    assert from_mapping(Outer, json.loads(json.dumps(mapping))) == settings
    assert from_mapping(Outer, tomllib.loads(tomli_w.dumps(mapping))) == settings


def test_what_is_not_named_keeps_the_default_of_the_place_it_stands_in():
    settings = from_mapping(Outer, {"inner": {"limit": 3}})
    assert settings.inner == Inner(radius=2.0, limit=3)
    assert settings.rate == 0.1


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rate", "0.25", 0.25),
        ("rate", "1e-3", 1e-3),
        ("rate", "1", 1),
        ("steps", "7", 7),
        ("mode", "fast", Mode.FAST),
        ("mean", "0.1,0.2,0.3", (0.1, 0.2, 0.3)),
    ],
)
def test_strings_are_read_as_the_type_of_their_field(name, text, value):
    assert getattr(from_mapping(Outer, {name: text}), name) == value


@pytest.mark.parametrize("text", ["none", "", None])
def test_none_where_it_is_allowed(text):
    assert from_mapping(Inner, {"limit": text}).limit is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"rat": 1},
            "`rat`: expected one of rate, steps, mode, mean, inner, middle, got an unknown setting; "
            "did you mean `rate`?",
        ),
        ({"inner": {"size": 1}}, "`inner.size`: expected one of radius, limit, got an unknown setting"),
        ({"inner": 3}, "`inner`: expected a table of settings, got 3"),
        ({"rate": 0}, "`rate`: expected above 0 and at most 1, got 0"),
        ({"rate": 1.5}, "`rate`: expected above 0 and at most 1, got 1.5"),
        ({"rate": "nan"}, "`rate`: expected a finite number, got nan"),
        ({"rate": "fast"}, "`rate`: expected a number, got 'fast'"),
        ({"rate": True}, "`rate`: expected a number, got True"),
        ({"rate": None}, "`rate`: expected a number, got None"),
        ({"steps": 0}, "`steps`: expected at least 1, got 0"),
        ({"steps": 2.5}, "`steps`: expected a whole number, got 2.5"),
        ({"steps": "2.5"}, "`steps`: expected a whole number, got '2.5'"),
        ({"steps": True}, "`steps`: expected a whole number, got True"),
        ({"mode": "medium"}, "`mode`: expected one of slow, fast, got 'medium'"),
        ({"inner": {"limit": "x"}}, "`inner.limit`: expected a whole number or none, got 'x'"),
        ({"inner": {"radius": -1}}, "`inner.radius`: expected above 0, got -1"),
    ],
)
def test_values_that_do_not_fit(values, words):
    with pytest.raises(SettingsError) as caught:
        from_mapping(Outer, values)
    assert str(caught.value) == words


@pytest.mark.parametrize(("name", "value"), [("rate", "0.1"), ("steps", 1.0), ("mode", "slow"), ("inner", None)])
def test_construction_in_code_is_checked_too(name, value):
    with pytest.raises(SettingsError, match=f"`{name}`: expected"):
        Outer(**{name: value})


def test_settings_are_described_where_they_stand():
    described = {each.name: each for each in describe_settings(Outer)}
    assert list(described) == [
        "rate",
        "steps",
        "mode",
        "mean",
        "inner.radius",
        "inner.limit",
        "middle.inner.radius",
        "middle.inner.limit",
        "middle.name",
    ]
    assert described["rate"] == Setting("rate", 0.1, "how fast", Range(above=0, at_most=1))
    assert described["mode"].allowed == "slow, fast"
    assert described["rate"].allowed == "above 0 and at most 1"
    assert described["inner.radius"].default == 2.0
    assert described["inner.limit"].default is None
    assert described["middle.inner.radius"].default == 3.0
    json.dumps([each.default for each in described.values()])


@given(st.floats(-3, 3), st.floats(-1, 1))
def test_a_range_says_what_it_holds(value, limit):
    assert (value in Range(above=limit)) == (value > limit)
    assert (value in Range(at_least=limit)) == (value >= limit)
    assert (value in Range(at_most=limit)) == (value <= limit)
    assert value in Range()


def test_a_range_in_words():
    assert str(Range(above=0, at_most=1)) == "above 0 and at most 1"
    assert str(Range(at_least=2)) == "at least 2"
    assert str(Range()) == "any value"


def test_dotted_names_become_tables():
    assert nest({"a.b.c": 1, "a.b.d": 2, "e": 3}) == {"a": {"b": {"c": 1, "d": 2}}, "e": 3}
    with pytest.raises(SettingsError, match=r"`a\.b`: expected a table of settings, got a value with the same name"):
        nest({"a": 1, "a.b": 2})
