"""Which axes several frames at each place make: every flavour, and what must hold for any input."""

import random
import time
from collections import defaultdict
from itertools import permutations

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansfilm.planning.axes import REPEAT, Dimensions, Refusal, plan_dimensions

TR = 2.0
NOON = 43200.0


def plan(cells):
    """Plan frames given as (place, values), and check what must hold of any plan."""
    places, values = [place for place, _ in cells], [values for _, values in cells]
    found = plan_dimensions(places, values)
    if isinstance(found, Dimensions):
        shape = [len(axis.values) for axis in found.axes]
        taken = {(*index, place) for index, place in zip(found.index, places, strict=True)}
        assert len(taken) == len(cells) == len(found.index)
        assert all(0 <= i < n for index in found.index for i, n in zip(index, shape, strict=True))
        assert not taken & set(found.missing)
        whole = len(set(places))
        for n in shape:
            whole *= n
        assert len(taken) + len(set(found.missing)) == whole
    else:
        assert isinstance(found, Refusal)
        assert found.text.endswith(".")
    return found


def placed(cells, found):
    """Return {cell: values}."""
    return {
        (*index, place): values for (place, values), index in zip(cells, found.index, strict=True)
    }


def names(found):
    return [axis.name for axis in found.axes]


def interleaved(places):
    """Return how far into the volume each place is measured, of 1."""
    order = [*range(0, places, 2), *range(1, places, 2)]
    return {place: order.index(place) / places for place in range(places)}


def fmri(places, volumes, offset=None, start=NOON):
    offset = offset or interleaved(places)
    return [
        (p, {"AcquisitionTime": start + (v + offset[p]) * TR, "EchoTime": 30.0, "volume": str(v)})
        for v in range(volumes)
        for p in range(places)
    ]


def blind(cells):
    """Take the truth out of the values."""
    return [(p, {k: v for k, v in values.items() if k != "volume"}) for p, values in cells]


def assert_true_volumes(cells, found):
    """Check that the first axis is the volume that each frame was made in."""
    assert [str(index[0]) for index in found.index] == [values["volume"] for _, values in cells]


# ------------------------------------------------------------------------------------------- time


def test_one_frame_per_place_has_no_axes():
    found = plan([(p, {"EchoTime": float(p)}) for p in range(5)])
    assert (found.axes, found.missing, set(found.index)) == ((), (), {()})
    assert plan_dimensions([], []).axes == ()


def test_temporal_positions_come_before_times():
    cells = [
        (p, {"TemporalPositionIdentifier": float(v), "AcquisitionTime": NOON + TR * v + p / 9})
        for v in (1, 2, 3, 4)
        for p in range(6)
    ]
    found = plan(cells)
    (axis,) = found.axes
    assert (axis.name, axis.values, axis.by) == ("t", (1.0, 2.0, 3.0, 4.0), "value")
    assert axis.keywords == ("TemporalPositionIdentifier",)
    assert axis.seconds == pytest.approx([0, 2, 4, 6])
    assert found.numbers["ordered_by"] == "TemporalPositionIdentifier"


@pytest.mark.parametrize("order", ["interleaved", "descending", "at once", "two at a time"])
def test_times_of_slices_are_an_axis_by_rank(order):
    offset = {
        "interleaved": interleaved(7),
        "descending": {p: (6 - p) / 7 for p in range(7)},
        "at once": dict.fromkeys(range(7), 0.0),
        "two at a time": {p: p % 4 / 4 for p in range(7)},
    }[order]
    cells = fmri(7, 5, offset)
    found = plan(blind(cells))
    (axis,) = found.axes
    assert (axis.name, axis.unit, axis.keywords) == ("t", "s", ("AcquisitionTime",))
    assert axis.by == ("value" if order == "at once" else "rank")
    assert axis.values == pytest.approx([NOON + TR * v for v in range(5)])
    assert axis.seconds == pytest.approx([TR * v for v in range(5)])
    assert_true_volumes(cells, found)


def test_slices_may_be_measured_one_after_the_other():
    cells = [
        (p, {"AcquisitionTime": NOON + 20 * p + v, "volume": str(v)})
        for p in range(4)
        for v in range(6)
    ]
    assert_true_volumes(cells, plan(blind(cells)))


def test_a_scan_across_midnight_stays_in_order():
    cells = fmri(5, 6, start=86400 - 3 * TR)
    wrapped = [(p, v | {"AcquisitionTime": v["AcquisitionTime"] % 86400}) for p, v in cells]
    found = plan(blind(wrapped))
    assert_true_volumes(cells, found)
    assert found.axes[0].values[-1] > 86400


@pytest.mark.parametrize("left", [1, 3, 6])
def test_an_interrupted_last_volume_is_flagged(left):
    order = sorted(range(7), key=interleaved(7).__getitem__)
    cells = [c for c in fmri(7, 5) if c[1]["volume"] != "4" or c[0] in order[:left]]
    found = plan(blind(cells))
    assert_true_volumes(cells, found)
    assert found.missing == tuple((4, p) for p in sorted(order[left:]))
    assert found.numbers["missing"] == 7 - left
    assert f"{7 - left} frames are missing" in found.text


def test_a_frame_lost_in_the_middle_moves_no_other():
    for place, volume in [(3, 2), (6, 1), (2, 4)]:
        cells = [c for c in fmri(7, 5) if (c[0], c[1]["volume"]) != (place, str(volume))]
        found = plan(blind(cells))
        assert_true_volumes(cells, found)
        assert found.missing == ((volume, place),)


def test_a_lost_frame_that_says_nothing_of_where_is_refused():
    """The first slice starts the volumes; without one of its times they cannot be told."""
    cells = [c for c in fmri(7, 5) if (c[0], c[1]["volume"]) != (0, "2")]
    assert isinstance(plan(blind(cells)), Refusal)


def test_times_in_whole_seconds_do_not_mix_volumes():
    """At 1.1 s per volume, frames of two volumes share a second, each place another."""
    cells = [
        (p, {"AcquisitionTime": NOON + int(1.1 * (v + p / 11)), "volume": str(v)})
        for v in range(8)
        for p in range(11)
    ]
    assert_true_volumes(cells, plan(blind(cells)))


def test_phases_of_the_heart_are_ranked_however_fast_it_beats():
    beat = [1000.0, 940.0, 1100.0, 873.0]
    cells = [
        (p, {"TriggerTime": round(beat[p] * k / 25, 1), "volume": str(k)})
        for p in range(4)
        for k in range(25)
    ]
    found = plan(blind(cells))
    assert_true_volumes(cells, found)
    (axis,) = found.axes
    assert (axis.name, axis.unit, axis.by) == ("t", "ms", "rank")
    assert axis.values[-1] == pytest.approx(873 * 24 / 25, abs=0.1)
    assert axis.seconds[-1] == pytest.approx(0.838, abs=1e-3)
    lost = [c for c in cells if (c[0], c[1]["volume"]) != (2, "11")]
    assert isinstance(plan(blind(lost)), Refusal)


def test_the_time_since_a_heartbeat_does_not_shuffle_volumes():
    """Monitors write it into series that are not gated at all."""
    rng = random.Random(5)
    cells = [(p, v | {"TriggerTime": rng.uniform(0, 900)}) for p, v in fmri(5, 9)]
    found = plan(blind(cells))
    assert found.axes[0].keywords == ("AcquisitionTime",)
    assert_true_volumes(cells, found)
    one = [c for c in cells if c[0] == 0]
    assert_true_volumes(one, plan(blind(one)))


def test_cine_has_a_frame_time():
    cells = [(0, {"FrameTime": 33.3 * k, "InstanceNumber": 7.0}) for k in range(30)]
    (axis,) = plan(cells).axes
    assert (axis.name, axis.unit, axis.values[1]) == ("t", "ms", 33.3)
    assert axis.seconds[1] == pytest.approx(0.0333)


def test_a_time_that_only_depends_on_the_slice_is_no_axis():
    cells = [
        (p, {"TriggerTime": 30.0 * p, "AcquisitionTime": NOON + p, "EchoTime": e})
        for p in range(6)
        for e in (10.0, 80.0)
    ]
    assert names(plan(cells)) == ["echo"]


def test_cardiac_phases_of_ct_are_percentages():
    cells = [
        (p, {"NominalPercentageOfCardiacPhase": 10.0 * k, "AcquisitionTime": NOON + p})
        for p in range(6)
        for k in range(10)
    ]
    assert [(a.name, a.unit) for a in plan(cells).axes] == [("t", "%")]


def test_ct_perfusion_goes_by_acquisitions_though_the_table_swings():
    cells = []
    for v in range(6):
        for p in range(8):
            time = NOON + 3 * v + (p if v % 2 else 7 - p) / 8
            cells.append(
                (p, {"AcquisitionNumber": v + 1.0, "AcquisitionTime": time, "volume": str(v),
                     "InstanceNumber": 8.0 * v + p})
            )  # fmt: skip
    found = plan(blind(cells))
    assert found.axes[0].keywords == ("AcquisitionNumber",)
    assert found.axes[0].seconds == pytest.approx([3 * v for v in range(6)])
    assert_true_volumes(cells, found)
    numberless = [
        (p, {k: v for k, v in vals.items() if k != "AcquisitionNumber"}) for p, vals in cells
    ]
    found = plan(blind(numberless))
    assert found.axes[0].keywords == ("AcquisitionTime",)
    assert_true_volumes(cells, found)


def test_contrast_phases_at_the_same_places():
    cells = [
        (p, {"AcquisitionNumber": float(a), "AcquisitionTime": NOON + 40 * a + p / 10})
        for a in (3, 4)
        for p in range(30)
    ]
    found = plan(cells)
    assert [(a.name, a.values) for a in found.axes] == [("t", (3.0, 4.0))]
    named = [
        (
            p,
            v
            | {"ContrastBolusAgentPhase": "ARTERIAL" if v["AcquisitionNumber"] == 3 else "PORTAL"},
        )
        for p, v in cells
    ]
    assert [(a.name, a.values) for a in plan(named).axes] == [("phase", ("ARTERIAL", "PORTAL"))]


def test_acquisitions_that_cover_different_places_part():
    cells = [(p, {"AcquisitionNumber": 1.0, "InstanceNumber": 1.0 + p}) for p in range(20)]
    cells += [(p, {"AcquisitionNumber": 2.0, "InstanceNumber": 21.0 + p}) for p in range(12, 40)]
    found = plan(cells)
    assert isinstance(found, Refusal)
    assert found.parts == (0,) * 20 + (1,) * 28
    assert found.numbers["parted_by"] == "AcquisitionNumber"


def test_one_slice_that_was_repeated_is_no_second_volume():
    cells = [(p, {"AcquisitionTime": NOON + p, "InstanceNumber": 1.0 + p}) for p in range(20)]
    found = plan([*cells, (7, {"AcquisitionTime": NOON + 60, "InstanceNumber": 21.0})])
    assert isinstance(found, Refusal)
    assert found.numbers["differ_in"] == ["AcquisitionTime", "InstanceNumber"]


# ------------------------------------------------------------------------------- diffusion, echoes


def shells(repeats=1, directions=6):
    kinds = [{"DiffusionBValue": 0.0, "DiffusionDirectionality": "NONE"}] * repeats
    for k in range(directions):
        text = f"{k / 10}\\{0.3 - k / 10}\\0.9"
        kinds.append(
            {"DiffusionBValue": 1000.0, "DiffusionGradientOrientation": text,
             "DiffusionDirectionality": "DIRECTIONAL"}
        )  # fmt: skip
    return kinds


def test_diffusion_is_one_axis_of_b_and_gradient():
    found = plan(
        [(p, kind | {"TemporalPositionIndex": 1.0}) for kind in shells() for p in range(4)]
    )
    (axis,) = found.axes
    assert axis.name == "b"
    assert axis.keywords == ("DiffusionBValue", "DiffusionGradientOrientation")
    assert axis.values[0] == {"DiffusionBValue": 0.0}
    assert axis.values[1] == {
        "DiffusionBValue": 1000.0,
        "DiffusionGradientOrientation": "0.0\\0.3\\0.9",
    }
    assert len(axis.values) == 7


def test_b_values_alone_are_an_axis_of_numbers():
    cells = [(p, {"DiffusionBValue": b}) for b in (800.0, 0.0, 50.0) for p in range(4)]
    (axis,) = plan(cells).axes
    assert (axis.name, axis.values, axis.unit) == ("b", (0.0, 50.0, 800.0), "s/mm2")


@pytest.mark.parametrize("clue", ["AcquisitionTime", "by slice", "AcquisitionNumber", "position"])
def test_repeats_of_b_0_are_told_by_time_and_fold(clue):
    kinds = shells(repeats=3)
    order = [0, 3, 4, 1, 5, 6, 2, 7, 8]
    cells = [
        (p, kinds[k] | {
            "AcquisitionTime": {"AcquisitionTime": NOON + 4.0 * v},
            "by slice": {"AcquisitionTime": NOON + 4.0 * v + p / 2},
            "AcquisitionNumber": {"AcquisitionNumber": v + 1.0},
            "position": {"TemporalPositionIdentifier": v + 1.0},
        }[clue])
        for v, k in enumerate(order)
        for p in range(5)
    ]  # fmt: skip
    found = plan(cells)
    (axis,) = found.axes
    assert (axis.name, len(axis.values), found.missing) == ("b", 9, ())
    assert [entry["DiffusionBValue"] for entry in axis.values] == [0.0] * 3 + [1000.0] * 6
    if clue == "by slice":
        assert [entry[REPEAT] for entry in axis.values] == [0, 1, 2, 0, 0, 0, 0, 0, 0]
    told = {index[0]: kind for index, (_, kind) in zip(found.index, cells, strict=True)}
    assert all(
        axis.values[i].get("DiffusionGradientOrientation")
        == kind.get("DiffusionGradientOrientation")
        for i, kind in told.items()
    )


def test_repeats_of_b_0_that_nothing_tells_apart_are_refused():
    found = plan([(p, kind) for kind in shells(repeats=2) for p in range(4)])
    assert isinstance(found, Refusal)
    assert "differ in nothing" in found.text


def test_diffusion_that_is_repeated_as_a_whole_has_two_axes():
    cells = [
        (p, kind | {"AcquisitionTime": NOON + 100 * r + 4 * k + p / 2})
        for r in range(3)
        for k, kind in enumerate(shells())
        for p in range(5)
    ]
    found = plan(cells)
    assert [(a.name, len(a.values)) for a in found.axes] == [("t", 3), ("b", 7)]


def test_an_interrupted_last_direction_is_flagged():
    cells = [(p, kind) for kind in shells() for p in range(5)][:-4]
    found = plan(cells)
    assert found.missing == tuple((6, p) for p in (1, 2, 3, 4))


def test_echoes_compare_within_a_tolerance():
    cells = [
        (p, {"EchoTime": echo + (1e-7 if p % 2 else 0.0), "EchoNumbers": k + 1.0})
        for p in range(5)
        for k, echo in enumerate((4.92, 7.38, 9.84))
    ]
    (axis,) = plan(cells).axes
    assert (axis.name, axis.values, axis.unit) == ("echo", (4.92, 7.38, 9.84), "ms")
    assert axis.keywords == ("EchoTime",)


def test_a_tolerance_does_not_chain():
    """Forty echoes, each within the tolerance of the one before: two levels, not one."""
    cells = [(p, {"EchoTime": 10 + 1e-4 * p}) for p in range(20)]
    cells += [(p, {"EchoTime": 20 + 1e-4 * p}) for p in range(20)]
    assert isinstance(plan(cells), Refusal)


def test_whole_numbers_are_never_one():
    cells = [(p, {"TemporalPositionIdentifier": 20000.0 + v}) for p in range(3) for v in range(4)]
    assert len(plan(cells).axes[0].values) == 4


def test_echo_numbers_do_where_there_are_no_echo_times():
    cells = [(p, {"EchoTime": 0.0, "EchoNumbers": e}) for p in range(5) for e in (1.0, 2.0)]
    assert [(a.name, a.keywords) for a in plan(cells).axes] == [("echo", ("EchoNumbers",))]


def test_time_and_echo_are_two_axes():
    cells = [
        (p, {"AcquisitionTime": NOON + TR * (v + p / 6), "EchoTime": echo, "volume": str(v)})
        for v in range(4)
        for p in range(6)
        for echo in (10.0, 25.0, 40.0)
    ]
    found = plan(blind(cells))
    assert [(a.name, len(a.values)) for a in found.axes] == [("t", 4), ("echo", 3)]
    assert_true_volumes(cells, found)
    short = cells[:-7]
    found = plan(blind(short))
    assert_true_volumes(short, found)
    lost = [(3, 2, 3), *((3, echo, place) for echo in range(3) for place in (4, 5))]
    assert found.missing == tuple(sorted(lost))


def test_echo_and_component_fold_into_one_axis():
    cells = [
        (p, {"EchoTime": echo, "ImageType": f"ORIGINAL\\PRIMARY\\{part}\\NONE"})
        for p in range(5)
        for echo in (5.0, 10.0)
        for part in ("P", "M")
    ]
    (axis,) = plan(cells).axes
    assert axis.name == "echo_component"
    assert axis.values == (
        {"EchoTime": 5.0, "ComplexImageComponent": "MAGNITUDE"},
        {"EchoTime": 5.0, "ComplexImageComponent": "PHASE"},
        {"EchoTime": 10.0, "ComplexImageComponent": "MAGNITUDE"},
        {"EchoTime": 10.0, "ComplexImageComponent": "PHASE"},
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"ComplexImageComponent": "MAGNITUDE"}, {"ComplexImageComponent": "PHASE"}),
        (
            {"ImageType": "ORIGINAL\\PRIMARY\\M\\NONE\\NORM"},
            {"ImageType": "ORIGINAL\\PRIMARY\\P\\NONE"},
        ),
        (
            {"ImageType": "ORIGINAL\\PRIMARY\\M_FFE\\M\\FFE"},
            {"ImageType": "ORIGINAL\\PRIMARY\\PHASE MAP\\P\\FFE"},
        ),
        (
            {"ComplexImageComponent": "MIXED", "FrameType": "ORIGINAL\\PRIMARY\\M_PCA\\M"},
            {"ComplexImageComponent": "MIXED", "FrameType": "ORIGINAL\\PRIMARY\\P\\P"},
        ),
    ],
    ids=["stated (GE, enhanced)", "Siemens", "Philips", "mixed"],
)
def test_magnitude_and_phase(first, second):
    (axis,) = plan([(p, kind) for p in range(4) for kind in (second, first)]).axes
    assert (axis.name, axis.values) == ("component", ("MAGNITUDE", "PHASE"))


def test_cine_of_magnitude_and_phase():
    cells = [
        (p, {"TriggerTime": 40.0 * k + p, "ImageType": f"ORIGINAL\\PRIMARY\\{part}"})
        for p in range(3)
        for k in range(12)
        for part in "MP"
    ]
    assert [(a.name, len(a.values)) for a in plan(cells).axes] == [("t", 12), ("component", 2)]


def test_water_and_fat_differ_in_image_type():
    kinds = ["DERIVED\\PRIMARY\\DIXON\\WATER", "DERIVED\\PRIMARY\\DIXON\\FAT"]
    (axis,) = plan([(p, {"ImageType": kind}) for p in range(4) for kind in kinds]).axes
    assert (axis.name, axis.values) == ("image_type", tuple(sorted(kinds)))


def test_inversion_times_that_follow_the_heart_are_ranked():
    cells = [
        (p, {"InversionTime": 120.0 + (980 + 13 * p) * k, "volume": str(k)})
        for p in range(3)
        for k in range(8)
    ]
    found = plan(blind(cells))
    assert [(a.name, a.unit, a.by) for a in found.axes] == [("inversion", "ms", "rank")]
    assert_true_volumes(cells, found)


def test_two_kinds_of_time_are_two_axes():
    cells = [
        (p, {"TemporalPositionIdentifier": d, "TriggerTime": 50.0 * k})
        for p in range(4)
        for d in (1.0, 2.0, 3.0)
        for k in range(5)
    ]
    assert [(a.name, len(a.values)) for a in plan(cells).axes] == [("t", 5), ("dynamic", 3)]


def test_dimension_indexes_serve_where_attributes_do_not():
    cells = [
        (p, {"Dimension:InStackPositionNumber": p, "Dimension:Temporal Position Index": t,
             "Dimension:(2005,1413)": g})
        for p in range(4)
        for t in (1, 2, 3)
        for g in (1, 2)
    ]  # fmt: skip
    assert [(a.name, len(a.values)) for a in plan(cells).axes] == [("t", 3), ("2005_1413", 2)]
    both = [(p, v | {"EffectiveEchoTime": 10.0 * v["Dimension:(2005,1413)"]}) for p, v in cells]
    assert names(plan(both)) == ["t", "echo"]


def test_an_odd_value_at_one_place_is_no_axis():
    cells = blind(fmri(8, 5))
    cells[12][1]["EchoTime"] = 31.0
    assert names(plan(cells)) == ["t"]


# ------------------------------------------------------------------------------- instance numbers


def numbered(places, volumes, by_volume):
    return [
        (p, {"InstanceNumber": float(v * places + p if by_volume else p * volumes + v),
             "volume": str(v)})
        for v in range(volumes)
        for p in range(places)
    ]  # fmt: skip


@pytest.mark.parametrize("by_volume", [True, False])
def test_instance_numbers_are_the_last_resort_and_say_so(by_volume):
    cells = numbered(6, 4, by_volume)
    found = plan(blind(cells))
    assert_true_volumes(cells, found)
    (axis,) = found.axes
    assert (axis.name, axis.values, axis.by, axis.unit) == ("i", (0, 1, 2, 3), "rank", "")
    assert found.numbers["ordered_by"] == "InstanceNumber"
    assert "Nothing but the order of the instance numbers" in found.text


def test_instance_numbers_are_time_where_temporal_positions_were_prescribed():
    cells = [(p, v | {"NumberOfTemporalPositions": 4.0}) for p, v in numbered(6, 4, by_volume=True)]
    assert names(plan(blind(cells))) == ["t"]
    cells = [(p, v | {"NumberOfTemporalPositions": 2.0}) for p, v in cells]
    assert names(plan(blind(cells))) == ["i"]


def test_instance_numbers_without_a_pattern_are_refused():
    numbers = list(range(24))
    random.Random(3).shuffle(numbers)
    cells = [(k % 6, {"InstanceNumber": float(n)}) for k, n in enumerate(numbers)]
    assert isinstance(plan(cells), Refusal)


def test_instance_numbers_number_the_repeats_of_b_0():
    cells = [
        (p, kind | {"InstanceNumber": 5.0 * k + p})
        for k, kind in enumerate(shells(repeats=2))
        for p in range(5)
    ]
    (axis,) = plan(cells).axes
    assert (axis.name, axis.by) == ("b", "rank")
    assert [entry[REPEAT] for entry in axis.values] == [0, 1, 0, 0, 0, 0, 0, 0]


# -------------------------------------------------------------------------------------- properties

KEYWORDS = [
    "AcquisitionTime", "DiffusionBValue", "EchoTime", "ImageType", "InstanceNumber",
    "TemporalPositionIdentifier", "TriggerTime",
]  # fmt: skip
anything = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.dictionaries(
            st.sampled_from(KEYWORDS),
            st.sampled_from([0.0, 1.0, 1.00000001, 2.5, 86000.0, float("nan"), "", "M", "1\\2"]),
        ),
    ),
    max_size=8,
)


@given(anything, st.randoms(use_true_random=False))
def test_order_never_matters(cells, rng):
    found = plan(cells)
    order = list(range(len(cells)))
    rng.shuffle(order)
    again = plan([cells[i] for i in order])
    assert repr(found.numbers) == repr(again.numbers)
    assert found.text == again.text
    if isinstance(found, Dimensions):
        assert (found.axes, found.missing) == (again.axes, again.missing)
        assert [found.index[i] for i in order] == list(again.index)
    elif found.parts:
        assert [found.parts[i] for i in order] == list(again.parts)


@st.composite
def scans(draw):
    """Draw a scan of volumes x kinds x places that was broken off in its last volume."""
    places, volumes = draw(st.integers(2, 6)), draw(st.integers(3, 5))
    told = draw(st.sampled_from(["", "TemporalPositionIdentifier", "InstanceNumber"]))
    axes = draw(st.permutations([("EchoTime", (5.0, 7.5, 10.0)), ("FlipAngle", (5.0, 20.0))]))
    kinds = [{}]
    for keyword, values in axes[: draw(st.integers(0, 2))]:
        kinds = [kind | {keyword: value} for kind in kinds for value in values]
    order = draw(st.permutations(range(places)))
    cells = []
    for v in range(volumes):
        for position, p in enumerate(order):
            for kind in kinds:
                clue = {
                    "": {"AcquisitionTime": 86390.0 + 5 * v + 4 * position / places},
                    "TemporalPositionIdentifier": {"TemporalPositionIdentifier": float(v)},
                    "InstanceNumber": {"InstanceNumber": float(v * places + position)},
                }[told]
                if "AcquisitionTime" in clue:
                    clue = {"AcquisitionTime": clue["AcquisitionTime"] % 86400}
                cells.append((p, kind | clue | {"volume": v}))
    tail = draw(st.integers(0, places - 1)) * len(kinds)
    return cells[: len(cells) - tail], kinds, volumes, tail


@given(scans(), st.randoms(use_true_random=False))
def test_a_product_is_recovered_and_its_missing_tail_flagged(scan, rng):
    cells, kinds, volumes, tail = scan
    rng.shuffle(cells)
    found = plan(blind(cells))
    sizes = [len(axis.values) for axis in found.axes]
    assert len(found.missing) == tail
    by_instance = "InstanceNumber" in cells[0][1]
    if by_instance and len(kinds) > 1:  # no time, so one axis
        assert sizes == [volumes * len(kinds)]
        return
    assert sizes == [volumes, len(kinds)][: len(sizes)]
    assert [index[0] for index in found.index] == [values["volume"] for _, values in cells]


@given(scans(), st.data())
def test_a_frame_twice_is_refused(scan, data):
    cells = blind(scan[0])
    found = plan([*cells, data.draw(st.sampled_from(cells))])
    assert isinstance(found, Refusal)
    assert "differ in nothing" in found.text


@given(
    st.sampled_from(["interleaved", "descending"]),
    st.sampled_from(["AcquisitionTime", "InstanceNumber"]),
    st.sets(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=4),
)
def test_frames_that_are_lost_never_move_others(order, keyword, lost):
    """Either each index has what was measured within one period, or there is no plan."""
    offset = interleaved(5) if order == "interleaved" else {p: (4 - p) / 5 for p in range(5)}
    times = [(p, 5.0 * (v + offset[p])) for v in range(6) for p in range(5) if (p, v) not in lost]
    found = plan([(p, {keyword: time}) for p, time in times])
    if isinstance(found, Dimensions):
        volumes = defaultdict(list)
        for index, (_, time) in zip(found.index, times, strict=True):
            volumes[index].append(time)
        assert all(max(volume) - min(volume) < 5 for volume in volumes.values())


def test_small_inputs_in_every_order():
    cells = blind(fmri(2, 2))
    plans = {repr(plan(list(order)).axes) for order in permutations(cells)}
    assert len(plans) == 1


# --------------------------------------------------------------------------------------- real data

HEADERS = [
    "TemporalPositionIdentifier", "TriggerTime", "EchoTime", "EchoNumbers", "FlipAngle",
    "AcquisitionNumber", "DiffusionBValue", "NumberOfTemporalPositions", "InstanceNumber",
    "InversionTime", "StackID", "AcquisitionTime", "ContentTime", "TemporalPositionIndex",
    "EffectiveEchoTime", "DiffusionDirectionality", "ComplexImageComponent",
    "FrameAcquisitionDateTime", "FrameReferenceDateTime", "DiffusionGradientOrientation",
    "ImageType", "FrameType",
]  # fmt: skip


def header_values(*datasets):
    """Return what the given datasets, the later ones first, say of a frame."""
    values = {}
    for dataset in datasets:
        for element in dataset.iterall():
            if element.keyword in HEADERS and element.value not in (None, ""):
                value = element.value
                if element.VM > 1:
                    values[element.keyword] = "\\".join(map(str, value))
                elif element.keyword.endswith("Time") and element.VR in ("TM", "DT"):
                    text = str(value)[-13:] if element.VR == "DT" else str(value)
                    hours, minutes, seconds = text[:2], text[2:4], text[4:]
                    values[element.keyword] = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
                else:
                    values[element.keyword] = value if element.VR in ("CS", "SH") else float(value)
    return values


def as_cells(frames):
    """Replace the position of each (position, values) by its index."""
    distinct = sorted({tuple(position) for position, _ in frames})
    return [(distinct.index(tuple(position)), values) for position, values in frames]


def classic(folder):
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("REF_"))
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    return as_cells([(h.ImagePositionPatient, header_values(h)) for h in headers])


def enhanced(path):
    header = pydicom.dcmread(path, stop_before_pixels=True)
    shared = header.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()]
    return as_cells(
        [
            (
                group.PlanePositionSequence[0].ImagePositionPatient,
                header_values(shared[0], group),
            )
            for group in header.PerFrameFunctionalGroupsSequence
        ]
    )


@pytest.mark.parametrize(
    ("series", "axes", "places"),
    [
        ("4d/ge-fmri-interleaved-15x10", {"t": 10}, 15),
        ("4d/ge-dti-small", {"i": 4}, 4),
        ("4d/philips-fmri-small", {"i": 4}, 2),
        ("enhanced/philips-asl-classic-40", {}, 40),
        ("irregular/not-a-volume", {"t": 4}, 1),
    ],
)
def test_real_series(shared_data, series, axes, places):
    found = plan(classic(shared_data / series))
    assert {axis.name: len(axis.values) for axis in found.axes} == axes
    assert found.numbers["places"] == places
    assert found.missing == ()


@pytest.mark.parametrize(
    ("file", "axes", "places"),
    [
        ("philips-enh-fmri-32/IM-0001-9600-0001.dcm", {"t": 4}, 8),
        ("philips-enh-dti-32/IM-0001-3835-0001.dcm", {"b": 4}, 8),
        ("philips-enh-anat-8/IM-0001-0170-0001.dcm", {}, 8),
        ("philips-asl-enhanced/1901_WIP_3DpCASL_real.dcm", {}, 40),
        ("siemens-xa-8/IM-0001-0001-0001.dcm", {}, 8),
    ],
)
def test_real_multi_frame_objects(shared_data, file, axes, places):
    found = plan(enhanced(shared_data / "enhanced" / file))
    assert {axis.name: len(axis.values) for axis in found.axes} == axes
    assert found.numbers["places"] == places
    assert found.missing == ()


def test_a_long_series_is_planned_at_once():
    cells = blind(fmri(60, 400))
    began = time.process_time()
    assert [len(axis.values) for axis in plan(cells).axes] == [400]
    assert time.process_time() - began < 3  # 0.3 s where this was written
