"""NiiVue gets the volume as the patient is: seen in its own pictures, drawn by Chromium.

The widget's state goes to the JavaScript of the ipyniivue wheel as Jupyter would bring it there.
"""

import base64
import http.server
import json
import sys
import threading
from pathlib import Path

import looking
import nibabel
import numpy as np
import phantom
import pytest
from chromium import COMMAND, Chromium, full, ways
from pictures import keep

import sansfilm
from sansfilm.errors import MissingPackageError, OptionError
from sansfilm.options import Options, Storage
from sansfilm.view.niivue import choose_level, make_nifti

PAGE = """<!doctype html><body style="margin:0;background:#000"><div id=out></div>
<script type=module>
import widget from "./widget.js";
const state = await (await fetch(`./state.json${location.search}`)).json();
const bytes = text => new DataView(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
const models = {};
window.events = [];
for (const [id, [values, buffers]] of Object.entries(state)) {
  for (const [name, data] of Object.entries(buffers)) values[name] = bytes(data);
  const calls = {};
  models[id] = {
    get: name => values[name],
    set: (name, value) => { values[name] = value; },
    on: (event, call) => { (calls[event] ??= []).push(call); },
    off: () => {}, save_changes: () => {}, send_sync_message: () => {}, serialize: x => x,
    send: content => { window.events.push(content.event); },
    fire: (event, ...more) => { for (const call of calls[event] ?? []) call(...more); },
    widget_manager: {get_model: async id => models[id]},
  };
}
const [niivue, volume] = Object.values(models);
window.message = content => niivue.fire("msg:custom", content, []);
window.change = (name, value) => { volume.set(name, value); volume.fire(`change:${name}`); };
await widget.initialize({model: niivue});
await widget.render({model: niivue, el: document.getElementById("out")});
</script>"""


@pytest.fixture(scope="module")
def ipyniivue():
    return pytest.importorskip("ipyniivue", reason="needs ipyniivue: sansfilm[notebook]")


@pytest.fixture(scope="module")
def look(ipyniivue, tmp_path_factory):
    """Give a function that returns the picture of a widget."""
    if COMMAND is None:
        pytest.skip("there is no Chromium to draw with")
    folder = tmp_path_factory.mktemp("niivue")
    served = {
        "/": ("text/html", PAGE.encode()),
        "/widget.js": ("text/javascript",
                       (Path(ipyniivue.__file__).parent / "static" / "widget.js").read_bytes()),
    }  # fmt: skip

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            kind, data = served.get(self.path.partition("?")[0], ("text/plain", b""))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    number = 0
    with Chromium(folder, (760, 640)) as browser:

        def draw(box):
            nonlocal number
            number += 1
            niivue = box.children[0]
            sent = []
            niivue.send = lambda content, buffers=None: sent.append(content)
            served["/state.json"] = ("application/json", states(niivue))
            browser.open(f"http://127.0.0.1:{server.server_port}/?{number}")
            browser.wait('window.events?.includes("image_loaded")')
            niivue.set_trait("_canvas_attached", True)  # what the browser told, told to Python
            volume = niivue.volumes[0]
            niivue._handle_image_loaded(volume.id)
            for content in sent:
                browser.ask(f"message({json.dumps(content)})")
            browser.ask(f"change('colormap', {json.dumps(volume.colormap)})")
            browser.ask("new Promise(done => setTimeout(done, 200))")
            return browser.picture()

        yield draw
    server.shutdown()
    server.server_close()


def states(niivue):
    found = {}
    for widget in (niivue, *niivue.volumes):
        state = {name: value for name, value in widget.get_state().items() if name[0] != "_"}
        buffers = {name: base64.b64encode(value).decode() for name, value in state.items()
                   if isinstance(value, bytes | memoryview)}  # fmt: skip
        state = {name: value for name, value in state.items() if name not in buffers}
        found[widget.model_id] = state, buffers
    return json.dumps(found, default=str).encode()


def seen(made, **how):
    (volume,) = sansfilm.read(made.folder, options=how.pop("options", None))
    box = volume.view(height=600, **how)
    box.children[0].opts.crosshair_width = 0.0  # it would cut the shells in two
    return box


@pytest.mark.parametrize("name", ways(phantom.ALL))
def test_each_side_of_the_patient_is_at_its_letter(tmp_path, look, name):
    picture = look(seen(phantom.series(tmp_path, phantom.ALL[name])))
    keep(f"niivue {name}", picture)
    looking.check(picture)


@full
@pytest.mark.parametrize("name", ["axial", "oblique sagittal"])
def test_the_order_of_the_files_does_not_matter(tmp_path, look, name):
    looking.check(look(seen(phantom.series(tmp_path, phantom.ALL[name], backwards=True))))


@full
def test_shear_is_drawn_as_it_is(tmp_path, look):
    """A ball stays a ball: a viewer that forgets the shear draws an egg that leans."""
    picture = look(seen(phantom.series(tmp_path, phantom.AXIAL, shear=phantom.SHEAR)))
    keep("niivue sheared", picture)
    looking.check(picture)
    for rows, columns in looking.outlines(picture):
        assert rows / columns == pytest.approx(1, abs=0.06)


@full
def test_other_levels_lie_in_the_same_place(tmp_path, look):
    made = phantom.series(tmp_path, spacing=(1.2, 1.2, 1.2))
    options = Options(storage=Storage(smallest=32, slab=32, chunk=32))
    looking.check(look(seen(made, options=options, level=1)))


@full
def test_monochrome1_is_inverted(tmp_path, look):
    picture = look(seen(phantom.series(tmp_path, inverted=True)))
    keep("niivue monochrome1", picture)
    looking.check(picture)
    assert grey_of(picture) == pytest.approx(phantom.BODY / phantom.SHELL * 255, abs=2)


@full
def test_curved_windows_are_drawn(tmp_path, look):
    def sigmoid(dataset, index):
        dataset.VOILUTFunction = "SIGMOID"

    made = phantom.series(tmp_path, edit=sigmoid, slope=2.0)
    (volume,) = sansfilm.read(made.folder)
    middle = volume.window()[tuple(size // 2 for size in volume.array.shape)]
    assert grey_of(look(seen(made))) == pytest.approx(middle, abs=2)


def grey_of(picture):
    """Return the grey of the body in the axial panel, at the lower left."""
    rows, columns = picture.shape[:2]
    return looking.body_grey([picture[rows // 2 :, : columns // 2]])


# ------------------------------------------------------------------------------ without a browser


def test_the_nifti_is_at_the_patients_place(tmp_path):
    made = phantom.series(tmp_path, phantom.OBLIQUE["oblique axial"], shear=phantom.SHEAR)
    (volume,) = sansfilm.read(made.folder)
    image = nibabel.Nifti1Image.from_bytes(make_nifti(volume, 0, {}))
    index = np.argwhere(np.asarray(image.dataobj) >= 0)[::97]
    places = nibabel.affines.apply_affine(image.affine, index) * [-1, -1, 1]
    found = np.asarray(image.dataobj)[tuple(index.T)]
    agree = found == phantom.value(places)
    assert agree.mean() > 0.999  # the file's matrix has single precision
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 0)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_one_time_is_sent(tmp_path):
    (volume,) = sansfilm.read(phantom.beating(tmp_path).folder)
    sent = [nibabel.Nifti1Image.from_bytes(make_nifti(volume, 0, {"t": t})) for t in range(2)]
    assert [image.ndim for image in sent] == [3, 3]
    assert [int(np.asarray(image.dataobj).max()) for image in sent] == [phantom.SHELL, 0]
    with pytest.raises(OptionError, match="t must be 0 to 1"):
        make_nifti(volume, 0, {"t": 2})


def test_large_levels_are_not_sent_unasked(volume_of, monkeypatch):
    volume = volume_of(slices=8, options=Options(storage=Storage(smallest=10, slab=8, chunk=8)))
    assert choose_level(volume) == 0
    monkeypatch.setattr("sansfilm.view.niivue._BYTES", volume.levels[1].nbytes)
    assert choose_level(volume) == 1
    monkeypatch.setattr("sansfilm.view.niivue._BYTES", 1)
    assert choose_level(volume) == len(volume.levels) - 1


def test_what_is_said_and_sent(ipyniivue, volume_of):
    volume = volume_of(slices=3)
    niivue, text = volume.view().children
    assert "not for clinical use" in text.value
    assert "C 40 W 400 HU" in text.value
    (sent,) = niivue.volumes
    assert (sent.cal_min, sent.cal_max, sent.colormap) == (-160, 239, "gray")
    assert "ZZPHI" not in text.value
    assert b"ZZPHI" not in sent.data
    assert volume.view("lung").children[0].volumes[0].cal_min == -1350


def test_texts_are_escaped(ipyniivue, volume_of):
    volume = volume_of(slices=2)
    volume.attributes["modality"] = "<script>x</script>"
    assert "<script>" not in volume.view().children[1].value


def test_what_has_no_place_is_told(ipyniivue, volume_of, unplaced):
    with pytest.raises(OptionError, match="no place in the patient"):
        volume_of(slices=3, edit=unplaced, modality="OT", intercept=0).view()


def test_colour_is_told(ipyniivue, volume_of):
    def in_colour(dataset, index):
        dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "RGB", 3
        dataset.PlanarConfiguration = 0
        dataset.PixelData = bytes(dataset.Rows * dataset.Columns * 3)
        del dataset.RescaleSlope, dataset.RescaleIntercept

    colour = {"bits_allocated": 8, "bits_stored": 8, "intercept": 0, "window": None}
    with pytest.raises(OptionError, match="no place for colour"):
        volume_of(slices=3, edit=in_colour, modality="OT", **colour).view()


def test_without_ipyniivue_the_cure_is_told(volume_of, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipyniivue", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'sansfilm\[notebook\]'"):
        volume_of(slices=2).view()
