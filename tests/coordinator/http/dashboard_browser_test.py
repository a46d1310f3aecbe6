#!/usr/bin/env python3
"""dashboard_browser_test.py BUILD_DIR [SHOTS_DIR [CANDIDATES]]: a coordinator replays made-up jobs, and a headless Chromium
looks at them.

With SHOTS_DIR pictures of each page are left there (docs/dashboard.md shows some). The largest job has CANDIDATES candidates,
10,000 unless set (a multiple of 100, at least 1,000). Skipped (77) without Chromium.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import browser  # noqa: E402

BUILD = pathlib.Path(sys.argv[1])
SHOTS = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
CANDIDATES = int(sys.argv[3]) if len(sys.argv) > 3 else 10_000
# A bound that a busy machine of the test keeps too; docs/dashboard.md has what was measured on an idle one.


class Coordinator:
    def __init__(self, folder, store, *flags):
        ports = folder / f"ports-{len(flags)}"
        ports.unlink(missing_ok=True)  # of one before
        self.process = subprocess.Popen(
            [BUILD / "bin/merganser-coordinator", "--store", store, "--listen", "127.0.0.1:0", "--worker-listen", "127.0.0.1:0",
             "--http", "127.0.0.1:0", "--port-file", ports, *flags], stderr=open(folder / f"log-{len(flags)}", "wb"))
        for _ in range(1200):
            if ports.exists():
                break
            time.sleep(0.1)
        self.url = "http://" + dict(line.split() for line in ports.read_text().splitlines())["http"]
        for _ in range(900):  # it leads once it has read all logs
            try:
                urllib.request.urlopen(self.url + "/readyz").close()
                return
            except urllib.error.HTTPError:
                time.sleep(0.1)

    def end(self):
        self.process.terminate()
        self.process.wait()


def shot(b, name, selector=None):
    if SHOTS:
        SHOTS.mkdir(parents=True, exist_ok=True)
        b.shot(str(SHOTS / f"{name}.png"), selector)


def text(selector):
    return f"document.querySelector('{selector}')?.innerText"


def jobs_page(b, url):
    b.go(url + "/")
    b.wait("document.querySelectorAll('main tbody tr').length === 4")
    assert b.run("[...document.querySelectorAll('main tbody th a')].map(a => a.textContent).join()") == "waits,path,two-objectives,search"
    assert b.wait(text("#connection") + " === 'live'")
    assert b.run("document.querySelectorAll('progress').length") >= 3
    shot(b, "jobs")


def held_out_texts(b):
    """Shares are percent, whose intervals end where they do; other metrics are numbers, whatever their filter, member or language."""
    b.run("import('/dom.js').then((m) => { window.metricTexts = m.metricTexts })")
    for metric, value, interval, samples, texts in (
            ("acc_ja", 0.5, [0.4, 0.6], 10, ["50.0 %", "40.0 % to 60.0 %"]),
            ("rouge2@strict", 0.98, [0.95, 1.01], 10, ["98.0 %", "95.0 % to 100.0 %"]),
            ("rouge2", 0.01, [-0.01, 0.03], 10, ["1.0 %", "0.0 % to 3.0 %"]),
            ("mcc", 0.1, [-0.1, 0.3], 10, ["10.0 %", "-10.0 % to 30.0 %"]),
            ("gain", 0.1, [-0.1, 0.3], None, ["10.0 %", "-10.0 % to 30.0 %"]),
            ("word_perplexity", 12.3, [11, 13.6], 10, ["12.3000", "11.0000 to 13.6000"]),
            ("texts.bleu_ja@v1.strict", 0.5, [-0.5, 1.5], 10, ["0.5000", "-0.5000 to 1.5000"]),
            ("log_likelihood", -0.5, None, 10, ["-0.5000", "–"])):
        line = json.dumps({"metric": metric, "value": value, "interval": interval, "samples": samples})
        assert b.run(f"window.metricTexts({line})") == texts, (line, b.run(f"window.metricTexts({line})"))


def large_job(b, url):
    painted = []
    for _ in range(3):
        b.go("about:blank")
        b.wait("location.href === 'about:blank'")
        b.go(url + "/#/jobs/job-1")
        # Painted: chart, recipe and table are there, and a frame has passed.
        painted.append(b.wait("""(async () => {
          if (!document.querySelector('.chart canvas') || document.querySelectorAll('main section table.wide tbody tr').length < 25) return 0;
          if (!document.querySelector('svg.picture rect.cell')) return 0;
          await new Promise((r) => requestAnimationFrame(() => setTimeout(r)));
          return window.paintedAt ??= performance.now() / 1000; })()"""))
    weight = b.run("performance.getEntriesByType('resource').filter(r => !r.name.includes('/api/')).reduce((s, r) => s + r.transferSize, 0)")
    data = b.run("performance.getEntriesByType('resource').filter(r => r.name.includes('/api/')).reduce((s, r) => s + r.transferSize, 0)")
    print(f"a job of {CANDIDATES:,} candidates is painted after {', '.join(f'{p:.2f}' for p in painted)} s; the page is {weight / 1000:.0f} kB, its data {data / 1000:.0f} kB")
    assert f"{CANDIDATES:,}" in b.run(text(".tiles"))
    assert b.run("document.querySelectorAll('svg.picture rect.cell').length") == 34 * 5   # 34 groups; weight, density of two, lambda
    shot(b, "job")
    shot(b, "recipe", "svg.picture")
    b.scheme("dark")
    time.sleep(0.3)
    shot(b, "job-dark")
    b.scheme("light")


def many_tabs(b, url):
    """A page that nobody looks at holds none of the six connections that a browser opens to one server."""
    for _ in range(9):
        b.go("about:blank")
        b.wait("location.href === 'about:blank'")
        b.go(url + "/#/jobs/job-4")   # never over: it is followed
        b.wait("document.querySelector('h1 .state')?.innerText === 'preparing'")
        b.wait(text("#connection") + " === 'live'")
    assert b.wait(f"{text('main')}.includes('Candidates wait: no worker is connected. merganser-worker')")
    assert b.run("document.querySelector('section[aria-labelledby=events] button').hidden"), "no event is older than the first"


def background(b, url):
    """A job that was opened in a tab behind another shows its events once it is looked at."""
    hidden = b.call("Page.addScriptToEvaluateOnNewDocument", source="Object.defineProperty(document, 'visibilityState', "
                    "{get: () => window.seen ? 'visible' : 'hidden'})")["identifier"]
    lines = "document.querySelectorAll('section[aria-labelledby=events] li').length"
    b.go("about:blank")
    b.wait("location.href === 'about:blank'")
    b.go(url + "/#/jobs/job-1")
    b.wait("document.querySelectorAll('section[aria-labelledby=candidates] tbody tr').length === 25")
    assert b.run(lines) == 0
    b.run("window.seen = true; document.dispatchEvent(new Event('visibilitychange'))")
    b.wait(lines + " === 50")
    b.call("Page.removeScriptToEvaluateOnNewDocument", identifier=hidden)
    b.go("about:blank")
    b.wait("location.href === 'about:blank'")


def narrow(b, url):
    """On a telephone nothing but pictures and tables goes beyond the screen, and these scroll by themselves."""
    b.size(390, 844)
    for page in ("", "#/workers", "#/jobs/job-1", "#/jobs/job-2", "#/jobs/job-3", "#/jobs/job-3/candidates/20", "#/jobs/job-1/compare/205/206"):
        b.go("about:blank")
        b.go(f"{url}/{page}")
        b.wait(f"document.querySelector('main table, main .tiles, main code') && !{text('main')}.includes('Loading')")
        time.sleep(0.3)
        assert b.run("document.documentElement.scrollWidth") == 390, page
        shot(b, "narrow-" + (page.strip("#/").replace("/", "-") or "jobs"))
    b.size()


def table(b):
    assert not b.nameless(), b.nameless()
    b.run("document.querySelector('input[type=search]').focus()")
    b.write("g3")
    b.wait("document.querySelector('.pager')?.innerText.includes('of 100')")
    b.run("document.querySelector('.pager button:last-of-type').focus()")
    b.press("Enter")
    b.wait("document.querySelector('.pager')?.innerText.includes('26 to 50')")
    # By keyboard: sort by number, and the focus stays where it was.
    b.run("document.querySelector('button[data-key=number]').focus()")
    b.press("Enter")
    b.wait("document.querySelector('th[aria-sort=ascending] button')?.dataset.key === 'number'")
    assert b.run("document.activeElement.dataset.key") == "number"
    b.press("Enter")
    b.wait("document.querySelector('th[aria-sort=descending] button')?.dataset.key === 'number'")
    b.run("document.querySelector('input[type=search]').focus(); document.querySelector('input[type=search]').value = ''")
    b.write("g3")


def comparison(b):
    b.wait("document.querySelector('.pager')?.innerText.includes('of 100')")
    # The first two of a generation have records.
    b.run("document.querySelector('button[data-key=number]').click()")
    b.wait("document.querySelector('th[aria-sort=ascending] button')?.dataset.key === 'number'")
    b.run("[...document.querySelectorAll('td input[type=checkbox]')].slice(0, 2).forEach((box) => box.click())")
    shot(b, "candidates", "section[aria-labelledby=candidates]")
    b.wait("document.querySelector('.choice a')")
    b.run("document.querySelector('.choice a').click()")
    b.wait("document.querySelectorAll('.pair').length > 0")
    counts = b.run("[...document.querySelectorAll('tbody tr td:nth-child(2)')].map((td) => Number(td.innerText))")
    assert sum(counts[:4]) == 200, counts
    assert b.run("document.querySelectorAll('.pair .right').length") == b.run("document.querySelectorAll('.pair .wrong').length")
    assert "<b>is</b>" in b.run(text("main")), "what a model says is text"
    assert not b.nameless(), b.nameless()
    shot(b, "compare")


def candidate(b, url):
    b.go(url + "/#/jobs/job-3/candidates/20")
    b.wait("document.querySelectorAll('svg.picture circle.hop').length === 24")
    shot(b, "path", "svg.picture")
    b.run("document.querySelectorAll('details')[0].open = true")
    b.wait("document.querySelector('details table tbody')?.children.length === 24")
    assert not b.nameless(), b.nameless()


def pareto(b, url):
    b.go(url + "/#/jobs/job-2")
    b.wait("document.querySelectorAll('svg.picture circle.front').length > 2")
    assert b.run("document.querySelectorAll('svg.picture circle.baseline-point').length") == 4
    shot(b, "pareto", "section[aria-labelledby=pareto-front]")
    assert "hypervolume 0." in b.run(text("section[aria-labelledby=pareto-front] p")), "above (0, 0), and both lie in [0, 1]"
    # Each objective sorts.
    b.run("document.querySelector('button[data-key=fitness1]').click()")
    b.wait("document.querySelector('th[aria-sort=descending] button')?.dataset.key === 'fitness1'")
    column = b.run("[...document.querySelectorAll('section[aria-labelledby=candidates] tbody tr')].map(r => Number(r.cells[6].innerText))")
    assert column == sorted(column, reverse=True) and column[0] > column[-1], column
    # The chart by keyboard.
    b.run("document.querySelector('.chart').focus()")
    for _ in range(3):
        b.press("ArrowRight")
    assert b.wait("document.getElementById('announce').textContent.startsWith('candidate ')")
    b.press("Enter")
    b.wait("location.hash.includes('/candidates/')")


def events(b, url):
    """The events of a job, narrowed down by keyboard."""
    section = "section[aria-labelledby=events]"
    lines = f"[...document.querySelectorAll('{section} li')].map(li => li.innerText)"
    b.go(url + "/#/jobs/job-1")
    b.wait(f"{lines}.length === 50")   # what the stream begins with
    b.run(f"document.querySelector('{section} input[type=search]').focus()")
    b.write("worker-3")
    b.wait(f"{lines}.length > 0 && {lines}.every(t => t.includes('worker-3'))")
    b.press("Tab")
    assert b.run("document.activeElement.tagName") == "SELECT"
    for _ in range(3):
        b.press("ArrowDown")
    b.wait("document.activeElement.selectedOptions[0].innerText === 'results'")
    b.wait(f"{text(section + ' [role=status]')}.includes('No such event among the newest 10,000')")   # a result names no worker
    b.run(f"document.querySelector('{section} input[type=search]').select()")
    b.write("succeeded")
    b.wait(f"{lines}.length === 50 && {lines}.every(t => t.includes('succeeded'))")
    b.run(f"document.querySelector('{section} button').focus()")
    b.press("Enter")
    b.wait(f"{lines}.length === 100")
    assert not b.nameless(), b.nameless()
    shot(b, "events", section)


def keyboard(b, url):
    """From the address bar on: the skip link, the navigation, then what the page holds; and an update takes no focus away."""
    b.go("about:blank")
    b.go(url + "/#/jobs/job-4")
    b.wait("document.querySelector('button.danger')")
    said = []
    for _ in range(7):
        b.press("Tab")
        said.append(b.run("document.activeElement.innerText"))
    assert said == ["Skip to content", "Merganser", "Jobs", "Workers", "Jobs", "Pause", "Cancel job …"], said
    b.run("document.activeElement.focusedBefore = true")
    urllib.request.urlopen(urllib.request.Request(url + "/api/jobs/job-4/pause", method="POST", headers={"X-Merganser": "dashboard"})).close()
    b.wait("document.querySelector('.actions button:not(.danger)').innerText === 'Resume'")
    assert b.run("document.activeElement.innerText") == "Cancel job …"
    assert not b.run("document.activeElement.focusedBefore"), "it was drawn again"
    urllib.request.urlopen(urllib.request.Request(url + "/api/jobs/job-4/resume", method="POST", headers={"X-Merganser": "dashboard"})).close()
    b.wait("document.querySelector('.actions button:not(.danger)').innerText === 'Pause'")
    b.run("document.querySelector('.skip').focus()")
    b.press("Enter")
    assert b.run("document.activeElement.id") == "main" and b.run("location.hash") == "#/jobs/job-4"


def outage(b, url):
    """Who opens a page while the network is away sees it once it is back."""
    b.go(url + "/")
    b.wait("document.querySelectorAll('main tbody tr').length === 4")
    for page, there in (("#/jobs/job-2", "main svg.picture"), ("#/jobs/job-3/candidates/20", ".pair")):
        b.offline(True)
        b.run(f"location.hash = '{page}'")
        b.wait(f"{text('main [role=alert]')}.includes('trying again')")
        b.offline(False)
        b.wait(f"document.querySelector('{there}')")
    b.errors[:] = [e for e in b.errors if "ERR_INTERNET_DISCONNECTED" not in e]


def pause(b, url):
    b.go(url + "/#/jobs/job-4")
    button = "document.querySelector('.actions button:not(.danger)')"
    b.wait(button + "?.innerText === 'Pause'")
    b.run(button + ".click()")
    b.wait(button + "?.innerText === 'Resume'")   # it came as an event
    assert b.run("document.querySelector('h1').innerText").endswith("paused")
    b.go(url + "/")
    b.wait("document.querySelectorAll('main tbody .state.paused').length === 1")
    b.go(url + "/#/jobs/job-4")
    b.wait(button + "?.innerText === 'Resume'")
    b.run(button + ".click()")
    b.wait(button + "?.innerText === 'Pause'")


def cancel(b, url):
    b.go(url + "/#/jobs/job-4")
    b.wait("document.querySelector('h1 .state')?.innerText === 'preparing'")
    b.wait("document.querySelector('button.danger')")
    b.run("document.querySelector('button.danger').click()")
    b.wait("document.querySelector('dialog[open]')")
    shot(b, "cancel")
    b.run("document.querySelector('dialog button.danger').click()")
    b.wait("document.querySelector('h1 .state')?.innerText === 'cancelled'")   # it came as an event
    assert b.run("document.querySelector('button.danger') === null")


def workers(b, url):
    b.go(url + "/#/workers")
    b.wait("document.querySelector('main').innerText.includes('No worker is connected')")


def token(b, folder, store):
    (folder / "tokens").write_text("viewer viewers-secret-token\n")
    c = Coordinator(folder, store, "--token-file", folder / "tokens")
    try:
        b.go(c.url + "/")
        b.wait("document.querySelector('dialog[open] input')")
        b.run("document.querySelector('dialog input').focus()")
        b.write("a-wrong-token-of-some-length")
        b.press("Enter")
        b.wait("document.querySelector('dialog[open]')?.innerText.includes('not known')")
        shot(b, "token")
        b.run("document.querySelector('dialog input').focus()")
        b.write("viewers-secret-token")
        b.press("Enter")
        b.wait("document.querySelectorAll('main tbody tr').length === 4")
        b.go(c.url + "/#/jobs/job-4")
        b.wait(f"{text('main')}.includes('Your token may look')")
        assert b.run("document.querySelectorAll('main .actions, main button.danger').length") == 0, "a viewer is offered no change"
    finally:
        c.end()


def candidate_goes_on(b, url):
    """The page of a candidate that waits shows its result when it is there."""
    def act(what):
        urllib.request.urlopen(urllib.request.Request(f"{url}/api/jobs/ja-math/{what}", method="POST", headers={"X-Merganser": "dashboard"})).close()
    while True:   # a generation may just have ended
        act("pause")
        with urllib.request.urlopen(url + "/api/jobs/ja-math/candidates?kind=search&state=queued&limit=1") as answer:
            if rows := json.load(answer)["rows"]:
                break
        act("resume")
        time.sleep(0.05)
    b.go(f"{url}/#/jobs/ja-math/candidates/{rows[0]['number']}")
    b.wait("document.querySelector('h1 .state')?.innerText === 'queued'")
    assert "has no result" in b.run(text("main"))
    act("resume")
    b.wait("document.querySelector('h1 .state')?.innerText === 'succeeded' && document.querySelector('.pair')", 300)


def live(b, folder):
    """A real run on this machine, watched as it goes, and then its report."""
    merganser = BUILD / "bin/merganser"
    if not merganser.exists():
        print("no merganser in this build: no live run")
        return
    example = pathlib.Path("examples/ja-math").resolve()
    job = (example / "job.yaml").read_text()
    job = job.replace("{path: ", f"{{path: {example}/").replace("data: tasks/", f"data: {example}/tasks/")
    job = job.replace("{candidates: 400}", "{candidates: 4000}")   # minutes; it is cancelled below
    (folder / "job.yaml").write_text(job)
    run = subprocess.Popen([merganser, "run", folder / "job.yaml", "--out", folder / "out", "--dashboard", "0"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    url, said = None, []
    for line in run.stderr:
        said.append(line)
        if match := re.search(r"http://127\.0\.0\.1:\d+", line):
            url = match.group()
            break
    assert url, "".join(said)
    b.go(url + "/#/workers")
    b.wait("document.querySelector('tbody .state.busy')")
    b.go(url + "/#/jobs/ja-math")
    b.wait("document.querySelector('h1 .state')?.innerText === 'search'", 300)
    finished = "Number(document.querySelectorAll('.tile dd')[1].firstChild.textContent)"
    before = b.run(finished)
    b.wait(f"{finished} > {before} + 2", 300)   # as events: nobody asked
    b.wait("document.querySelector('.chart canvas') && document.querySelector('svg.picture rect.cell')")
    b.wait(f"document.querySelectorAll('.events li').length > 5")
    candidate_goes_on(b, url)
    b.go(url + "/#/jobs/ja-math")
    b.wait("document.querySelector('button.danger')")
    b.run("document.querySelector('button.danger').click()")
    b.wait("document.querySelector('dialog[open]')")
    b.run("document.querySelector('dialog button.danger').click()")
    rest = run.stderr.read()
    assert run.wait() == 1 and "cancelled" in rest, rest
    b.wait("document.querySelector('.connection.away')")
    b.go((folder / "out/report.html").as_uri())
    b.wait("document.querySelectorAll('svg.picture').length === 2")
    assert b.run("document.querySelectorAll('script').length") == 0
    assert "merganser run job.yaml" in b.run(text("body"))
    shot(b, "report")


def main():
    if browser.find() is None:
        print("skipped: no chromium")
        return 77
    with tempfile.TemporaryDirectory(prefix="merganser-dashboard.") as name:
        folder = pathlib.Path(name)
        subprocess.run([BUILD / "tests/make_store", folder / "made.db", str(CANDIDATES)], check=True)
        store = f"sqlite:{folder}/made.db"
        coordinator = Coordinator(folder, store)
        b = browser.Browser()
        try:
            jobs_page(b, coordinator.url)
            held_out_texts(b)
            many_tabs(b, coordinator.url)
            background(b, coordinator.url)
            narrow(b, coordinator.url)
            large_job(b, coordinator.url)
            table(b)
            comparison(b)
            candidate(b, coordinator.url)
            pareto(b, coordinator.url)
            events(b, coordinator.url)
            keyboard(b, coordinator.url)
            outage(b, coordinator.url)
            pause(b, coordinator.url)
            workers(b, coordinator.url)
            assert not b.errors, b.errors
            coordinator.end()
            token(b, folder, store)
            b.go("about:blank")
            b.wait("location.href === 'about:blank'")
            b.errors.clear()  # it was refused until it had a token, and its coordinator has ended
            coordinator = Coordinator(folder, store)
            cancel(b, coordinator.url)
            assert not b.errors, b.errors
            coordinator.end()
            live(b, folder)
            outside = [u for u in b.requests if not re.match(r"http://127\.0\.0\.1:\d+/|about:|data:|file:", u)]
            assert not outside, outside
        finally:
            b.close()
            coordinator.process.kill()
            coordinator.process.wait()
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
