"""Packages whose names are imported when they are first used.

What a package offers stands once, in the stub beside its `__init__.py`, where editors and type checkers read it too:

    from labkit.insight.confusion import Confusion, confusion

The package itself says `lazy.attach(__name__)`, and `labkit.insight.confusion` is then imported by whoever first asks
for one of the two names, and by nobody else. A line such as `from labkit import data as data` names a module of the
package; `import *` leaves those out.
"""

from __future__ import annotations

import ast
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any


def attach(package: str) -> None:
    """Let a package import the names of its stub `__init__.pyi` when they are first used."""
    module: Any = sys.modules[package]
    stub = Path(module.__file__).with_suffix(".pyi")
    homes = {
        name.asname or name.name: (node.module, name.name)
        for node in ast.parse(stub.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    names = sorted(name for name, (home, _) in homes.items() if home != package)
    vars(module).update(_homes=homes, __all__=names)
    module.__class__ = LazyPackage


class LazyPackage(ModuleType):
    """A package that knows in which module each of its names lives."""

    _homes: dict[str, tuple[str, str]]
    __all__: list[str]

    def __getattr__(self, name: str) -> Any:
        if name not in self._homes:
            raise AttributeError(
                f"{self.__name__} has no {name!r}; it has {', '.join(self.__all__)}"
            )
        home, original = self._homes[name]
        if home == self.__name__:  # a module of the package
            return import_module(f"{home}.{original}")
        value = getattr(import_module(home), original)
        vars(self)[name] = value
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        """Python binds every module to its package. Where one is named as what it holds, the name is the latter's."""
        if not (name in self._homes and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *self._homes})
