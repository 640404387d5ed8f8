"""What joins people and releases: templates, one version everywhere, what `.ci/release` refuses."""

import re
import shutil
import subprocess
import tomllib

import pytest
import yaml
from conftest import ROOT

import multimodal_vit

GITHUB = ROOT / ".github"
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml"))
QUOTED = re.compile(r"`([^`]+)`|\b((?:docs|configs|benchmarks|tests)/[\w/.-]+\w)")


def named_files(text):
    """Files of the repository that a text names, in backquotes or by their folder."""
    for quoted, path in QUOTED.findall(text):
        name = path or quoted
        if re.fullmatch(r"[\w./-]+\.(md|py|toml)", name):
            yield name


def test_issue_forms_ask_for_results_and_are_valid():
    forms = {path.stem: yaml.safe_load(path.read_text()) for path in FORMS}
    assert forms.pop("config") == {"blank_issues_enabled": True}
    assert set(forms) == {"fault", "result", "idea"}
    for form in forms.values():
        assert {"name", "description", "labels", "body"} == set(form)
        fields = {field["id"]: field for field in form["body"]}
        assert len(fields) == len(form["body"])
        assert fields["results"]["attributes"]["label"].startswith("results.json")
        assert {field["type"] for field in fields.values()} <= {"textarea", "input", "checkboxes"}
        for field in fields.values():
            assert field["attributes"]["label"]


def test_templates_name_files_that_exist():
    texts = [path.read_text() for path in (*FORMS, GITHUB / "PULL_REQUEST_TEMPLATE.md")]
    named = {name for text in texts for name in named_files(text)}
    assert {"docs/results.md", "docs/extend.md", "CHANGELOG.md"} <= named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_a_tag_starts_the_release_script():
    flow = yaml.safe_load((GITHUB / "workflows" / "release.yml").read_text())
    assert flow[True] == {"push": {"tags": ["v*"]}}  # YAML reads "on" as true
    assert flow["permissions"] == {"contents": "read"}  # it publishes nothing
    (job,) = flow["jobs"].values()
    (command,) = [step["run"] for step in job["steps"] if "run" in step]
    assert (ROOT / command).stat().st_mode & 0o111


def test_the_version_is_one():
    version = multimodal_vit.__version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]  # hatchling reads it
    assert project["tool"]["hatch"]["version"]["path"] == "multimodal_vit/__init__.py"
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version
    heading = re.search(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading[1] == version
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        assert set(re.findall(r"multimodal_vit-([\d.]+)-py3", page.read_text())) <= {version}


@pytest.fixture
def checkout(tmp_path):
    """A repository of the release script and what it looks at, with the tag v1.2.3."""

    def git(*arguments):
        settings = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "tag.gpgsign=false")
        subprocess.run(
            ["git", *settings, *arguments], cwd=tmp_path, check=True, capture_output=True
        )

    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "release", tmp_path / ".ci")
    (tmp_path / "multimodal_vit").mkdir()
    (tmp_path / "multimodal_vit" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [1.2.3] – 2026-12-01\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "A release")
    git("tag", "v1.2.3")
    return tmp_path, git


def check_release(folder):
    return subprocess.run(
        ["bash", ".ci/release", "--check"], cwd=folder, capture_output=True, text=True
    )


def test_a_release_needs_its_tag_a_clean_checkout_and_a_dated_heading(checkout):
    folder, git = checkout
    assert check_release(folder).returncode == 0
    changelog = folder / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("2026-12-01", "unreleased"))
    assert "changes that are in no commit" in check_release(folder).stderr
    git("commit", "-q", "-a", "-m", "Not yet")
    done = check_release(folder)
    assert done.returncode == 2
    assert done.stderr == (
        "error: HEAD has no tag v1.2.3, the version of multimodal_vit/__init__.py: no tag\n"
    )
    git("tag", "-f", "v1.2.3")
    assert 'begins with "## [1.2.3] – unreleased"' in check_release(folder).stderr
