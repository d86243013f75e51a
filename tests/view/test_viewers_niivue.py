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
import synth
from chromium import COMMAND, Chromium
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


@pytest.mark.parametrize("name", phantom.ALL)
def test_each_side_of_the_patient_is_at_its_letter(tmp_path, look, name):
    picture = look(seen(phantom.series(tmp_path, phantom.ALL[name])))
    keep(f"niivue {name}", picture)
    looking.check(picture)


@pytest.mark.parametrize("name", ["axial", "oblique sagittal"])
def test_the_order_of_the_files_does_not_matter(tmp_path, look, name):
    looking.check(look(seen(phantom.series(tmp_path, phantom.ALL[name], backwards=True))))


def test_shear_is_drawn_as_it_is(tmp_path, look):
    """A ball stays a ball: a viewer that forgets the shear draws an egg that leans."""
    picture = look(seen(phantom.series(tmp_path, phantom.AXIAL, shear=phantom.SHEAR)))
    keep("niivue sheared", picture)
    looking.check(picture)
    for rows, columns in looking.outlines(picture):
        assert rows / columns == pytest.approx(1, abs=0.06)


def test_other_levels_lie_in_the_same_place(tmp_path, look):
    made = phantom.series(tmp_path, spacing=(1.2, 1.2, 1.2))
    options = Options(storage=Storage(smallest=32, slab=32, chunk=32))
    looking.check(look(seen(made, options=options, level=1)))


def test_monochrome1_is_inverted(tmp_path, look):
    picture = look(seen(phantom.series(tmp_path, inverted=True)))
    keep("niivue monochrome1", picture)
    looking.check(picture)
