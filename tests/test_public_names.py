"""The public names: all that `dir` shows, each of them importable, none hidden by a module."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
import types

import pytest

import sansfilm
import sansfilm_kernels

PACKAGES = [sansfilm, sansfilm_kernels]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_all_is_sorted_and_without_doubles(package):
    assert list(package.__all__) == sorted(set(package.__all__))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_name_is_there_and_described(package):
    for name in package.__all__:
        found = getattr(package, name)
        assert not isinstance(found, types.ModuleType), name
        assert inspect.getdoc(found), name
        assert found.__module__.startswith(package.__name__), name


def test_dir_shows_the_public_names_and_nothing_else():
    assert dir(sansfilm) == sansfilm.__all__


def test_star_import_gives_every_name():
    namespace = {}
    exec("from sansfilm import *", namespace)
    assert set(sansfilm.__all__) <= namespace.keys()
    assert namespace["ingest"] is importlib.import_module("sansfilm.intake").ingest


def test_no_module_has_the_name_of_a_public_function():
    """Importing it would put the module in the place of the function."""
    modules = {module.name for module in pkgutil.iter_modules(sansfilm.__path__)}
    assert modules.isdisjoint(sansfilm.__all__)


@pytest.mark.parametrize("name", sansfilm._LAZY)
def test_each_name_can_be_the_first_that_is_used(name):
    """Also after every module was imported, which sets attributes of the package."""
    script = (
        f"import sansfilm; first = sansfilm.{name}\n"
        "import sansfilm.archive, sansfilm.convert, sansfilm.view.volume\n"
        f"from sansfilm import {name}\n"
        f"assert first is {name} is sansfilm.{name}\n"
        f"assert {name}.__doc__"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_name_that_is_not_there_is_told():
    with pytest.raises(AttributeError, match="module 'sansfilm' has no attribute 'ingset'"):
        sansfilm.ingset  # noqa: B018 - the attribute access is what is tested
    with pytest.raises(ImportError):
        exec("from sansfilm import ingset", {})


def test_the_library_has_a_silent_root_logger():
    import logging

    handlers = logging.getLogger("sansfilm").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)
