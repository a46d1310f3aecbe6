"""A headless Chromium, driven over a pair of pipes by its DevTools protocol. Only Python's own library."""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time


def find():
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        if path := shutil.which(name):
            return path
    return None


class Browser:
    """One tab. `requests`: URLs asked for; `errors`: what the page's scripts threw or logged as errors."""

    FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
             "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
             "--remote-debugging-pipe")

    def __init__(self, width=1280, height=900):
        self._profile = tempfile.mkdtemp(prefix="merganser-chromium.")
        read_end, self._write = os.pipe()
        self._read, write_end = os.pipe()
        # Chromium reads commands from descriptor 3 and answers on 4, each message ending in a zero byte.
        shell = f'exec "$0" "$@" 3<&{read_end} 4>&{write_end}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, find(), *self.FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
            pass_fds=(read_end, write_end), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(read_end)
        os.close(write_end)
        self._buffer, self._id, self._session = b"", 0, None
        self.requests, self.errors = [], []
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
            self.call(domain + ".enable")
        self._size = width, height
        self.size()

    def close(self):
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method, **params):
        self._id += 1
        message = {"id": self._id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive(300)
            if answer.get("id") != self._id:
                continue
            if "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']}")
            return answer["result"]

    def _receive(self, seconds):
        deadline = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError("Chromium does not answer")
            chunk = os.read(self._read, 1 << 20)
            if not chunk:
                raise RuntimeError("Chromium ended")
            self._buffer += chunk
        message, self._buffer = self._buffer.split(b"\0", 1)
        message = json.loads(message)
        method, params = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"].get("exception", {}).get("description") or str(params))
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.errors.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            # An interface that came or went on this machine: the pages ask again.
            if "ERR_NETWORK_CHANGED" not in params["entry"]["text"]:
                self.errors.append(params["entry"]["text"] + " " + params["entry"].get("url", ""))
        return message

    def size(self, width=None, height=None):
        """Of the window; without numbers the one that it began with."""
        self.call("Emulation.setDeviceMetricsOverride", width=width or self._size[0], height=height or self._size[1],
                  deviceScaleFactor=1, mobile=False)

    def go(self, url):
        self.call("Page.navigate", url=url)

    def run(self, script):
        """The value of a JavaScript expression (a promise is waited for)."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(script + ": " + str(result["exceptionDetails"].get("exception", {}).get("description")))
        return result["result"].get("value")

    def wait(self, script, seconds=60):
        """Until the expression is true; its value."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                value = self.run(script)
                if value or value == {}:  # {}: an element
                    return value
            except RuntimeError:  # the page is being replaced
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"never true: {script}\npage: {self.run('document.body.innerText')[:2000]}")
            time.sleep(0.05)

    def press(self, key):
        codes = {"Tab": 9, "Enter": 13, "ArrowRight": 39, "ArrowDown": 40, "Escape": 27}
        extra = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=codes[key], **extra)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=codes[key])

    def write(self, text):
        self.call("Input.insertText", text=text)

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def offline(self, away):
        """Every further request fails at once, or (False) no more."""
        self.call("Network.emulateNetworkConditions", offline=away, latency=0, downloadThroughput=-1, uploadThroughput=-1)

    def shot(self, path, selector=None):
        """A picture of what is seen, or of the whole of one element."""
        params = {}
        if selector:
            box = self.run(f"""(() => {{ const r = document.querySelector({json.dumps(selector)}).getBoundingClientRect();
              return {{x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height}}; }})()""")
            params = {"clip": {**box, "scale": 1}, "captureBeyondViewport": True}
        with open(path, "wb") as out:
            out.write(base64.b64decode(self.call("Page.captureScreenshot", format="png", **params)["data"]))

    def nameless(self):
        """Controls that a screen reader has no name for."""
        found = []
        for node in self.call("Accessibility.getFullAXTree")["nodes"]:
            role = node.get("role", {}).get("value")
            if role in ("button", "link", "textbox", "searchbox", "combobox", "checkbox", "image", "progressbar"):
                if not node.get("ignored") and not node.get("name", {}).get("value"):
                    found.append(role)
        return found
