"""Browsers without a window, driven over their own protocols: Chromium's DevTools, Firefox' WebDriver BiDi."""

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager

from websockets.sync.client import connect

NAMES = {"chromium": ("chromium", "chromium-browser", "google-chrome"), "firefox": ("firefox-esr", "firefox")}
_PREFERENCES = {
    "network.proxy.type": 0,
    "media.cubeb.force_mock_context": True,  # without a sound card Firefox would not play
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "browser.shell.checkDefaultBrowser": False,
}
_KEYS = {"Enter": ("\ue007", 13), "Escape": ("\ue00c", 27), "Tab": ("\ue004", 9), "Control": ("\ue009", 17)}


def find(kind):
    """The path of an installed browser, or None."""
    return next((path for name in NAMES[kind] if (path := shutil.which(name))), None)


@contextmanager
def browsing(kind, folder, preload=""):
    """A browser with one page. folder: an empty one for its profile; preload: JavaScript that runs before any of a page's"""
    make = {"chromium": _Chromium, "firefox": _Firefox}[kind]
    with (folder / "log").open("wb") as log:
        command = [find(kind), *make.arguments(folder)]
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "MOZ_HEADLESS": "1"})
        try:
            with connect(make.address(folder), max_size=None, proxy=None, compression=None) as socket:
                browser = make(socket)
                browser.begin(preload)
                yield browser
        finally:
            process.terminate()
            process.wait(20)


class _Browser:
    def __init__(self, socket):
        self._socket, self._numbers = socket, itertools.count(1)

    def _ask(self, method, **fields):
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": fields}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer.get("result", {})

    def wait(self, condition, seconds=60):
        """Until a JavaScript expression is true."""
        ends = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < ends, (
                f"{condition}: not within {seconds} s; {self.run('document.body.innerText')}"
            )
            time.sleep(0.03)

    def click(self, selector):
        """A click of the mouse in the middle of an element."""
        box = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{box}.scrollIntoView({{block: 'center'}})")
        x, y = self.run(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({box}.getBoundingClientRect())")
        self._click(round(x), round(y))


class _Chromium(_Browser):
    @staticmethod
    def arguments(folder):
        sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        quiet = "--headless=new --no-first-run --no-proxy-server --disable-gpu --mute-audio --remote-debugging-port=0"
        return [*quiet.split(), *sandbox, f"--user-data-dir={folder / 'profile'}", "about:blank"]

    @staticmethod
    def address(folder):
        port = _told(folder / "profile" / "DevToolsActivePort", r"(\d+)\n")
        for _ in range(100):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=20) as answer:
                pages = [page for page in json.load(answer) if page["type"] == "page"]
            if pages:
                return pages[0]["webSocketDebuggerUrl"]
            time.sleep(0.1)
        raise AssertionError("Chromium opened no page")

    def begin(self, preload):
        self._ask("Page.enable")
        self._ask("Page.addScriptToEvaluateOnNewDocument", source=preload)

    def open(self, address):
        self._ask("Page.navigate", url=address)
        self.wait(f"location.href.startsWith({json.dumps(address)}) && document.readyState === 'complete'")

    def run(self, expression):
        """The value of a JavaScript expression, awaited."""
        made = self._ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in made, made
        return made["result"].get("value")

    def type(self, text):
        self._ask("Input.insertText", text=text)

    def press(self, key, control=False):
        code = _KEYS[key][1]
        fields = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 2 * control}
        self._ask("Input.dispatchKeyEvent", type="rawKeyDown", **fields)
        self._ask("Input.dispatchKeyEvent", type="keyUp", **fields)

    def _click(self, x, y):
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def look(self, width, height=900, dark=False):
        """Gives the page another size and scheme."""
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self):
        """PNG of the whole page."""
        return base64.b64decode(self._ask("Page.captureScreenshot", captureBeyondViewport=True)["data"])


class _Firefox(_Browser):
    @staticmethod
    def arguments(folder):
        profile = folder / "profile"
        profile.mkdir()
        lines = (f'user_pref("{name}", {json.dumps(value)});' for name, value in _PREFERENCES.items())
        (profile / "user.js").write_text("\n".join(lines))
        return ["--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", str(profile)]

    @staticmethod
    def address(folder):
        return _told(folder / "log", r"BiDi listening on (ws://\S+)\s") + "/session"

    def begin(self, preload):
        self._ask("session.new", capabilities={})
        self._page = self._ask("browsingContext.getTree")["contexts"][0]["context"]
        self._ask("script.addPreloadScript", functionDeclaration=f"() => {{ {preload} }}")

    def open(self, address):
        self._ask("browsingContext.navigate", context=self._page, url=address, wait="complete")

    def run(self, expression):
        """The value of a JavaScript expression, awaited."""
        expression = f"(async () => JSON.stringify(await ({expression})))()"
        made = self._ask("script.evaluate", expression=expression, target={"context": self._page}, awaitPromise=True)
        assert made["type"] == "success", made
        return json.loads(made["result"].get("value", "null"))

    def _act(self, kind, actions, **fields):
        source = {"type": kind, "id": kind, "actions": actions, **fields}
        self._ask("input.performActions", context=self._page, actions=[source])

    def type(self, text):
        self._act("key", [{"type": kind, "value": sign} for sign in text for kind in ("keyDown", "keyUp")])

    def press(self, key, control=False):
        held = [_KEYS["Control"][0]] * control + [_KEYS[key][0]]
        downs = [{"type": "keyDown", "value": value} for value in held]
        self._act("key", downs + [{"type": "keyUp", "value": value} for value in reversed(held)])

    def _click(self, x, y):
        move = {"type": "pointerMove", "x": x, "y": y}
        self._act("pointer", [move, {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}])

    def look(self, width, height=900, dark=False):
        """Gives the page another size; its scheme stays."""
        self._ask("browsingContext.setViewport", context=self._page, viewport={"width": width, "height": height})

    def picture(self):
        """PNG of the whole page."""
        made = self._ask("browsingContext.captureScreenshot", context=self._page, origin="document")
        return base64.b64decode(made["data"])


def _told(path, pattern, seconds=60):
    """What a browser writes into a file when it is ready."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        text = path.read_text(errors="replace") if path.exists() else ""
        if found := re.search(pattern, text):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(f"the browser did not start: {text[-2000:]}")
