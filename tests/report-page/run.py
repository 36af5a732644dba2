"""Opens the page of a sample report in headless Chromium, and looks whether it is whole and works.

Run by hand as `python3 tests/report-page/run.py --shots FOLDER` to look at it oneself.
"""

import argparse
import base64
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from chromium import Chromium

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
THEMES = ["light", "dark"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=pathlib.Path, help="a folder for screenshots")
    parser.add_argument("--page", type=pathlib.Path, help="an index.html [default: of sample records]")
    options = parser.parse_args()
    binary = find_chromium()
    if binary is None:
        print("skipped: Chromium is not installed, and only root can install it "
              "(Debian, Ubuntu: `apt-get install chromium`)")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        page = options.page or make_page(pathlib.Path(folder))
        if options.shots:
            options.shots.mkdir(parents=True, exist_ok=True)
        with Chromium(binary) as browser:
            complaints = check(browser, page.resolve().as_uri(), options.shots)
    for complaint in complaints:
        print(complaint)
    print(f"report page: {len(complaints)} complaints")
    return 1 if complaints else 0


def find_chromium():
    """Its path; as root it is installed if it is missing."""
    names = ["chromium", "chromium-browser", "google-chrome"]
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print("installing chromium", flush=True)
        # The package lists of a fresh container are empty; a failure shows in the next command.
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends",
                   "chromium", "fonts-liberation"]
        subprocess.run(install, check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
        found = shutil.which("chromium")
    return found


def make_page(folder):
    cargo = [os.environ.get("CARGO", "cargo"), "run", "--quiet", "--package", "loadgen"]
    records = folder / "records"
    subprocess.run([*cargo, "--example", "sample_records", "--", records], cwd=ROOT, check=True)
    scenario = HERE / "sample.toml"
    report = ["--bin", "zeoxide-loadgen", "--", "report", records, "--page", folder, "--scenario", scenario]
    subprocess.run([*cargo, *report, "--title", "Sample shootout"], cwd=ROOT, check=True)
    return folder / "index.html"


def check(browser, url, shots):
    complaints = []
    for theme in THEMES:
        browser.call("Emulation.setEmulatedMedia",
                     features=[{"name": "prefers-color-scheme", "value": theme}])
        for name, (width, height) in SIZES.items():
            browser.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                         deviceScaleFactor=1, mobile=name == "phone")
            browser.open(url)
            if shots:
                shoot(browser, shots / f"{name}-{theme}-top.png", whole=False)
            found = browser.evaluate((HERE / "checks.js").read_text())
            found += behaviour(browser) + contrast(browser) + news(browser, url)
            complaints += [f"{name}, {theme}: {complaint}" for complaint in found]
            if shots:
                shoot(browser, shots / f"{name}-{theme}.png", whole=True)
    return complaints


def behaviour(browser):
    """Sorts a table both ways, and switches a variant off and on."""
    complaints = []
    heads = "[...document.querySelector('#section-0 table.sortable').querySelectorAll('th')]"
    rate = f"{heads}.findIndex((head) => head.textContent === 'operations/s')"
    column = f"""[...document.querySelector('#section-0 table.sortable').tBodies[0].rows]
        .map((row) => row.cells[{rate}].dataset.value).map((text) => text ? Number(text) : null)"""
    for expected in ("ascending", "descending"):
        browser.evaluate(f"{heads}[{rate}].querySelector('button').click()")
        found = browser.evaluate(column)
        values = sorted((value for value in found if value is not None),
                        reverse=expected == "descending")
        # What has no number comes last, either way.
        if found != values + [None] * (len(found) - len(values)) or len(set(values)) < 2:
            complaints.append(f"the table is not sorted {expected}: {found}")
    count = "[...document.querySelectorAll('[data-variant=\"1\"]')].filter(isShown).length"
    shown = f"""(() => {{ const isShown = (e) => e.getClientRects().length > 0; return {count}; }})()"""
    switch = "document.querySelector('[data-switches=\"1\"]').click()"
    before = browser.evaluate(shown)
    browser.evaluate(switch)
    without = browser.evaluate(shown)
    browser.evaluate(switch)
    after = browser.evaluate(shown)
    if not (before == after > 0 and without == 0):
        complaints.append(f"a variant is not switched off and on: {before}, {without}, {after}")
    return complaints


def contrast(browser):
    """Text must be readable on its ground: 4.5 to 1, by the formula of WCAG 2."""
    return browser.evaluate("""(() => {
      const parse = (colour) => colour.match(/[0-9.]+/g).map(Number);
      const luminance = (rgb) => {
        const [r, g, b] = rgb.map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ground = (element) => {
        if (!element) return [255, 255, 255];
        const [r, g, b, a = 1] = parse(getComputedStyle(element).backgroundColor);
        if (a === 1) return [r, g, b];
        const below = ground(element.parentElement);
        return [r, g, b].map((c, i) => c * a + below[i] * (1 - a));
      };
      const complaints = [];
      for (const element of document.querySelectorAll('p, td, th, li, a, dt, dd, figcaption, label, .swatch, svg text')) {
        const style = getComputedStyle(element);
        const ink = parse(element.closest('svg') ? style.fill : style.color).slice(0, 3);
        const [a, b] = [luminance(ink), luminance(ground(element))].sort((x, y) => y - x);
        const least = element.matches('.swatch') ? 3 : 4.5;
        if ((a + 0.05) / (b + 0.05) < least) complaints.push(`hard to read: ${element.textContent.slice(0, 40)}`);
      }
      return [...new Set(complaints)].slice(0, 10);
    })()""")


def news(browser, url):
    """What the browser reported since the page was opened: no error, no request but the page."""
    complaints = []
    for event in browser.events:
        parameters = event["params"]
        if event["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            complaints.append(f"{event['method']}: {parameters}")
        elif event["method"] == "Network.requestWillBeSent":
            asked = parameters["request"]["url"]
            if asked != url and not asked.startswith("data:"):
                complaints.append(f"asks for {asked}")
    return complaints


def shoot(browser, path, whole):
    size = browser.call("Page.getLayoutMetrics")["cssContentSize"]
    clip = {}
    if whole:
        clip = {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}
    shot = browser.call("Page.captureScreenshot", captureBeyondViewport=whole, **clip)
    path.write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    sys.exit(main())
