"""The books of a run balance: frames found are stored or in Problems, whatever happens."""

import json
import shutil
from dataclasses import replace

import pytest
import synth

from sansfilm.assemble.levels import plan_slabs
from sansfilm.convert import convert
from sansfilm.errors import Problem, ProblemCode
from sansfilm.intake import ingest
from sansfilm.model import FileRef, FrameResult, SlabResult
from sansfilm.options import Options, Storage
from sansfilm.progress import Progress
from sansfilm.report import Ledger, to_json
from sansfilm.run.contract import Outcome
from sansfilm.store.memory import MemoryTarget

OPTIONS = Options(storage=Storage(slab=4))


class Told(Progress):
    """Remembers what it was told."""

    def __init__(self):
        self.events = []

    def files_found(self, count):
        self.events.append(("files", count))

    def header_read(self):
        self.events.append(("header",))

    def planned(self, volumes, slabs, unchanged):
        self.events.append(("planned", volumes, slabs, unchanged))

    def cluster_started(self, dashboard):
        self.events.append(("cluster", dashboard))

    def slab_written(self, result):
        self.events.append(("slab", result.index))

    def volume_committed(self, key, frames, written):
        self.events.append(("volume", key))

    def problem_found(self, problem):
        self.events.append(("problem", problem.code))

    def count(self, name):
        return sum(1 for event in self.events if event[0] == name)


@pytest.fixture
def plan(tmp_path):
    synth.series(tmp_path / "in", slices=10)
    ledger = Ledger("", Progress(), dry_run=True)
    ((found, _),) = convert(
        [str(tmp_path / "in")], MemoryTarget(), OPTIONS, ledger, {}, dry_run=True
    )
    return found


@pytest.fixture
def slabs(plan):
    """Give the three slabs of the volume: 4, 4 and 2 frames."""
    return list(plan_slabs(plan, OPTIONS))


@pytest.fixture
def ledger(plan, slabs):
    """Give books in which the headers are read and the volume is planned."""
    ledger = Ledger("archive", Told())
    files = ledger.files([FileRef(header.uri, header.size) for header in plan.frames], [])
    read = [[frame] for frame in plan.frames]
    assert list(ledger.frames([Outcome(files, read)])) == read
    assert list(ledger.plans([([plan], [], 0)])) == [plan]
    ledger.todo([plan], slabs, [])
    assert ledger.start() == len(slabs)
    assert ledger.begin(plan, slabs) == slabs
    return ledger


def done(slab, bad=()):
    """Make the result of a slab some of whose frames failed."""
    frames = tuple(
        FrameResult(header.sop_instance_uid, 1, "", "", Problem(
            header.uri, "decode", ProblemCode.DECODE_FAILED, "why", header.series_uid, None, 1
        ) if number in bad else None)
        for number, header in enumerate(slab.frames)
    )  # fmt: skip
    return SlabResult(slab.index, (), frames, bytes_read=10, bytes_decoded=20)


def assert_balanced(report):
    frames = report.frames
    assert frames["found"] == frames["stored"] + frames["in_problems"]
    assert frames["in_problems"] == sum(problem.frames for problem in report.problems)


def test_a_volume_is_whole_with_its_last_slab_in_whatever_order(ledger, plan, slabs):
    results = {slab.index: done(slab) for slab in slabs}
    assert ledger.slab(slabs[2], results[2], None) is None
    assert ledger.slab(slabs[0], results[0], None) is None
    work = ledger.slab(slabs[1], results[1], None)
    assert (work.plan, work.slabs, work.results) == (plan, slabs, results)
    ledger.stored(work, 1000)
    report = ledger.close([{"series_uid": plan.series_uid}])
    assert_balanced(report)
    assert report.frames == {"found": 10, "stored": 10, "in_problems": 0}
    assert report.bytes["written"] == 1000
    assert report.bytes["decoded"] == 60
    assert report.bytes["read"] == 30 + sum(header.size for header in plan.frames)


def test_one_bad_frame_leaves_the_volume_out_and_every_frame_is_accounted_for(ledger, plan, slabs):
    for slab in slabs:
        assert ledger.slab(slab, done(slab, bad={1} if slab.index == 1 else ()), None) is None
    report = ledger.close([])
    assert_balanced(report)
    assert report.frames == {"found": 10, "stored": 0, "in_problems": 10}
    codes = [problem.code for problem in report.problems]
    assert sorted(codes) == [ProblemCode.DECODE_FAILED, *[ProblemCode.INCOMPLETE_VOLUME] * 9]
    assert {problem.uri for problem in report.problems} == {h.uri for h in plan.frames}
    (bad,) = [p for p in report.problems if p.code == ProblemCode.DECODE_FAILED]
    assert bad.uri == slabs[1].frames[1].uri


def test_a_task_that_did_not_come_home_is_one_problem_per_frame_without_its_words(
    ledger, plan, slabs
):
    """The words of an unknown error may name the patient: only its kind is told."""
    ledger.slab(slabs[0], None, RuntimeError("ZZPHI^Synthetic"))
    ledger.slab(slabs[1], done(slabs[1]), None)
    ledger.slab(slabs[2], done(slabs[2]), None)
    report = ledger.close([])
    assert_balanced(report)
    lost = [p for p in report.problems if p.code == ProblemCode.WORKER_LOST]
    assert [p.uri for p in lost] == sorted(header.uri for header in slabs[0].frames)
    assert {(p.stage, p.message, p.frames) for p in lost} == {
        ("run", "the task of this frame failed: RuntimeError", 1)
    }
    assert len(report.problems) == 10
    assert "ZZPHI" not in json.dumps(to_json(report))


def test_headers_that_did_not_come_home_are_a_problem_per_file(plan):
    ledger = Ledger("", Told())
    files = [FileRef(f"{number}.dcm", 1) for number in range(5)]
    ledger.files(files, [])
    read = Outcome(files[:3], [[frame] for frame in plan.frames[:3]])
    headers = list(ledger.frames([read, Outcome(files[3:], error=MemoryError("ZZPHI"))]))
    assert len(headers) == 3
    assert [p.uri for p in ledger.report.problems] == ["3.dcm", "4.dcm"]
    assert {p.code for p in ledger.report.problems} == {ProblemCode.WORKER_LOST}
    assert ledger._progress.count("header") == 5


def test_volumes_that_are_there_count_as_stored(plan):
    ledger = Ledger("", Told())
    list(ledger.frames([Outcome((), [[frame] for frame in plan.frames])]))
    assert ledger.unchanged([plan], {plan.key}) == [plan]
    assert ledger.start() == 0
    report = ledger.close([])
    assert_balanced(report)
    assert report.frames["stored"] == 10
    assert report.unchanged == [plan.key]
    assert report.bytes["written"] == 0
    assert ("planned", 1, 0, 1) in ledger._progress.events


def test_copies_of_an_instance_are_one_frame_and_refused_ones_are_counted(plan):
    ledger = Ledger("", Told())
    refused = Problem("x", "headers", ProblemCode.UNSUPPORTED_PIXELS, "why", frames=7)
    stranger = Problem("y", "headers", ProblemCode.NOT_DICOM, "why")
    read = [[frame] for frame in (*plan.frames, plan.frames[0])]
    found = list(ledger.frames([Outcome((), [*read, refused, stranger])]))
    assert len(found) == 11
    assert ledger.report.files == {
        "seen": 0,
        "dicom": 12,
        "images": 12,
        "ingested": 0,
        "skipped": 0,
    }
    assert ledger.report.frames["found"] == 18
    conflict = Problem("z", "grouping", ProblemCode.CONFLICT, "why", frames=1)
    (other,) = ledger.plans([([replace(plan, frames=plan.frames[1:])], [conflict], 1)])
    ledger.unchanged([other], {other.key})
    report = ledger.close([])
    assert_balanced(report)
    assert report.frames == {"found": 17, "stored": 9, "in_problems": 8}


def test_problems_come_out_in_one_order(plan):
    problems = [
        Problem(uri, stage, ProblemCode.NOT_DICOM, message)
        for uri in "ba"
        for stage in ("read", "headers")
        for message in "yx"
    ]
    orders = []
    for order in (problems, problems[::-1]):
        ledger = Ledger("", Progress())
        ledger.files([], order)
        orders.append(ledger.close([]).problems)
    assert orders[0] == orders[1]


def test_json_is_json_and_repr_is_one_line_without_names(ledger, slabs, plan):
    for slab in slabs:
        ledger.slab(slab, done(slab, bad={0}), None)
    report = ledger.close([])
    told = json.loads(json.dumps(to_json(report), allow_nan=False))
    assert told["frames"] == {"found": 10, "stored": 0, "in_problems": 10}
    assert {problem["code"] for problem in told["problems"]} == {
        "DECODE_FAILED", "INCOMPLETE_VOLUME",
    }  # fmt: skip
    assert set(told["problems"][0]) == {
        "uri", "stage", "code", "message", "series_uid", "frame", "frames",
    }  # fmt: skip
    assert repr(report).startswith("<sansfilm.Report: 0 volumes (0 were there), 0 of 10 frames")
    assert "\n" not in repr(report)


def test_progress_is_told_of_a_whole_run_in_order(tmp_path):
    made = synth.series(tmp_path / "in", slices=10)
    (made.folder / "notes.txt").write_text("x")
    told = Told()
    report = ingest(made.folder, tmp_path / "a", options=OPTIONS, workers=1, progress=told)
    assert_balanced(report)
    names = [event[0] for event in told.events]
    assert names[0] == "files"
    assert told.events[0] == ("files", 11)
    assert told.count("header") == 11
    assert told.count("problem") == 1
    (key,) = [event[1] for event in told.events if event[0] == "volume"]
    assert names.index("planned") < names.index("slab") < names.index("volume")
    assert ("planned", 1, 3, 0) in told.events
    assert [event[1] for event in told.events if event[0] == "slab"] == [0, 1, 2]
    assert key == report.volumes[0]["key"]
    told.events.clear()
    ingest(made.folder, tmp_path / "a", options=OPTIONS, workers=1, progress=told)
    assert ("planned", 1, 0, 1) in told.events
    assert told.count("slab") == told.count("volume") == 0


def test_a_mixed_folder_balances(tmp_path):
    """Good, doubled, broken, cut and foreign files together."""
    made = synth.series(tmp_path / "in", slices=6)
    shutil.copy(made.paths[0], made.folder / "copy.dcm")
    whole = made.paths[1].read_bytes()
    (made.folder / "cut.dcm").write_bytes(whole[: len(whole) // 2])
    (made.folder / "empty").write_bytes(b"")
    synth.series(made.folder / "other", slices=3, seed=1)
    report = ingest(made.folder, tmp_path / "a")
    assert_balanced(report)
    assert report.frames["stored"] == 9
    assert report.files["seen"] == 12
    assert report.files["seen"] == report.files["ingested"] + report.files["skipped"]


def test_a_volume_of_which_all_slabs_were_stored_comes_to_its_end(plan, slabs):
    """Its last slab is made again; else it would never be published."""
    ledger = Ledger("", Told())
    stored = [(slab, done(slab)) for slab in slabs]
    ledger.todo([plan], slabs, stored)
    assert ledger.begin(plan, slabs) == slabs[-1:]
    assert ledger.slab(slabs[-1], done(slabs[-1]), None).results == {
        slab.index: result for slab, result in stored
    }
