"""The metadata of a volume: where its voxels lie on every level, how it is shown, what it is."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import synth

from sansfilm.assemble.levels import plan_levels
from sansfilm.model import FrameResult, SlabResult
from sansfilm.options import Storage
from sansfilm.store.ome import array_attributes, group_attributes

OBLIQUE = (0, 0.8, -0.6, 0.6, 0.48, 0.64)
LEVELS = Storage(chunk=4, slab=8, smallest=3)


@pytest.fixture
def attributes(tmp_path, plan_of):
    """Give a function that makes the attributes of a synthetic series, and its plan."""

    def make(limits=(-1024.0, 3071.0), **series):
        made = synth.series(tmp_path / "in", **{"slices": 9, "rows": 12, "columns": 10, **series})
        plan = plan_of(made.folder)
        frames = tuple(FrameResult(uid, 1, "", "native") for uid in made.sop_uids)
        levels = plan_levels(plan.shape, plan.spacing_mm, LEVELS)
        found = group_attributes(plan, levels, [SlabResult(0, (), frames, limits)])
        return json.loads(json.dumps(found, allow_nan=False)), plan, levels, made

    return make


def unplaced(dataset, index):
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient


@pytest.mark.parametrize(
    "place",
    [
        {},
        {"orientation": OBLIQUE, "spacing": (1.25, 0.5, 0.75)},
        {"orientation": OBLIQUE, "spacing": (0.3, 1.0, 1.0)},
        {"orientation": (0, 1, 0, 0, 0, -1), "spacing": (4, 0.5, 0.5)},
        {"orientation": (-1, 0, 0, 0, -1, 0), "origin": (0, 0, 0)},
        {"slices": 1},
    ],
    ids=["axial", "oblique", "oblique, thin slices", "sagittal", "turned", "single"],
)
def test_a_voxel_of_any_level_lies_in_the_middle_of_those_it_covers(attributes, place):
    """Along the directions of the array, which are those of the patient only if it is axial."""
    found, plan, levels, made = attributes(**place)
    directions = made.affine_lps[:3, :3] / np.linalg.norm(made.affine_lps[:3, :3], axis=0)
    datasets = found["ome"]["multiscales"][0]["datasets"]
    assert len(datasets) == len(levels) > 1
    for level, dataset in zip(levels, datasets, strict=True):
        assert dataset["path"] == level.path
        scale, translation = dataset["coordinateTransformations"]
        whole = [size // factor for size, factor in zip(plan.shape, level.factors, strict=True)]
        for index in product(*({0, count - 1} for count in whole if count) if all(whole) else ()):
            covered = product(
                *(range(i * f, (i + 1) * f) for i, f in zip(index, level.factors, strict=True))
            )
            worlds = [(made.affine_lps @ [*voxel, 1])[:3] for voxel in covered]
            middle = np.mean(worlds, axis=0) @ directions
            along = np.multiply(scale["scale"], index) + translation["translation"]
            np.testing.assert_allclose(along, middle, atol=1e-6)
        assert (scale["type"], translation["type"]) == ("scale", "translation")


def test_axes_have_names_units_and_directions(attributes):
    found, *_ = attributes(orientation=(0, 1, 0, 0, 0, -1))
    assert found["ome"]["multiscales"][0]["axes"] == [
        {"name": name, "type": "space", "unit": "millimeter",
         "orientation": {"type": "anatomical", "value": value}}
        for name, value in (
            ("z", "left-to-right"),  # the normal of a sagittal image: y cross -z is -x
            ("y", "superior-to-inferior"),
            ("x", "anterior-to-posterior"),
        )
    ]  # fmt: skip
    assert found["ome"]["version"] == "0.5"


def test_images_without_a_place_have_an_index_axis_and_no_affine(attributes):
    found, *_ = attributes(edit=unplaced, modality="OT")
    axes = found["ome"]["multiscales"][0]["axes"]
    assert axes[0] == {"name": "i", "type": "i"}
    assert [axis["unit"] for axis in axes[1:]] == ["millimeter"] * 2
    assert not any("orientation" in axis for axis in axes)
    first = found["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert first == [
        {"type": "scale", "scale": [1.0, 0.7, 0.8]},
        {"type": "translation", "translation": [0.0, 0.0, 0.0]},
    ]
    assert found["sansfilm"]["affine_lps"] is None
    assert found["sansfilm"]["spacing_mm"] == [None, 0.7, 0.8]
    assert found["ome"]["omero"]["rdefs"]["defaultZ"] == 0


def test_the_display_starts_with_the_first_window_of_the_middle_slice(attributes):
    def own(dataset, index):
        dataset.WindowCenter, dataset.WindowWidth = [100 * index, 7], [50, 9]

    found, *_ = attributes(edit=own)
    (channel,) = found["ome"]["omero"]["channels"]
    assert channel["window"] == {"min": -1024, "max": 3071, "start": 375, "end": 425}
    assert not channel["inverted"]
    assert found["ome"]["omero"]["rdefs"] == {"model": "greyscale", "defaultZ": 4}
    assert [(w["center"], w["width"]) for w in found["sansfilm"]["windows"]] == [(400, 50), (7, 9)]


@pytest.mark.parametrize(("slope", "ends"), [(0.5, (30, 430)), (-0.5, (-430, -30))])
def test_the_window_of_stored_values_is_in_stored_values(attributes, slope, ends):
    """(x - 5) / slope for x in 20 and 220; a negative slope turns them round."""
    found, plan, *_ = attributes(slope=slope, intercept=5, window=(120, 200))
    assert plan.rescale.applied == "attributes"
    (channel,) = found["ome"]["omero"]["channels"]
    assert (channel["window"]["start"], channel["window"]["end"]) == ends
    assert found["sansfilm"]["rescale"] == {
        "slope": slope, "intercept": 5, "unit": "HU", "applied": False, "per_frame": False,
    }  # fmt: skip
    assert array_attributes(plan) == {"units": "HU", "scale_factor": slope, "add_offset": 5}


def test_without_a_window_all_values_are_shown(attributes):
    found, *_ = attributes(window=None, limits=(-7.0, 9.0))
    (channel,) = found["ome"]["omero"]["channels"]
    assert channel["window"] == {"min": -7, "max": 9, "start": -7, "end": 9}
    assert found["sansfilm"]["windows"] == []


def test_the_limits_are_those_of_all_slabs(attributes):
    _, plan, levels, made = attributes()
    frames = tuple(FrameResult(uid, 1, "", "native") for uid in made.sop_uids)
    results = [SlabResult(0, (), frames, (3.0, 9.0)), SlabResult(1, (), frames, (-2.0, 5.0))]
    (channel,) = group_attributes(plan, levels, results)["ome"]["omero"]["channels"]
    assert (channel["window"]["min"], channel["window"]["max"]) == (-2, 9)


def test_monochrome1_is_shown_inverted(attributes):
    def inverted(dataset, index):
        dataset.PhotometricInterpretation = "MONOCHROME1"

    found, *_ = attributes(edit=inverted)
    assert found["ome"]["omero"]["channels"][0]["inverted"]
    assert found["sansfilm"]["photometric"] == "MONOCHROME1"


def test_our_own_attributes_say_what_the_headers_say(attributes):
    def lossy(dataset, index):
        if index == 3:
            dataset.LossyImageCompression = "01"
            dataset.LossyImageCompressionRatio = ["2", "10"]
            dataset.LossyImageCompressionMethod = "ISO_15444_1"

    found, plan, _, made = attributes(edit=lossy, padding=0, orientation=OBLIQUE)
    own = found["sansfilm"]
    np.testing.assert_allclose(own["affine_lps"], made.affine_lps, atol=1e-9)
    assert own["padding"] == [-1024, -1024]
    assert own["lossy"] == {"is_lossy": True, "method": "ISO_15444_1", "ratio": 10, "near": None}
    assert own["rescale"] == {
        "slope": 1, "intercept": -1024, "unit": "HU", "applied": True, "per_frame": False,
    }  # fmt: skip
    assert own["verdict"]["code"] == "regular"
    assert own["transfer_syntaxes"] == [synth.EXPLICIT_LE]
    assert own["decoders"] == {synth.EXPLICIT_LE: ["native"]}
    assert (own["series_uid"], own["study_uid"]) == (made.series_uid, made.study_uid)
    assert own["frame_of_reference_uid"] == f"{made.study_uid}.3"
    assert (own["modality"], own["bits_stored"], own["frames"]) == ("CT", 12, 9)
    assert own["missing"] == []
    assert array_attributes(plan) == {"units": "HU"}
    assert "ZZPHI" not in json.dumps(found)


def test_several_syntaxes_are_all_named_with_their_decoders(attributes):
    _, plan, levels, made = attributes()
    other = replace(
        plan.frames[2], spec=replace(plan.frames[2].spec, transfer_syntax=synth.JPEG_LS)
    )
    mixed = replace(plan, frames=(*plan.frames[:2], other, *plan.frames[3:]))
    names = ["native", "native", "imagecodecs", *["native"] * 6]
    frames = tuple(
        FrameResult(uid, 1, "", name) for uid, name in zip(made.sop_uids, names, strict=True)
    )
    own = group_attributes(mixed, levels, [SlabResult(0, (), frames)])["sansfilm"]
    assert own["transfer_syntaxes"] == [synth.EXPLICIT_LE, synth.JPEG_LS]
    assert own["decoders"] == {synth.EXPLICIT_LE: ["native"], synth.JPEG_LS: ["imagecodecs"]}
