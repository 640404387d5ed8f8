"""What the README shows works as it is printed."""

import re
import subprocess
import sys

from conftest import ROOT, command_environment

README = (ROOT / "README.md").read_text()


def test_the_program_in_the_readme_prints_what_it_says(tmp_path):
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=command_environment(),
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == re.search(r"print\(.*# (.*)", program)[1]


def test_every_file_and_link_that_the_documents_name_exists():
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = document.read_text()
        for link in re.findall(r"\]\(([\w/.-]+)\)", text):
            assert (document.parent / link).exists(), (document.name, link)
        for config in re.findall(r"configs/\w+\.py", text):
            assert (ROOT / config).exists(), (document.name, config)
