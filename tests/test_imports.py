"""Imports go one way, without circles, and few modules know Kedro."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src/deepfake_detection"
NAME = "deepfake_detection"

# Each imports from those before it alone; those in one line don't import each other
LAYERS = (
    {"errors"},
    {"atomic_write", "csv_cells", "file_lock", "interruptions", "terminal"},
    {"parameters"},
    {"images", "command_options"},
    {"faces"},
    {"models"},
    {"metrics"},
    {"reports", "training"},
    {"datasets", "page", "pipelines"},
)
KNOW_KEDRO = {
    "settings", "pipeline_registry", "hooks", "config_loader", "cli", "checks", "__main__",
    "mlflow_hooks",
}  # fmt: skip


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> set[str]:
    """All modules that a file imports, also inside functions; not those for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return imported


MODULES = {_name(path): _imports(path) for path in PACKAGE.rglob("*.py")}
OWN = {
    module: {
        name.removeprefix(f"{NAME}.")
        for name in imported
        if name.removeprefix(f"{NAME}.") in MODULES and name != NAME
    }
    - {module}
    for module, imported in MODULES.items()
}


def _layer(module: str) -> int | None:
    top = module.split(".", 1)[0]
    return next((rank for rank, layer in enumerate(LAYERS) if top in layer), None)


def test_imports_have_no_circle() -> None:
    # a package's __init__ may import its own modules
    packages = {_name(path.parent / "__init__.py") for path in PACKAGE.rglob("__init__.py")}
    graph = {
        module: {each for each in own if not (each in packages and module.startswith(f"{each}."))}
        for module, own in OWN.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_imports_go_one_way() -> None:
    wrong = [
        f"{module} imports {each}"
        for module, own in OWN.items()
        for each in own
        if (rank := _layer(module)) is not None and _is_above(each, module, rank)
    ]
    assert not wrong


def _is_above(imported: str, module: str, rank: int) -> bool:
    theirs, top = _layer(imported), module.split(".", 1)[0]
    return theirs is None or theirs > rank or (theirs == rank and imported.split(".", 1)[0] != top)


def test_few_modules_know_kedro() -> None:
    wrong = [
        module
        for module, imported in MODULES.items()
        if module.split(".", 1)[0] not in KNOW_KEDRO | {"datasets", "runners"}
        and module.rsplit(".", 1)[-1] != "pipeline"
        and any(name.split(".", 1)[0] == "kedro" for name in imported)
    ]
    assert not wrong


def test_processes_that_read_pictures_do_without_pytorch() -> None:
    """Each process that `map_in_processes` starts imports the caller's module and its packages."""
    callers = [module for module, own in OWN.items() if "images.parallel" in own]
    assert callers
    for module in callers:
        reached, waiting = set(), [module]
        while waiting:
            each = waiting.pop()
            parents = {each.rsplit(".", at)[0] for at in range(1, each.count(".") + 1)}
            new = ({each} | parents) & MODULES.keys() - reached
            reached |= new
            waiting += [further for one in new for further in OWN[one]]
        imported = {name.split(".", 1)[0] for each in reached for name in MODULES[each]}
        assert not imported & {"torch", "torchvision"}, module
