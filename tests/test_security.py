"""Nothing that is read is executed, and nothing that is read names a file outside its folder."""

import re

import numpy as np
import pytest
from conftest import ROOT

from multimodal_vit import config as configuration
from multimodal_vit.errors import UserError
from multimodal_vit.evaluate import Predictions
from multimodal_vit.files import write_json

SOURCES = sorted(
    path
    for folder in ("multimodal_vit", "configs", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)
FORBIDDEN = {
    "pickle": r"\bimport pickle|\bpickle\.|\b(dill|cloudpickle|shelve|marshal|joblib)\b",
    "allow_pickle": r"allow_pickle\s*=\s*True",
    "execution": r"(?<![\w.])(eval|exec)\(|yaml\.(unsafe_)?load\(|torch\.load\(",
    "a shell": r"shell\s*=\s*True|os\.system\(|os\.popen\(",
    "archives": r"extractall\(|\.extract\(|unpack_archive\(",
    "temporary names": r"\bmktemp\(",
}  # fmt: skip


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_source_uses(what):
    assert len(SOURCES) > 60
    pattern = re.compile(FORBIDDEN[what])
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_every_numpy_archive_is_loaded_without_objects():
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert text.count("np.load(") == text.count("allow_pickle=False)"), path


def test_an_archive_with_python_objects_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("executed",))

    np.savez(tmp_path / "evil.npz", logits=np.array([Evil()], dtype=object))
    with pytest.raises(UserError, match=r"evil\.npz cannot be read"):
        Predictions.load(tmp_path / "evil.npz")


def test_a_saved_configuration_stays_data(tmp_path):
    """Text that looks like Python is text; a value of another type is refused."""
    code = "__import__('os').system('touch executed')"
    config = configuration.small()
    config.data.directory = code
    write_json(tmp_path / "config.json", configuration.to_json(config))
    assert configuration.load(tmp_path / "config.json").data.directory == code
    content = configuration.to_json(configuration.small())
    content["config"]["train"]["batch_size"] = code
    write_json(tmp_path / "config.json", content)
    with pytest.raises(UserError, match="not a configuration of this program"):
        configuration.load(tmp_path / "config.json")


@pytest.mark.parametrize("name", ["../other", "a/../../b", "/etc", ".."])
def test_a_data_name_cannot_leave_the_data_folder(name):
    config = configuration.changed(configuration.small(), {"data.name": name})
    with pytest.raises(UserError, match="leaves the data folder"):
        configuration.check(config)


@pytest.mark.parametrize("name", ["a/b", "$(touch x)", "a b", "-rf", ""])
def test_the_name_of_a_condition_is_a_plain_folder_name(name):
    from multimodal_vit.study.definition import problems, study

    config = study("?", {})
    config.conditions = {name: configuration.small().to_dict()}
    assert any("names a folder" in problem for problem in problems(config))


def test_the_report_escapes_every_string():
    """Autoescaping is on for HTML, and no template turns it off."""
    source = (ROOT / "multimodal_vit" / "analysis" / "pages.py").read_text()
    assert "html = jinja2.Environment(loader=loader, autoescape=True" in source
    templates = ROOT / "multimodal_vit" / "analysis" / "templates"
    pages = list(templates.glob("*.html.j2"))
    assert len(pages) >= 5
    for page in pages:
        assert not re.search(r"\bsafe\b|autoescape", page.read_text()), page
