"""The source of a module of this package, as code that runs without the package."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

_PACKAGE = "deepfake_detection"


def make_standalone(module: ModuleType) -> str:
    """The code of a module, with all definitions of this package that it uses.

    Definitions are functions, classes and constants. What only annotations name is left out, and so
    is what modules do besides when they are imported; `if` at the top level of the module itself is
    kept.

    Raises:
        ValueError: If two definitions that are needed have the same name.
    """
    root = _Module(module.__name__)
    collected = _Collected()
    for name in root.definitions:
        collected.add(module.__name__, name)
    parts = [
        f'"""{module.__doc__}"""',
        "# Made from the source of deepfake-detection, under its MIT licence",
        "from __future__ import annotations",
        "\n".join(sorted(collected.imports)),
        *(text for _, text in collected.definitions.values()),
        *map(root.text_of, root.conditions),
    ]
    return "\n\n\n".join(parts) + "\n"


class _Collected:
    """Definitions, each after those that it uses, and the imports of other packages."""

    def __init__(self) -> None:
        self.definitions: dict[str, tuple[str, str]] = {}  # by name: module and text
        self.imports: set[str] = set()
        self._modules: dict[str, _Module] = {}

    def add(self, module_name: str, name: str) -> None:
        """Add what a name means at the top level of a module, if it is no builtin."""
        module = self._modules.setdefault(module_name, _Module(module_name))
        if (imported := module.imports.get(name)) is not None:
            if imported.module and imported.module.split(".")[0] == _PACKAGE:
                self.add(imported.module, imported.name)
            else:
                self.imports.add(imported.text)
        elif (node := module.definitions.get(name)) is not None:
            if name not in self.definitions:
                # a function may use itself
                self.definitions[name] = module_name, ""
                for used in _used_names(node):
                    self.add(module_name, used)
                del self.definitions[name]
                self.definitions[name] = module_name, module.text_of(node)
            elif (other := self.definitions[name][0]) != module_name:
                raise ValueError(f"{name} is defined in {module_name} and in {other}")


@dataclass(frozen=True)
class _Import:
    text: str
    module: str | None  # of `from module import name`
    name: str


class _Module:
    """The top level of a module's source."""

    def __init__(self, name: str) -> None:
        self._source = inspect.getsource(importlib.import_module(name))
        self._tree = ast.parse(self._source)

    @cached_property
    def definitions(self) -> dict[str, ast.stmt]:
        """Functions, classes and assigned names."""
        found: dict[str, ast.stmt] = {}
        for node in self._tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found[node.name] = node
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {each.id: node for each in targets if isinstance(each, ast.Name)}
        return found

    @property
    def conditions(self) -> list[ast.If]:
        """`if` at the top level."""
        return [node for node in self._tree.body if isinstance(node, ast.If)]

    @cached_property
    def imports(self) -> dict[str, _Import]:
        """The import of each name."""
        found = {}
        for node in self._tree.body:
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            source = node.module if isinstance(node, ast.ImportFrom) else None
            for each in node.names:
                text = f"import {each.name}" + (f" as {each.asname}" if each.asname else "")
                text = f"from {source} {text}" if source else text
                found[each.asname or each.name.split(".")[0]] = _Import(text, source, each.name)
        return found

    def text_of(self, node: ast.stmt) -> str:
        """A definition with its decorators and the comment above it."""
        lines = self._source.splitlines()
        decorators = getattr(node, "decorator_list", [])
        first = min(each.lineno for each in [node, *decorators]) - 1
        while first and lines[first - 1].startswith("#"):
            first -= 1
        return "\n".join(lines[first : node.end_lineno])


def _used_names(node: ast.stmt) -> Iterator[str]:
    """Names that the code of a definition reads, in order; not those of annotations."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load):
                yield each.id
            elif isinstance(each, ast.AST):
                yield from _used_names(each)  # type: ignore[arg-type]
