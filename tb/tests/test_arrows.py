"""Who may import whom: tb -> hw -> model.arch, and tb -> model."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _imports(package: str) -> dict[str, set[str]]:
    """File to the modules of this project that it imports."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / package).rglob("*.py"):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
        ours = {name for name in names if name.split(".")[0] in ("model", "hw", "tb")}
        found[str(path.relative_to(ROOT))] = ours
    return found


def test_the_model_knows_nothing_of_hardware_or_bench():
    for path, names in _imports("model").items():
        assert {name.split(".")[0] for name in names} <= {"model"}, path


#: What a command line needs, and no hardware is made of.
OF_A_COMMAND = {"hw/emit.py": ("model.arguments.", "model.files.")}


def test_the_hardware_takes_nothing_but_the_encodings_from_the_model():
    for path, names in _imports("hw").items():
        own = ("hw.", *OF_A_COMMAND.get(path, ()))
        others = {name for name in names if not name.startswith(own)}
        assert all(name.startswith("model.arch") for name in others), (path, others)
    assert any(name.startswith("model.arch") for name in _imports("hw")["hw/step.py"])
