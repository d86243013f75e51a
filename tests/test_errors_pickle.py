"""Every exception comes home from a worker as it was raised, and says what it said there."""

import copy
import inspect
import pickle

import pytest

from sansfilm import errors
from sansfilm.errors import DESCRIPTIONS, BadInstanceError, Problem, ProblemCode, SansfilmError

CLASSES = sorted(
    (
        found
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, SansfilmError)
    ),
    key=lambda found: found.__name__,
)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("arguments", [("what",), ("where", "why"), ("päth/€", "naïve")])
@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_survives_pickling(kind, arguments, protocol):
    if kind is BadInstanceError:
        arguments = (ProblemCode.DECODE_FAILED, *arguments)
    raised = kind(*arguments)
    for back in (pickle.loads(pickle.dumps(raised, protocol)), copy.copy(raised)):
        assert type(back) is kind
        assert back.args == raised.args == arguments
        assert str(back) == str(raised) == ": ".join(arguments)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_is_in_the_tree_and_also_what_a_caller_expects(kind):
    if kind is SansfilmError:
        return
    builtin = kind.__bases__[1]
    assert builtin.__module__ == "builtins"
    (line,) = [line for line in errors.__doc__.splitlines() if kind.__name__ in line]
    assert f"({builtin.__name__})" in line
    assert inspect.getdoc(kind)
    assert kind.__init__ is builtin.__init__  # no arguments of its own: pickle would lose them


def test_a_bad_instance_carries_its_code_and_message():
    error = pickle.loads(pickle.dumps(BadInstanceError(ProblemCode.BAD_VALUE, "Rows is 0")))
    assert (error.code, error.message) == (ProblemCode.BAD_VALUE, "Rows is 0")


def test_every_code_is_described_in_a_sentence():
    assert set(DESCRIPTIONS) == set(ProblemCode)
    assert all(text.endswith(".") and len(text) < 100 for text in DESCRIPTIONS.values())
    assert all(code == code.value == code.name for code in ProblemCode)


def test_a_problem_survives_pickling_and_cannot_be_changed():
    problem = Problem("a.dcm", "headers", ProblemCode.NOT_DICOM, "why", frames=3)
    back = pickle.loads(pickle.dumps(problem))
    assert back == problem
    assert back.code is ProblemCode.NOT_DICOM
    with pytest.raises(AttributeError):
        back.frames = 4
