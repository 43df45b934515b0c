"""A headless Chromium that reaches this machine only, driven through its debugging protocol."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

# Pages are made of shadow roots: these look into them.
DEEP = """
window.deep = selector => {
  const found = [];
  const walk = node => {
    found.push(...node.querySelectorAll(selector));
    node.querySelectorAll("*").forEach(one => one.shadowRoot && walk(one.shadowRoot));
  };
  walk(document);
  return found;
};
window.said = () => {
  let text = "";
  const walk = node => node.childNodes.forEach(one => {
    if (one.nodeType === 3) text += one.data + " ";
    else if (one.nodeType === 1 && !["STYLE", "SCRIPT"].includes(one.tagName)) {
      if (one.shadowRoot) walk(one.shadowRoot);
      walk(one);
    }
  });
  walk(document.body);
  return text.replace(/\\s+/g, " ");
};
"""
SECONDS = 60.0  # a busy machine draws a page late


class Browser:
    """One window; ``asked`` are the addresses it asked for, ``errors`` what its console said."""

    def __init__(self, program: str, folder: Path):
        hosts = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        command += ["--disable-background-networking", f"--host-resolver-rules={hosts}"]
        command += ["--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.open_ = ExitStack()
        self.numbers = itertools.count(1)
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.socket = self._connect(folder / "DevToolsActivePort")
        for domain in ("Page", "Network", "Runtime", "Log", "Accessibility"):
            self.send(f"{domain}.enable")
        self.send("Page.addScriptToEvaluateOnNewDocument", source=DEEP)
        self.look()

    def _connect(self, file: Path) -> ClientConnection:
        end = time.monotonic() + SECONDS
        while True:
            try:
                port = file.read_text(encoding="utf-8").split()[0]
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                    tabs = json.load(answer)
                tab = next(tab for tab in tabs if tab["type"] == "page")
                return self.open_.enter_context(connect(tab["webSocketDebuggerUrl"], max_size=None))
            except (OSError, IndexError, StopIteration):
                assert time.monotonic() < end, "chromium did not start"
                time.sleep(0.05)

    def close(self) -> None:
        self.open_.close()
        self.process.terminate()
        self.process.wait()

    def send(self, method: str, **params: Any) -> Any:
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv(timeout=SECONDS))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message.get("method"), message.get("params", {}))

    def _note(self, event: str, about: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.asked.append(about["request"]["url"])
        elif event == "Network.webSocketCreated":
            self.asked.append(about["url"])
        elif event == "Runtime.exceptionThrown":
            self.errors.append(str(about["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and about["type"] == "error":
            self.errors.append(str(about["args"]))
        elif event == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.errors.append(str(about["entry"]))

    def js(self, code: str) -> Any:
        found = self.send(
            "Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, code: str, seconds: float = SECONDS) -> Any:
        """Wait until an expression is true; returns its value."""
        end = time.monotonic() + seconds
        while not (found := self.js(f"(() => {{ try {{ return {code} }} catch (e) {{ }} }})()")):
            assert time.monotonic() < end, f"not seen: {code}\n{self.js('said()')[:2000]}"
            time.sleep(0.1)
        return found

    def look(self, width: int = 1280, dark: bool = False) -> None:
        """Take a screen's width, and the colours that the visitor prefers."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip

    def open(self, address: str, ready: str) -> None:
        """Open an address, and wait until the page says a text."""
        self.send("Page.navigate", url=address)
        self.until(f"said().includes({json.dumps(ready)})")

    def press(self, *keys: str) -> None:
        """Press keys: names as Tab, or texts that are typed."""
        codes = {"Tab": 9, "Enter": 13, "ArrowDown": 40, "Space": 32}
        for key in keys:
            if key not in codes:
                self.send("Input.insertText", text=key)
                continue
            shown = {"Space": " ", "Enter": "\r"}.get(key)
            about = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
            about |= {"text": shown} if shown else {}
            self.send("Input.dispatchKeyEvent", type="keyDown", **about)
            self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    def unnamed(self) -> list[str]:
        """Return the controls that a screen reader could not name."""
        roles = {"textbox", "combobox", "listbox", "button", "spinbutton", "link", "checkbox"}
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        return [
            node["role"]["value"]
            for node in nodes
            if not node.get("ignored")
            and node.get("role", {}).get("value") in roles
            and not node.get("name", {}).get("value", "").strip()
        ]
