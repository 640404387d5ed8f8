"""What is said of fields, values and configuration files: the value, the rule, the way out."""

import traceback

import pytest

from multimodal_vit.config_messages import (
    ALIASES,
    explain_exception_of_config_file,
    explain_unknown_field,
    parse_value,
)
from multimodal_vit.errors import UserError

KNOWN = [*ALIASES, "task.grid", "evaluation.batch_size", "model.modalities"]


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("train.lr", "train.learning_rate"),
        ("lr", "train.learning_rate"),
        ("train.epochs", "train.num_samples? It counts training pairs"),
        ("dropout", "model.dropout_"),
        ("batch", "train.batch_size"),
        ("train.batch", "train.batch_size"),
        ("model.depth", "model.num_encoder_layers"),
        ("learning_rate", "train.learning_rate"),
        ("batch_size", "train.batch_size or evaluation.batch_size"),
        ("data.dir", "data.directory"),
        ("train.bach_size", "train.batch_size"),
        ("trian.batch_size", "train.batch_size"),
        ("task.gird", "task.grid"),
        ("model.modality", "model.modalities"),
    ],
)
def test_an_unknown_field_names_the_one_that_is_meant(name, right):
    said = explain_unknown_field(name, KNOWN)
    assert said.startswith(f"{name!r} is no field")
    assert f"did you mean {right}" in said


def test_a_field_of_a_study_names_those_of_its_conditions():
    known = [f"conditions.{c}.train.learning_rate" for c in ("on", "off")]
    said = explain_unknown_field("conditions.off.train.lr", known)
    assert "did you mean conditions.off.train.learning_rate?" in said


def test_what_resembles_nothing_gets_no_guess():
    assert explain_unknown_field("xyzzy", KNOWN) == "'xyzzy' is no field of a configuration"


@pytest.mark.parametrize(
    ("text", "default", "value"),
    [
        ("1e5", 64, 100_000),
        ("100_000", 64, 100_000),
        (" 7 ", 64, 7),
        ("-1", 64, -1),
        ("64.0", 1, 64),
        ("1e-3", 0.1, 1e-3),
        ("3", 0.1, 3.0),
        ("true", False, True),
        ("False", True, False),
        ("0", True, False),
        ("words,patches", ("words",), ("words", "patches")),
        ("words", (), ("words",)),
        ("3,3", (2, 2), (3, 3)),
        ("(3, 3)", (2, 2), (3, 3)),
        ("[3,3]", (2, 2), (3, 3)),
        ("()", (1,), ()),
        ("[]", (1,), ()),
        ("", (1,), ()),
        ("('words',)", (), ("words",)),
        ("(words, patches)", (), ("words", "patches")),
        ("4", (2, 2), (4,)),
        ("words,", (), ("words",)),
        ("1e5", "x", "1e5"),
        ("(1.5, 2)", (2, 2), (1.5, 2)),
        ("2.5", None, 2.5),
        ("text", None, "text"),
    ],
)
def test_a_value_is_read_as_a_person_writes_it(text, default, value):
    found = parse_value(text, default, "group.field")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "default", "said"),
    [
        ("1.5", 64, "without a fraction"),
        ("many", 64, "whole number"),
        ("nan", 64, "whole number"),
        ("inf", 64, "whole number"),
        ("", 64, "whole number"),
        ("1e999999999", 64, "is larger than"),
        ("1,2", 64, "without commas"),
        ("0,5", 0.1, "write 0.5"),
        ("many", 0.1, "one number"),
        ("maybe", True, "True or False"),
        ("a,,b", ("a",), "nothing between two"),
        ("({1: 2},)", (1,), "commas between, such as 1"),
        ("5", {}, "is a group of fields"),
    ],
)
def test_what_is_no_such_value_is_refused_with_the_rule(text, default, said):
    with pytest.raises(UserError) as refused:
        parse_value(text, default, "group.field")
    assert f"--config.group.field={text}: " in str(refused.value)
    assert said in str(refused.value)


def test_several_seeds_name_the_field_that_has_them():
    with pytest.raises(UserError, match=r"one seed; several.*--config.train.num_seeds"):
        parse_value("0,1,2", 0, "seed")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "def f():\n    raise ValueError\nf()",
            "line 2: ValueError: without a text, raised by: raise",
        ),
        ("raise ValueError('one\\n  two\\nthree')", "line 1: ValueError: one two three"),
        ("x = {}\nx['field']", "line 2: KeyError: field"),
        ("x = (1", "line 1: SyntaxError: "),
        ("import beside_it", "beside_it.py lies beside the file, whose folder is not searched"),
        ("import nothing_of_this_name", "line 1: ModuleNotFoundError: No module named"),
        (
            "from ml_collections import FrozenConfigDict\nFrozenConfigDict({'a': 1}).a = 2",
            "line 2: AttributeError: FrozenConfigDict is immutable. Cannot call __setattr__(). "
            "(change a copy of it",
        ),
        (
            "from ml_collections import ConfigDict, config_dict\n"
            "ConfigDict({'a': config_dict.required_placeholder(int)}).a",
            "(a placeholder has no value: set the field",
        ),
    ],
)
def test_an_exception_of_a_configuration_file_is_one_line_with_its_place(source, said, tmp_path):
    path = tmp_path / "bad.py"
    path.write_text(source)
    (tmp_path / "beside_it.py").write_text("")
    from conftest import load_module

    with pytest.raises((Exception, SystemExit)) as raised:
        load_module(path)
    line = explain_exception_of_config_file(raised.value, path)
    assert said in line, traceback.format_exception(raised.value)
    assert "\n" not in line
