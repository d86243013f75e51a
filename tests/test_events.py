"""What a run tells: a report file, logs, metrics. Everything of the run, nothing of a patient."""

import fcntl
import json
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
import synth

import sansfilm
from sansfilm.cli.main import main
from sansfilm.errors import OptionError, Problem, ProblemCode
from sansfilm.events import Events, ReportFile, log_event
from sansfilm.options import Options, Storage
from sansfilm.progress import Progress, Several

SMALL = Options(storage=Storage(chunk=8, slab=4, smallest=8))


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


# ------------------------------------------------------------------------------- the report file


@pytest.fixture
def zone(tmp_path):
    """Give a folder with a series, a file that is no DICOM and one that is cut."""
    made = synth.series(tmp_path / "in", slices=4)
    other = synth.series(tmp_path / "other", slices=1, seed=5)
    (made.folder / "notes.txt").write_text("no DICOM")
    (made.folder / "cut.dcm").write_bytes(other.paths[0].read_bytes()[:1500])
    return made


def test_the_report_file_has_a_line_for_each_event(zone, tmp_path, capsys):
    path = tmp_path / "out.jsonl"
    arguments = ["ingest", str(zone.folder), str(tmp_path / "a"), "--json", "--report", str(path)]
    for _ in range(2):
        assert main(arguments) == 3
    report = json.loads(capsys.readouterr().out.split("\n}\n")[0] + "}")
    told = lines(path)
    runs = list(dict.fromkeys(line["run"] for line in told))
    assert len(runs) == 2
    first, second = ([line for line in told if line["run"] == run] for run in runs)
    assert [line["event"] for line in first] == [
        "started", "found", "problem", "problem", "planned", "slab", "volume", "finished",
    ]  # fmt: skip
    assert [line["event"] for line in second] == [
        "started", "found", "problem", "problem", "planned", "finished",
    ]  # fmt: skip
    started, *_, volume, finished = first
    assert started["sources"] == [str(zone.folder)]
    assert started["archive"] == str(tmp_path / "a")
    assert started["options"]["storage"]["chunk"] == 64
    assert started["versions"]["sansfilm"] == "0.1.0"
    assert volume["series_uid"] == zone.series_uid
    assert volume["frames"] == 4
    assert volume["bytes"] == report["bytes"]["written"]
    for name in ("files", "frames", "bytes"):
        assert finished[name] == report[name]
    assert finished["problems"] == {"NOT_DICOM": 1, "TRUNCATED": 1}
    problems = [line for line in first if line["event"] == "problem"]
    assert {line["code"] for line in problems} == {"NOT_DICOM", "TRUNCATED"}
    assert second[-1]["unchanged"] == 1


def test_a_run_that_fails_says_so(tmp_path):
    path = tmp_path / "out.jsonl"
    assert main(["ingest", str(tmp_path / "no"), str(tmp_path / "a"), "--report", str(path)]) == 2
    *_, last = lines(path)
    assert (last["event"], last["error"]) == ("failed", "SourceNotFoundError")
    assert "source does not exist" in last["message"]


def test_a_torn_line_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text('{"whole": 1}\n{"torn": ')
    with ReportFile(str(path)) as file:
        file.emit("started", {"archive": "line\nbreak \udcff"})
        file.emit("finished", {})
    whole, torn, started, finished = path.read_text().splitlines()
    assert json.loads(whole)
    assert torn == '{"torn": '
    assert json.loads(started)["archive"] == "line\nbreak \udcff"
    assert json.loads(finished)["run"] == json.loads(started)["run"] != ""


def _write_many(path):
    with ReportFile(path) as file:
        file.emit("started", {})
        for number in range(200):
            file.emit("problem", {"number": number, "message": "x" * 3000})


def test_several_runs_share_a_file(tmp_path):
    path = tmp_path / "out.jsonl"
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write_many, args=(str(path),)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    by_run = {}
    for line in lines(path):
        by_run.setdefault(line["run"], []).append(line.get("number"))
    assert list(by_run.values()) == [[None, *range(200)]] * 2


def test_half_a_line_of_a_run_that_is_writing_is_not_torn(tmp_path):
    path = tmp_path / "out.jsonl"
    opened = []

    def run():
        with ReportFile(str(path)) as file:
            opened.append(file)
            file.emit("started", {})

    with path.open("wb", buffering=0) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(b'{"run": ')
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(0.2)
        assert not opened
        other.write(b'"other"}\n')
    thread.join(10)
    assert [line["run"] == "other" for line in lines(path)] == [True, False]


def test_a_report_that_cannot_be_written_is_a_wrong_call(tmp_path):
    with pytest.raises(OptionError, match="cannot write the report"):
        ReportFile(str(tmp_path / "nowhere" / "out.jsonl"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_below_the_report_is_logged_once_and_the_run_goes_on(tmp_path, caplog):
    made = synth.series(tmp_path / "in", slices=3)
    with ReportFile("/dev/full") as file:
        report = sansfilm.ingest(made.folder, tmp_path / "a", progress=Events(file.emit))
    assert report.frames["stored"] == 3
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "report file cannot be written" in errors[0].getMessage()


def test_everybody_hears_every_event():
    """Also events that are added one day: Several is made from the list of Progress itself."""
    heard = []

    class Ear(Progress):
        def __getattribute__(self, name):
            return lambda *told: heard.append((name, told))

    names = [name for name in vars(Progress) if not name.startswith("_")]
    both = Several(Ear(), Ear())
    for name in names:
        getattr(both, name)(1, 2)
    assert heard == [(name, (1, 2)) for name in names for _ in range(2)]
    assert {name for name in names if name in vars(Events)} == set(names) - {"header_read"}


# ---------------------------------------------------------------------------------------- logs


def command(*arguments, **options):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.run(
        [sys.executable, "-m", "sansfilm", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=env, **options,
    )  # fmt: skip


def test_json_logs_are_all_there_is_on_stderr(zone, tmp_path):
    done = command("ingest", zone.folder, tmp_path / "a", "--log-format", "json",
                   "--log-level", "debug")  # fmt: skip
    assert done.returncode == 3
    records = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*map(set, records))
    assert [record["event"] for record in records] == [
        "started", "found", "problem", "problem", "planned", "slab", "volume", "finished",
    ]  # fmt: skip
    levels = {record["event"]: record["level"] for record in records}
    assert levels == dict.fromkeys(levels, "info") | {"slab": "debug"}
    failed = command("--log-format", "json", "ingest", tmp_path / "no", tmp_path / "a")
    assert failed.returncode == 2
    (record,) = [json.loads(line) for line in failed.stderr.splitlines()]
    assert (record["level"], record["logger"]) == ("error", "sansfilm")
    assert "source does not exist" in record["message"]


def test_text_logs_are_quiet_unless_asked(zone, tmp_path):
    done = command("ingest", zone.folder, tmp_path / "a")
    assert "INFO" not in done.stderr
    done = command("--log-level", "info", "ingest", zone.folder, tmp_path / "a")
    assert f"INFO sansfilm.events: ingest into {tmp_path / 'a'}\n" in done.stderr


@pytest.mark.parametrize("form", ["text", "json"])
def test_other_libraries_are_heard_from_warnings_on(form):
    script = (
        "import logging, warnings; from sansfilm.cli.logs import log_to_stderr\n"
        f"log_to_stderr('warning', 'json'); log_to_stderr('debug', {form!r})\n"
        "logging.getLogger('botocore').setLevel('DEBUG')\n"
        "logging.getLogger('botocore').debug('body: SECRET')\n"
        "logging.getLogger('sansfilmish').info('SECRET')\n"
        "logging.getLogger('botocore').warning('careful: %s', 'odd')\n"
        "logging.getLogger('sansfilm.x').debug('hello')\n"
        "logging.getLogger('sansfilm').info('100 %')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          check=True)  # fmt: skip
    assert "SECRET" not in done.stderr
    said = done.stderr.splitlines()
    if form == "json":
        said = [json.loads(line)["message"] for line in said]
    assert [line.rpartition(": ")[2] for line in said] == ["odd", "hello", "100 %"]
    assert len(said) == 3


def test_the_library_logs_under_its_name_and_prints_nothing(zone, tmp_path, caplog, capfd):
    with caplog.at_level(logging.DEBUG, "sansfilm"):
        sansfilm.ingest(zone.folder, tmp_path / "a")
    events = [record.event["event"] for record in caplog.records if hasattr(record, "event")]
    assert events[0] == "started"
    assert events[-1] == "finished"
    assert {record.name for record in caplog.records} == {"sansfilm.events"}
    assert capfd.readouterr() == ("", "")


def test_a_record_has_the_words_of_its_event(caplog):
    with caplog.at_level(logging.INFO, "sansfilm"):
        problem = Problem("/a%s", "headers", ProblemCode.TRUNCATED, "cut", "1.2", None, 1)
        Events(log_event).problem_found(problem)
        Events(log_event).run_failed(KeyboardInterrupt())
    assert [record.getMessage() for record in caplog.records] == [
        "TRUNCATED: /a%s: cut", "KeyboardInterrupt: ",
    ]  # fmt: skip


# ----------------------------------------------------------------------------- nothing of a patient

IDENTITY = {
    "PatientName": "CANARY1^Name", "PatientID": "CANARY2", "PatientBirthDate": "19010203",
    "OtherPatientNames": "CANARY3^Other", "PatientAddress": "CANARY4 Street",
    "InstitutionName": "CANARY5 Hospital", "ReferringPhysicianName": "CANARY6^Doctor",
    "AccessionNumber": "CANARY7", "PatientComments": "CANARY8", "StudyID": "CANARY9",
    "OperatorsName": "CANARY10^Op", "StationName": "CANARY11", "DeviceSerialNumber": "CANARY12",
    "StudyDescription": "CANARY13", "SeriesDescription": "CANARY14", "ImageComments": "CANARY15",
    "PatientBirthName": "CANARY16^Born", "RequestingPhysician": "CANARY17^Req",
    "ProtocolName": "CANARY18",
}  # fmt: skip
WORDS = ("CANARY", "19010203", "canary")


def marked(dataset, index):
    for keyword, value in IDENTITY.items():
        setattr(dataset, keyword, value)


def canaries(folder):
    """Make good and bad files, all of them of a patient who is to be found nowhere."""

    def bad(change):
        def edit(dataset, index):
            marked(dataset, index)
            if index == 1:
                change(dataset)

        return edit

    def changes():
        yield lambda ds: setattr(ds, "Rows", 0)
        yield lambda ds: setattr(ds, "SeriesInstanceUID", "CANARY20")
        yield lambda ds: setattr(ds, "SOPClassUID", "CANARY21")
        yield lambda ds: setattr(ds, "PhotometricInterpretation", "CANARY22")
        yield lambda ds: setattr(ds, "PatientOrientation", ["CANARY23", "X"])
        yield lambda ds: setattr(ds, "SpecificCharacterSet", "CANARY25")
        yield lambda ds: ds.__delitem__("PixelData")
        yield lambda ds: setattr(ds, "PixelData", ds.PixelData[:-2])

    synth.series(folder / "good", slices=5, edit=marked)
    synth.series(folder / "coded", slices=3, edit=marked, seed=1, transfer_syntax=synth.J2K)
    for number, change in enumerate(changes(), 2):
        synth.series(folder / f"bad{number}", slices=3, seed=number, edit=bad(change))
    text = (folder / "good").glob("*.dcm")
    for number, cut in enumerate((200, 700, 1100, 1500)):
        whole = next(text).read_bytes()
        (folder / f"cut{number}.dcm").write_bytes(whole[:cut])
    one = bytearray(whole)
    one[-600:] = bytes(600)  # a conflict
    (folder / "again.dcm").write_bytes(bytes(one))
    j2k = next((folder / "coded").glob("*.dcm"))
    broken = bytearray(j2k.read_bytes())
    at = broken.rindex(b"\xff\x93")  # where the coded data begin
    broken[at:] = b"CANARY26" * ((len(broken) - at) // 8) + bytes((len(broken) - at) % 8)
    j2k.write_bytes(bytes(broken))


@pytest.fixture
def canary_zone(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # pydicom writes what it warns of
        canaries(tmp_path / "in")
    return tmp_path / "in"


def not_told(*texts):
    for text in texts:
        assert text
        for word in WORDS:
            assert word not in text, text[max(text.find(word) - 300, 0) : text.find(word) + 100]


@pytest.mark.parametrize(("form", "how"), [("text", ["--workers", "1"]), ("json", [])])
def test_no_patient_in_anything_that_is_told(canary_zone, tmp_path, form, how):
    path = tmp_path / "out.jsonl"
    done = command("ingest", canary_zone, tmp_path / "a", *how, "--json", "--report", path,
                   "--log-level", "debug", "--log-format", form)  # fmt: skip
    assert done.returncode == 3, done.stderr
    not_told(done.stdout, done.stderr, path.read_text())
    report = json.loads(done.stdout)
    assert report["frames"]["stored"] >= 5
    assert len({problem["code"] for problem in report["problems"]}) >= 7
    if form == "json":
        [json.loads(line) for line in done.stderr.splitlines()]


KEYS = """
import sys, warnings
warnings.simplefilter("ignore")
from distributed import Client, LocalCluster
from distributed.diagnostics.plugin import SchedulerPlugin
import sansfilm

class Keys(SchedulerPlugin):
    name = "keys"
    def update_graph(self, scheduler, *, keys, tasks, annotations, priority, **kwargs):
        print("KEYS", *keys, annotations, flush=True)

if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1",
                      dashboard_address="127.0.0.1:0") as cluster, Client(cluster) as client:
        cluster.scheduler.add_plugin(Keys())
        report = sansfilm.ingest(sys.argv[1], sys.argv[2], client=client)
        print(report, report.volumes, report.problems)
        print(client.get_worker_logs(), client.get_scheduler_logs())
        print(cluster.scheduler.transition_log, client.get_events())
"""


def test_no_patient_in_what_dask_is_told(canary_zone, tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    script = tmp_path / "keys.py"
    script.write_text(KEYS)
    done = subprocess.run(
        [sys.executable, script, canary_zone, tmp_path / "a"],
        capture_output=True, text=True, check=False, env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("KEYS") > 2
    assert "attempt_alike-" in done.stdout
    not_told(done.stdout)
    for word in WORDS:
        assert word not in done.stderr


# -------------------------------------------------------------------------------------- metrics


def numbers(address):
    with urllib.request.urlopen(address) as answer:
        text = answer.read().decode()
    found = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("sansfilm_"))
    return {name: float(value) for name, value in found}


def test_metrics_are_where_dask_serves_its_own(zone, tmp_path):
    pytest.importorskip("prometheus_client", reason="prometheus_client is not installed")
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1",
                     dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        here = f"{client.dashboard_link.removesuffix('status')}metrics"
        before = numbers(here)
        report = sansfilm.ingest(zone.folder, tmp_path / "a", client=client, options=SMALL)
        (worker,) = client.scheduler_info()["workers"].values()
        there = numbers(f"http://127.0.0.1:{worker['services']['dashboard']}/metrics")
        here = {name: value - before.get(name, 0) for name, value in numbers(here).items()}
    assert here["sansfilm_frames_stored_total"] == 4
    assert here["sansfilm_volumes_stored_total"] == 1
    assert here['sansfilm_problems_total{code="NOT_DICOM"}'] == 1
    assert here['sansfilm_problems_total{code="TRUNCATED"}'] == 1
    assert there["sansfilm_bytes_decoded_total"] == report.bytes["decoded"] == zone.stored.nbytes
    assert there["sansfilm_bytes_read_total"] > zone.stored.nbytes
    assert 0 < there["sansfilm_bytes_written_total"] <= report.bytes["written"]
    assert there["sansfilm_decode_seconds_total"] > 0
    assert "sansfilm_frames_stored_total" not in there or not there["sansfilm_frames_stored_total"]


def test_nothing_is_counted_where_nobody_serves_metrics(zone, tmp_path):
    script = (
        "import sys, sansfilm\n"
        "sansfilm.ingest(sys.argv[1], sys.argv[2])\n"
        "print([name for name in sys.modules if 'prometheus' in name])"
    )
    done = subprocess.run([sys.executable, "-c", script, zone.folder, tmp_path / "a"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout == "[]\n"
