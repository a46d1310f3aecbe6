#!/usr/bin/env python3
"""cluster_browser_test.py BIN_DIR: `./dev cluster --observe` as a user meets it. A headless Chromium goes to the addresses that it
prints and sees both workers at work, the job to its end, and Prometheus scraping all three. Skipped (77) without Chromium,
redis-server or Prometheus.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/coordinator/http"))
import browser  # noqa: E402


def small_job(folder):
    example = ROOT / "examples/ja-math"
    job = (example / "job.yaml").read_text()
    for old, new in (("{path: ", f"{{path: {example}/"), ("data: tasks/", f"limit: 20, data: {example}/tasks/"),
                     ("    limit: 20, data", "    limit: 20\n    data"), ("{candidates: 400}", "{candidates: 36}")):
        assert old in job, old
        job = job.replace(old, new)
    (folder / "job.yaml").write_text(job)
    return folder / "job.yaml"


def printed(cluster, until):
    """The addresses of the lines '== NAME  ADDRESS ...' up to the one named `until`."""
    found, said = {}, []
    for line in cluster.stderr:
        said.append(line)
        if match := re.match(r"(?:\x1b\[1m)?== (\S+)\s+(.*?)(?:\x1b\[0m)?$", line.rstrip("\n")):
            found[match[1]] = match[2]
            if match[1] == until:
                return found
    raise AssertionError("cluster.sh ended:\n" + "".join(said))


def prometheus_says(address, query):
    with urllib.request.urlopen(f"{address}/api/v1/query?" + urllib.parse.urlencode({"query": query})) as answer:
        result = json.load(answer)["data"]["result"]
    return float(result[0]["value"][1]) if result else None


def eventually(true, what, seconds=120):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def main():
    if browser.find() is None or not shutil.which("redis-server") or not shutil.which("prometheus"):
        print("skipped: no chromium, redis-server or prometheus")
        return 77
    with tempfile.TemporaryDirectory(prefix="merganser-cluster-browser.") as name:
        folder = pathlib.Path(name)
        cluster = subprocess.Popen([ROOT / "deploy/local/cluster.sh", "--observe", small_job(folder), folder / "out"], cwd=folder,
                                   env={**os.environ, "MERGANSER_BIN": str(pathlib.Path(sys.argv[1]).resolve()), "TMPDIR": name},
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        b = browser.Browser()
        try:
            at = printed(cluster, "Prometheus")
            dashboard, prometheus = at["dashboard"].rstrip("/"), at["Prometheus"].split("/graph")[0]
            b.go(dashboard + "/#/workers")
            b.wait("[...document.querySelectorAll('tbody th')].map((th) => th.firstChild.textContent).sort().join() === 'worker1,worker2'", 300)
            # Both work, or have: on a slow machine the job may be over when the page is there.
            b.wait("[...document.querySelectorAll('tbody tr')].filter((row) => row.querySelector('.state.busy') || "
                   "Number(row.cells[4].innerText) > 0).length === 2", 300)
            b.go(dashboard + "/#/")
            # The link of the job, not of a candidate that the workers' page before it shows; in one step, for the table is drawn anew.
            b.wait("(() => { const a = document.querySelector('tbody th a'); if (a) a.click(); return Boolean(a) })()", 300)
            b.wait("document.querySelector('h1 .state')?.innerText === 'succeeded'", 300)   # nobody reloads: it came as events
            b.wait("document.querySelector('.chart canvas') && document.querySelector('svg.picture rect.cell')")
            assert b.wait("[...document.querySelectorAll('tr.winner th')].map((th) => th.innerText).includes('winner')"), "held-out scores"
            assert "36" in b.run("document.querySelector('.tiles').innerText")
            assert not b.errors, b.errors
            for query, want in (("count(up == 1)", 3), ('sum(merganser_workers{state=~"idle|busy"})', 2),
                                ('sum(merganser_jobs_finished_total{state="succeeded"})', 1)):
                eventually(lambda: prometheus_says(prometheus, query) == want, f"{query} == {want}")
            outside = [u for u in b.requests if not re.match(r"http://127\.0\.0\.1:\d+/|about:|data:", u)]
            assert not outside, outside
        finally:
            b.close()
            cluster.send_signal(signal.SIGINT)
            rest = cluster.stderr.read()
            code = cluster.wait()
        assert code in (0, 130), (code, rest)  # 130: before the last line was printed
        assert (folder / "out/best/model.safetensors").exists(), rest
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
