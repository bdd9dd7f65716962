"""Every benchmark can be started: none names what is no longer there."""

import importlib
import pkgutil

import pytest

import benchmarks


@pytest.mark.parametrize("name", [one.name for one in pkgutil.iter_modules(benchmarks.__path__) if one.name[0] != "_"])
def test_a_benchmark_imports_what_it_measures(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")
