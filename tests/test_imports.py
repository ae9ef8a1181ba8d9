"""The package's layers: imports go only downwards, without circles, and `import agnlib` brings nothing heavy."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from xml.etree import ElementTree

import pytest

import agnlib

ROOT = Path(agnlib.__file__).parent
LAYERS = (  # from the bottom up
    {"errors", "memory"},
    {"_shared", "_train_options", "ops", "tiling"},
    {"image", "layers", "losses", "neighbors"},
    {"metrics", "models", "video"},
    {"engines"},
    {"styles"},
    {"_exported", "evaluation", "painting", "training"},
    {"demo", "folder", "stylizer", "testing", "web"},
    {"cli", "transforms"},
    {"__main__"},
)
LAYER_OF = {subpackage: level for level, subpackages in enumerate(LAYERS) for subpackage in subpackages}
HEAVY = ("torch", "torchvision", "numpy", "PIL", "safetensors", "tqdm")


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Dotted name and syntax tree of every module, without the package's own lazy `__init__`."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts != ("__init__",):
            name = ".".join(("agnlib", *(parts[:-1] if parts[-1] == "__init__" else parts)))
            yield name, ast.parse(path.read_text("utf-8"))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(tree: ast.AST, *, inside_functions: bool) -> Iterator[str]:
    """What a module imports, dotted; imports for type checkers alone do not count."""
    for node in ast.iter_child_nodes(tree):
        if is_type_checking(node):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif inside_functions or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from imports(node, inside_functions=inside_functions)


def subpackage(name: str) -> str | None:
    """The subpackage of agnlib that a dotted name lies in; None for other packages and for the version number."""
    parts = name.split(".")
    if parts[0] != "agnlib" or len(parts) < 2 or name == "agnlib.__version__":
        return None
    return parts[1]


def test_every_subpackage_has_a_layer() -> None:
    subpackages = {subpackage(name) for name, _ in modules()}
    assert subpackages <= set(LAYER_OF), f"say in LAYERS where {subpackages - set(LAYER_OF)} belong"


def test_imports_go_downwards() -> None:
    for name, tree in modules():
        for imported in imports(tree, inside_functions=True):
            target = subpackage(imported)
            if target is not None:
                assert target in LAYER_OF, f"{name} imports {imported} through the package; import its module"
                assert LAYER_OF[target] <= LAYER_OF[str(subpackage(name))], (
                    f"{name} imports {imported} from a layer above"
                )


def test_subpackages_import_each_other_in_no_circle() -> None:
    graph: dict[str, set[str]] = defaultdict(set)
    for name, tree in modules():
        targets = {subpackage(imported) for imported in imports(tree, inside_functions=True)}
        graph[str(subpackage(name))] |= {target for target in targets if target not in (None, subpackage(name))}
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_modules_form_no_circle_at_import() -> None:
    trees = dict(modules())
    graph = {
        name: {known for imported in imports(tree, inside_functions=False) if (known := nearest(imported, trees))}
        for name, tree in trees.items()
    }
    for name, targets in graph.items():  # a package may gather what its own modules define
        if any(other.startswith(f"{name}.") for other in trees):
            graph[name] = {target for target in targets if not target.startswith(f"{name}.")}
    TopologicalSorter(graph).prepare()


def nearest(imported: str, trees: dict[str, ast.Module]) -> str | None:
    """The module that `from module import name` reaches: the name itself if it is one, else its parent."""
    for candidate in (imported, imported.rpartition(".")[0]):
        if candidate in trees:
            return candidate
    return None


def test_the_map_is_drawn_of_every_subpackage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT.parent / "docs"))
    figure = importlib.import_module("_import_layers")
    stack = figure.layers(figure.subpackages())
    here = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert {subpackage for layer in stack for subpackage in layer} == here - {"__init__"}
    picture = ElementTree.fromstring(figure.drawn(stack))
    texts = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert sorted(texts) == sorted(here - {"__init__"})


def test_losses_are_handed_their_encoders() -> None:
    for name, tree in modules():
        if subpackage(name) == "losses":
            assert not [each for each in imports(tree, inside_functions=True) if subpackage(each) == "models"]


def test_torchvision_is_imported_only_where_it_is_used() -> None:
    for name, tree in modules():
        if subpackage(name) != "transforms":
            top = [each.split(".")[0] for each in imports(tree, inside_functions=False)]
            assert "torchvision" not in top, name


def run(program: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT.parent)}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program], env=environment, capture_output=True, text=True, check=False
    )


def test_importing_the_package_loads_nothing_heavy() -> None:
    done = run(f"import sys, agnlib; print([name for name in {HEAVY} if name in sys.modules])")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_image_files_need_no_torch() -> None:
    done = run("import sys, agnlib.image; print('torch' in sys.modules)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


def test_the_stylizer_needs_no_torchvision() -> None:
    done = run("import sys; from agnlib import Stylizer; print('torchvision' in sys.modules)")
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
