"""A headless Chromium that draws pages and takes their pictures, over its debugging pipe.

Drawn in software, so that WebGL works on any machine. It gets pages from the loopback alone.
"""

import base64
import io
import json
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

COMMAND = next((path for name in ("chromium", "chromium-browser", "google-chrome")
                if (path := shutil.which(name))), None)  # fmt: skip
FULL = os.environ.get("SANSFILM_VIEWERS") == "all"
"""Whether every way of acquiring is looked at, as `make test-viewers` does."""
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--remote-debugging-pipe",
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--no-first-run", "--disable-extensions", "--disable-background-networking",
    "--hide-scrollbars", "--force-device-scale-factor=1",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)  # fmt: skip


full = pytest.mark.skipif(not FULL, reason="looked at by make test-viewers")


def ways(names):
    """Return the names of what is looked at: all of them, or the first and the last."""
    names = list(names)
    return names if FULL else [names[0], names[-1]]


class Chromium:
    """One tab. Use as a context manager."""

    def __init__(self, folder, size=(900, 700)):
        (theirs_in, self._out), (self._in, theirs_out) = os.pipe(), os.pipe()
        flags = [*_FLAGS, f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}"]
        # the pipe has to be at 3 and 4
        line = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", line, "chromium", COMMAND, *flags, "about:blank"],
            pass_fds=(theirs_in, theirs_out), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._number, self._session, self._rest, self.told = 0, None, b"", []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        answer = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = answer["sessionId"]
        self.call("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1],
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        self.call("Runtime.enable")

    def call(self, method, **parameters):
        """Send a command, wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            found, end, rest = self._rest.partition(b"\0")
            if not end:
                more = os.read(self._in, 1 << 20)
                assert more, "Chromium has gone"
                self._rest += more
                continue
            self._rest = rest
            answer = json.loads(found)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            if answer.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
                self.told.append(json.dumps(answer["params"])[:2000])

    def open(self, url):
        self.call("Page.navigate", url=url)

    def ask(self, expression):
        """Evaluate JavaScript; what it promises is waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True,
                           returnByValue=True)  # fmt: skip
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, expression, seconds=60):
        """Wait until JavaScript is true."""
        end = time.monotonic() + seconds
        while not self.ask(expression):
            assert time.monotonic() < end, f"still not: {expression}\n" + "\n".join(self.told)
            time.sleep(0.1)

    def picture(self):
        """Return what is on the screen, uint8 (rows, columns, 3)."""
        data = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._out)
        os.close(self._in)
