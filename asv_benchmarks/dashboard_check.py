"""Opens the page that `make dashboard` published in headless Chromium, and fails unless it lists the benchmarks and draws a graph of each.

python asv_benchmarks/dashboard_check.py [--screenshot FILE.png] [FOLDER]

Chromium is driven by chromedriver, by the HTTP of W3C's WebDriver; without the two programs the check says so and passes.
"""

import argparse
import base64
import contextlib
import functools
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
           "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1400,1300"]  # fmt: skip
# Coloured pixels on the canvases: axes and grid lines are shades of grey, so these are lines and points.
PIXELS = """
let coloured = 0;
for (const canvas of document.querySelectorAll("canvas")) {
    if (canvas.width == 0 || canvas.height == 0) continue;
    const p = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    for (let i = 0; i < p.length; i += 4)
        if (p[i + 3] > 100 && Math.max(p[i], p[i + 1], p[i + 2]) - Math.min(p[i], p[i + 1], p[i + 2]) > 80) coloured++;
}
return coloured;
"""
TEXT = "return document.body.innerText"
ADDRESSES = "return performance.getEntriesByType('resource').map(entry => entry.name)"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def served(folder):
    """The address of a folder on this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Browser:
    """A session of chromedriver."""

    def __init__(self, address: str, options: dict):
        self.session = f"{address}/session"
        self.session += "/" + self.ask("", capabilities={"alwaysMatch": {"goog:chromeOptions": options}})["sessionId"]

    def ask(self, command, **body):
        """What a command of WebDriver answers; without a body it is a GET."""
        request = urllib.request.Request(self.session + command, json.dumps(body).encode() if body else None, {"Content-Type": "application/json"})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise SystemExit(f"dashboard: chromedriver answers {error.read()[:500]!r}") from None

    def run(self, script):
        """What a script returns in the page."""
        return self.ask("/execute/sync", script=script, args=[])

    def until(self, script, good, seconds=15):
        """What a script returns as soon as that is good, or at last."""
        stop = time.perf_counter() + seconds
        while not good(value := self.run(script)) and time.perf_counter() < stop:
            time.sleep(0.1)
        return value


@contextlib.contextmanager
def opened(chromium: str, driver: str):
    """A Browser of its own, with an empty profile."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True) as process,
    ):
        try:
            port = next(found[1] for line in process.stdout if (found := re.search(r"successfully on port (\d+)", line)))
            browser = Browser(f"http://127.0.0.1:{port}", {"binary": chromium, "args": [*OPTIONS, f"--user-data-dir={profile}"]})
            try:
                yield browser
            finally:
                urllib.request.urlopen(urllib.request.Request(browser.session, method="DELETE"), timeout=60).close()
        finally:
            process.terminate()


def figures(folder):
    """{benchmark: what to ask the page for to see a figure of it}, from what asv published."""
    found = {}
    names = json.loads((folder / "index.json").read_text(encoding="utf-8"))["benchmarks"]
    for path in sorted((folder / "graphs").rglob("*.json")):
        machine = [part.removeprefix("machine-") for part in path.parts if part.startswith("machine-")]
        points = json.loads(path.read_text(encoding="utf-8"))
        if machine and path.stem in names and points:
            values = points[-1][1] if isinstance(points[-1][1], list) else [points[-1][1]]  # one for each choice of parameters
            series = [number for number, value in enumerate(values) if value is not None]
            found[path.stem] = urllib.parse.urlencode({"view": "explore", "bench": path.stem, "machine": machine[0], "params": (series or [0])[0]})
    return found


def look(browser, address, measured):
    """Raises SystemExit unless the page that is served there lists what was measured and draws it, from files that lie there."""
    for count, (name, where) in enumerate(measured.items()):  # another query, so that the page is read anew
        browser.ask("/url", url=f"{address}/?{count}#{where}")
        text = browser.until(TEXT, lambda text: all(name in text for name in measured))
        if missing := [name for name in measured if name not in text]:
            raise SystemExit(f"dashboard: the page does not list {', '.join(missing)}; it says {text[:500]!r}")
        if not browser.until(PIXELS, lambda coloured: coloured > 0):
            raise SystemExit(f"dashboard: no graph is drawn of {name}")
        if elsewhere := [url for url in browser.run(ADDRESSES) if not url.startswith(address)]:
            raise SystemExit(f"dashboard: the page asks elsewhere for {', '.join(elsewhere)}")


def main() -> None:
    """Looks at the published page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=pathlib.Path(__file__).parent / ".asv" / "html")
    parser.add_argument("--screenshot", type=pathlib.Path, help="of the last graph")
    args = parser.parse_args()
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        return print("dashboard: not looked at, for chromium and chromedriver are not installed")
    measured = figures(args.folder)
    if not measured:
        raise SystemExit("dashboard: nothing was measured")
    with opened(chromium, driver) as browser, served(args.folder) as address:
        look(browser, address, measured)
        if args.screenshot:
            args.screenshot.write_bytes(base64.b64decode(browser.ask("/screenshot")))
    print(f"dashboard: {len(measured)} benchmarks listed, a graph drawn of each")


if __name__ == "__main__":
    main()
