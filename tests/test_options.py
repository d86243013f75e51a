"""Options: checked when they are made, frozen, and part of what a volume is where they shape it."""

import dataclasses
import json
import pickle
from dataclasses import fields, replace

import pytest
import synth

from sansfilm.errors import OptionError
from sansfilm.intake import ingest
from sansfilm.options import Budgets, Options, Storage, Tolerances

CLASSES = [Budgets, Tolerances, Storage, Options]


@pytest.mark.parametrize("kind", CLASSES)
def test_defaults_are_valid_frozen_named_and_travel(kind):
    options = kind()
    for field in fields(kind):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(options, field.name, 1)
    with pytest.raises(TypeError):
        kind(1)
    with pytest.raises(TypeError, match="unexpected keyword"):
        kind(chnuk=64)
    assert pickle.loads(pickle.dumps(options)) == options
    assert hash(options) == hash(kind())


@pytest.mark.parametrize("name", [field.name for field in fields(Budgets)])
@pytest.mark.parametrize("value", [0, -1])
def test_a_budget_is_at_least_one(name, value):
    with pytest.raises(OptionError, match=f"budget {name} must be at least 1, got {value}"):
        Budgets(**{name: value})
    assert getattr(Budgets(**{name: 1}), name) == 1


@pytest.mark.parametrize("name", [field.name for field in fields(Tolerances)])
@pytest.mark.parametrize("value", [0, -0.1, float("nan"), float("inf")])
def test_a_tolerance_is_positive_and_finite(name, value):
    with pytest.raises(OptionError, match=f"tolerance {name} must be positive, got {value}"):
        Tolerances(**{name: value})


@pytest.mark.parametrize("name", ["chunk", "slab"])
@pytest.mark.parametrize("value", [0, -2, 3, 63, 65])
def test_chunk_and_slab_are_powers_of_two(name, value):
    with pytest.raises(OptionError, match=f"{name} must be a power of two, got {value}"):
        Storage(**{name: value})
    for exponent in range(9):
        assert getattr(Storage(**{name: 2**exponent}), name) == 2**exponent


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"smallest": 0}, "smallest must be at least 1"),
        ({"compression_level": 0}, "compression_level must be 1 to 9"),
        ({"compression_level": 10}, "compression_level must be 1 to 9"),
    ],
)
def test_what_storage_cannot_be_is_said(wrong, why):
    with pytest.raises(OptionError, match=why):
        Storage(**wrong)


def test_a_device_is_one_of_three():
    for device in ("auto", "cpu", "gpu"):
        assert Options(device=device).device == device
    with pytest.raises(OptionError, match="device must be auto, cpu or gpu, got 'cuda'"):
        Options(device="cuda")


def test_a_wrong_option_is_a_value_error():
    with pytest.raises(ValueError, match="slab"):
        Storage(slab=7)


def test_shaping_is_json_and_leaves_out_what_changes_no_byte():
    plain = Options().shaping()
    assert json.loads(json.dumps(plain)) == plain
    for other in (
        Options(budgets=Budgets(depth=7)),
        Options(device="cpu"),
        Options(prefer=("pylibjpeg", "native")),
    ):
        assert other.shaping() == plain


@pytest.mark.parametrize("kind", [Storage, Tolerances])
def test_every_option_that_shapes_a_volume_is_part_of_its_identity(tmp_path, kind):
    made = synth.series(tmp_path / "in", slices=2)

    def volume_id(options):
        (row,) = ingest(made.folder, tmp_path / "a", options=options, dry_run=True).volumes
        return row["volume_id"]

    seen = {volume_id(Options())}
    for field in fields(kind):
        changed = replace(kind(), **{field.name: getattr(kind(), field.name) * 2})
        seen.add(volume_id(Options(**{kind.__name__.lower(): changed})))
    assert len(seen) == 1 + len(fields(kind))
    assert volume_id(Options(budgets=Budgets(frames=9), device="cpu")) in seen
