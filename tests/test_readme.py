"""What README and docs/commands.md show works as it is printed."""

import re
import subprocess
import sys

from conftest import ROOT, command_environment

COMMANDS = (ROOT / "docs" / "commands.md").read_text()


def test_the_program_on_the_page_of_commands_prints_what_it_says(tmp_path):
    (program,) = re.findall(r"```python\n(.*?)```", COMMANDS, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=command_environment(),
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == re.search(r"print\(.*# (.*)", program)[1]


def test_every_file_and_link_that_the_documents_name_exists():
    for document in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
    ]:
        text = document.read_text()
        for link in re.findall(r"\]\(([\w/.-]+)(?:#[\w-]+)?\)", text):
            assert (document.parent / link).exists(), (document.name, link)
        for config in re.findall(r"configs/\w+\.py", text):
            assert (ROOT / config).exists(), (document.name, config)
