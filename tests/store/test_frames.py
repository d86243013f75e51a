"""The frame table: one row per frame, in index order, with what leads back to its source."""

import io

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pydicom
import pytest
import synth

from sansfilm.assemble.levels import plan_slabs
from sansfilm.model import HEADER_CHUNK, FrameResult, SlabResult
from sansfilm.options import Options, Storage
from sansfilm.store.frames import frames_table

OPTIONS = Options(storage=Storage(chunk=4, slab=4, smallest=4))


@pytest.fixture
def table(tmp_path, plan_of):
    def make(**series):
        made = synth.series(tmp_path / "in", **{"slices": 6, **series})
        plan = plan_of(made.folder, OPTIONS)
        slabs = list(plan_slabs(plan, OPTIONS))
        results = [
            SlabResult(slab.index, (), tuple(
                FrameResult(frame.sop_instance_uid, 1, f"digest {frame.sop_instance_uid}", "native")
                for frame in slab.frames
            ))
            for slab in slabs
        ]  # fmt: skip
        return frames_table(plan, slabs, results[::-1]), (plan, slabs), made

    return make


def test_rows_follow_the_index_and_name_their_source(table):
    data, _, made = table(slope=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], intercept=2, modality="PT")
    rows = pd.read_parquet(io.BytesIO(data))
    assert list(rows["index"].map(list)) == [[n] for n in range(6)]
    assert list(rows["sop_instance_uid"]) == list(made.sop_uids)
    assert list(rows["source_uri"]) == [str(path) for path in made.paths]
    assert list(rows["frame_number"]) == [1] * 6
    assert list(rows["slope"]) == [1, 2, 3, 4, 5, 6]
    assert set(rows["intercept"]) == {2}
    assert list(rows["pixel_digest"]) == [f"digest {uid}" for uid in made.sop_uids]
    for number, position in enumerate(rows["position"]):
        expected = (made.affine_lps @ [number, 0, 0, 1])[:3]
        np.testing.assert_allclose(position, expected, atol=1e-9)


def test_headers_lie_one_after_the_other_from_a_chunk_of_their_own_per_slab(table):
    data, (_, slabs), made = table()
    assert len(slabs) == 2
    rows = pd.read_parquet(io.BytesIO(data))
    lengths = [
        path.stat().st_size - pydicom.dcmread(path).get_item("PixelData").length - 12
        for path in made.paths
    ]
    assert list(rows["header_length"]) == lengths
    starts = [0, *np.cumsum(lengths[:3]), HEADER_CHUNK, HEADER_CHUNK + lengths[4]]
    assert list(rows["header_offset"]) == starts


def test_windows_are_lists_as_long_as_each_frame_has_them(table):
    def own(dataset, index):
        if index == 0:
            del dataset.WindowCenter, dataset.WindowWidth
        if index == 1:
            dataset.WindowCenter, dataset.WindowWidth = [1, 2], [3, 4]

    data, *_ = table(edit=own)
    rows = pd.read_parquet(io.BytesIO(data))
    assert list(rows["window_center"].map(list)) == [[], [1, 2], *[[40]] * 4]
    assert list(rows["window_width"].map(list)) == [[], [3, 4], *[[400]] * 4]


def test_what_some_frames_do_not_say_is_null_there(table):
    def own(dataset, index):
        if index % 2:
            dataset.EchoTime = "12.5"
            dataset.AcquisitionTime = "101112"
        else:
            del dataset.AcquisitionTime

    data, *_ = table(edit=own)
    found = pq.read_table(io.BytesIO(data))
    assert found["EchoTime"].to_pylist() == [None, 12.5] * 3
    assert found["AcquisitionTime"].to_pylist() == [None, "101112"] * 3
    assert found["SliceThickness"].to_pylist() == [2.0] * 6
    assert found["StudyDate"].to_pylist() == ["20260102"] * 6


def test_no_patient_identity_and_always_the_same_bytes(table, tmp_path, plan_of):
    data, (plan, slabs), _ = table()
    assert b"ZZPHI" not in data
    results = [
        SlabResult(slab.index, (), tuple(
            FrameResult(frame.sop_instance_uid, 1, f"digest {frame.sop_instance_uid}", "native")
            for frame in slab.frames
        ))
        for slab in slabs
    ]  # fmt: skip
    assert frames_table(plan, slabs, results) == data
