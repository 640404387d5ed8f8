"""The rules of the house, read from the source: imports point one way, the core stays light."""

import ast
import re
import subprocess
import sys

import pytest
from conftest import ROOT

PACKAGE = ROOT / "multimodal_vit"
ROW = re.compile(r"^\| `(\w+)` \|.*\| ([\w, ]+) \|$", re.MULTILINE)
ALLOWED = {
    part: set(imports.split(", ")) - {"nothing"}
    for part, imports in ROW.findall(
        (ROOT / "docs" / "architecture.md").read_text().split("\n## ")[0]
    )
}


def part_of(module: str) -> str:
    return module.removeprefix("multimodal_vit.").split(".")[0]


def imports_of(path) -> set[str]:
    """The parts of the package that a file imports; `from multimodal_vit import x` names x."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("multimodal_vit."):
            found.add(part_of(node.module))
        elif isinstance(node, ast.ImportFrom) and node.module == "multimodal_vit":
            found |= {alias.name for alias in node.names if alias.name != "__version__"}
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_imports_point_one_way(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        assert imports_of(path) == {"use"}  # for those who check types; see the last test
    else:
        assert imports_of(path) - {own} <= ALLOWED[own]


def test_the_map_names_every_part_and_has_no_cycle():
    parts = {path.name.removesuffix(".py") for path in PACKAGE.iterdir()}
    assert set(ALLOWED) == {part for part in parts if not part.startswith(("_", "py"))}
    order = list(ALLOWED)
    for part, imports in ALLOWED.items():
        assert all(order.index(other) < order.index(part) for other in imports), part


def test_analysis_is_never_imported_by_training():
    code = (
        "import multimodal_vit.train.loop, sys; print([m for m in sys.modules if 'analysis' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert [m for m in ast.literal_eval(done.stdout) if m.startswith("multimodal_vit")] == []


def test_importing_the_package_imports_nothing_else():
    code = (
        "import sys; before = set(sys.modules); import multimodal_vit; "
        "print(sorted(m for m in set(sys.modules) - before if 'multimodal' not in m))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    added = ast.literal_eval(done.stdout)
    assert not {name.split(".")[0] for name in added} & {"jax", "flax", "numpy", "tensorflow"}
