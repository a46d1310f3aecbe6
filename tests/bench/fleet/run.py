#!/usr/bin/env python3
"""What the fleet's service costs: a coordinator, redis-server with every write fsynced, and fleet_load, all on this machine.

    python3 tests/bench/fleet/run.py                                 # every scenario, about five minutes
    python3 tests/bench/fleet/run.py throughput latency
    python3 tests/bench/fleet/run.py peers --peer-python PYTHON --ray-python PYTHON
                                                                     # Optuna: journal file and SQLite storage, 16 processes; Ray: 16 actors

Prints one JSON object per scenario."""
import argparse
import json
import os
import resource
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BIN = os.path.join(ROOT, "build", "bin")


SYNC_MS = 0  # added to each sync of redis-server: disks differ, and one disk from hour to hour
SLOW_SYNC = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
#define SLOW(name) \\
  int name(int fd) { int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, #name); usleep(MICROSECONDS); return real(fd); }
SLOW(fsync)
SLOW(fdatasync)
"""


def redis_environment(folder):
    if not SYNC_MS:
        return None
    library = os.path.join(folder, "slow_sync.so")
    subprocess.run(["cc", "-shared", "-fPIC", f"-DMICROSECONDS={round(SYNC_MS * 1000)}", "-x", "c", "-", "-o", library, "-ldl"],
                   input=SLOW_SYNC, text=True, check=True)
    return {**os.environ, "LD_PRELOAD": library}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Fleet:
    def __init__(self, *flags):
        self.flags = flags
        self.dir = tempfile.mkdtemp(prefix="mg-fleet-bench-")
        self.redis_port, self.user, self.worker = free_port(), free_port(), free_port()
        self.store = f"redis://127.0.0.1:{self.redis_port}"
        self.redis = subprocess.Popen(
            ["redis-server", "--port", str(self.redis_port), "--dir", self.dir, "--appendonly", "yes", "--appendfsync", "always",
             "--save", "", "--maxmemory-policy", "noeviction"], stdout=subprocess.DEVNULL, env=redis_environment(self.dir))
        time.sleep(1)
        self.coordinator = None
        self.start_coordinator()

    def start_coordinator(self):
        ports = os.path.join(self.dir, "ports")
        if os.path.exists(ports):
            os.remove(ports)
        self.log = open(os.path.join(self.dir, "coordinator.log"), "a")
        start = time.time()
        self.coordinator = subprocess.Popen(
            [os.path.join(BIN, "merganser-coordinator"), "--listen", f"127.0.0.1:{self.user}", "--worker-listen",
             f"127.0.0.1:{self.worker}", "--http", "", "--store", self.store, "--port-file", ports, "--leader-lease", "3s", *self.flags],
            stderr=self.log, stdout=self.log, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        while subprocess.run([os.path.join(BIN, "merganser"), "workers", "--server", f"127.0.0.1:{self.user}"],
                             capture_output=True, check=False).returncode != 0:
            time.sleep(0.05)
            assert self.coordinator.poll() is None, open(os.path.join(self.dir, "coordinator.log")).read()[-2000:]
        return time.time() - start

    def load(self, **flags):
        argv = [os.path.join(BIN, "bench", "fleet_load"), "--user", f"127.0.0.1:{self.user}", "--worker",
                f"127.0.0.1:{self.worker}", "--store", self.store]
        for name, value in flags.items():
            argv += ["--" + name.replace("_", "-"), str(value)]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def usage(self):
        with open(f"/proc/{self.coordinator.pid}/status") as f:
            rss = next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024
        with open(f"/proc/{self.coordinator.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return rss, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        for process in (self.coordinator, self.redis):
            process.send_signal(signal.SIGKILL)
            process.wait()


def finish(name, load, fleet=None, **more):
    out, _ = load.communicate()
    result = {"scenario": name, **json.loads(out), **more}
    if fleet:
        result["coordinator_rss_mb"], result["coordinator_cpu_s"] = (round(x, 1) for x in fleet.usage())
    print(json.dumps(result), flush=True)
    return result


def throughput():
    """Zero-time candidates: what one coordinator commits."""
    fleet = Fleet()
    finish("throughput", fleet.load(workers=1000, candidates=30000, population=5000), fleet)
    fleet.close()


def fsync_ms(folder):
    """Median of a write of 300 bytes and its fsync."""
    times = []
    with open(os.path.join(folder, "fsync"), "wb") as f:
        for _ in range(200):
            start = time.time()
            f.write(b"x" * 300)
            f.flush()
            os.fsync(f.fileno())
            times.append(time.time() - start)
    return round(sorted(times)[100] * 1000, 1)


def latency():
    """More idle workers than candidates: from proposed to received, which is one write, and how long one takes on this disk."""
    fleet = Fleet()
    finish("latency", fleet.load(workers=200, candidates=2000, population=50, candidate_ms=100), fleet,
           fsync_ms=fsync_ms(fleet.dir) + SYNC_MS)
    fleet.close()


def overhead(candidates=1600):
    """One-second candidates on 16 slots: the ideal is candidates / 16 seconds."""
    fleet = Fleet()
    finish("overhead", fleet.load(workers=16, candidates=candidates, population=candidates, candidate_ms=1000), fleet,
           ideal_s=candidates / 16)
    fleet.close()


def connected():
    """4,000 workers of which nearly all are idle, then with candidates of 20 s (200 a second): memory and processor time of the
    coordinator meanwhile."""
    for name, candidates, ms in (("connected", 10, 45000), ("connected-busy", 8000, 20000)):
        fleet = Fleet()
        load = fleet.load(workers=4000, candidates=candidates, population=candidates, candidate_ms=ms)
        time.sleep(25)  # they connect
        _, before = fleet.usage()
        time.sleep(10)
        rss, after = fleet.usage()
        finish(name, load, fleet, rss_mb_meanwhile=round(rss, 1), cores_meanwhile=round((after - before) / 10, 3))
        fleet.close()


def restart(candidates=100000):
    """The coordinator is killed in the middle of a job with 100,000 finished candidates: until it answers, and until it dispatches
    again to new workers."""
    fleet = Fleet()
    finish("fill", fleet.load(workers=1000, candidates=candidates + 20000, population=10000, leave_after=candidates + 1000), fleet)
    come_back("restart", fleet)


def restart_held():
    """The same where all that is left of a generation is with 50 workers that do not come back."""
    fleet = Fleet()
    finish("fill", fleet.load(workers=50, candidates=500, population=50, candidate_ms=4000, leave_after=50), fleet)
    come_back("restart-held", fleet)


def crowd(watches=400, senders=200, seconds=20):
    """A job of zero-time candidates while 400 watches read nothing and 200 clients send requests of 4 MB as fast as they can: the
    coordinator's memory at its most and 15 s after they are gone, what the others are answered in, and how the job goes on."""
    fleet = Fleet("--client-rate", "1000000")  # all come from one host, whose rate would hold up the good client
    load = fleet.load(workers=200, candidates=200000, population=5000)
    time.sleep(8)
    before, _ = fleet.usage()
    bad = subprocess.Popen([os.path.join(BIN, "bench", "fleet_crowd"), "--user", f"127.0.0.1:{fleet.user}", "--watches", str(watches),
                            "--senders", str(senders), "--seconds", str(seconds)], stdout=subprocess.PIPE, text=True)
    most = 0
    while bad.poll() is None:
        most = max(most, fleet.usage()[0])
        time.sleep(0.1)
    time.sleep(15)
    after, _ = fleet.usage()
    print(json.dumps({"scenario": "crowd", **json.loads(bad.stdout.read()), "coordinator_rss_mb_before": round(before, 1),
                      "coordinator_rss_mb_most": round(most, 1), "coordinator_rss_mb_after": round(after, 1)}), flush=True)
    load.kill()
    load.wait()
    fleet.close()


def come_back(name, fleet):
    fleet.coordinator.send_signal(signal.SIGKILL)
    fleet.coordinator.wait()
    time.sleep(4)  # its lease
    start = time.time()
    answers = fleet.start_coordinator()
    out, _ = fleet.load(workers=50, attach="job-1", candidates=100, id_prefix="new-").communicate()
    after = json.loads(out)
    rss, _ = fleet.usage()
    print(json.dumps({"scenario": name, "seconds_until_it_answers": round(answers, 2),
                      "seconds_until_it_dispatches": round(after["first_assign_unix_s"] - start, 2), "coordinator_rss_mb": round(rss, 1)}),
          flush=True)
    fleet.close()


OPTUNA = """
import sys, time, optuna
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
optuna.logging.set_verbosity(optuna.logging.ERROR)
kind, path, trials = sys.argv[1], sys.argv[2], int(sys.argv[3])
storage = JournalStorage(JournalFileBackend(path)) if kind == "journal" else RDBStorage("sqlite:///" + path, engine_kwargs={"connect_args": {"timeout": 60}})
study = optuna.create_study(study_name="s", storage=storage, load_if_exists=True, sampler=optuna.samplers.RandomSampler())
if trials < 0:
    done = study.get_trials(deepcopy=False)
    print(len(done), (max(t.datetime_complete for t in done) - min(t.datetime_start for t in done)).total_seconds())
elif trials:
    study.optimize(lambda t: sum(t.suggest_float(f"x{i}", 0, 2) for i in range(8)), n_trials=trials)
"""


RAY = """
import random, sys, time, ray
trials, processes = int(sys.argv[1]), int(sys.argv[2])
ray.init(num_cpus=processes, include_dashboard=False, log_to_driver=False, logging_level="ERROR")

@ray.remote
class Worker:
    def evaluate(self, number, genome):
        return number, sum(genome)

workers = [Worker.remote() for _ in range(processes)]
ray.get([worker.evaluate.remote(0, [0.0]) for worker in workers])  # they have started
results, running, idle, proposed, start = {}, {}, list(workers), 0, time.time()
while len(results) < trials:
    while idle and proposed < trials:
        worker = idle.pop()
        running[worker.evaluate.remote(proposed, [random.uniform(0, 2) for _ in range(8)])] = worker
        proposed += 1
    done, _ = ray.wait(list(running), num_returns=1)
    for number, value in ray.get(done):
        results[number] = value
    idle += [running.pop(reference) for reference in done]
print(len(results), time.time() - start)
"""


def peers(python, ray_python, trials=1600, processes=16):
    """Zero-time trials of eight numbers through Optuna and Ray, from the first one's start to the last one's end (Ray's processes
    have started before, as our workers have); beside it the same number of candidates on as many of our workers. Ray's trials are
    in its driver's memory only."""
    rates = {}
    if ray_python:
        done, seconds = subprocess.run([ray_python, "-c", RAY, str(trials), str(processes)], check=True, stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, text=True).stdout.split()[-2:]
        rates["ray-actors"] = int(done) / float(seconds)
        print(json.dumps({"scenario": "ray-actors", "trials": int(done), "processes": processes, "seconds": round(float(seconds), 1),
                          "completions_per_s": round(rates["ray-actors"], 1)}), flush=True)
    for kind in ("journal", "rdb") if python else ():
        path = os.path.join(tempfile.mkdtemp(prefix="mg-optuna-"), kind)
        subprocess.run([python, "-c", OPTUNA, kind, path, "0"], check=True, stderr=subprocess.DEVNULL)
        running = [subprocess.Popen([python, "-c", OPTUNA, kind, path, str(trials // processes)], stderr=subprocess.DEVNULL)
                   for _ in range(processes)]
        failed = sum(p.wait() != 0 for p in running)
        done, seconds = subprocess.run([python, "-c", OPTUNA, kind, path, "-1"], check=True, capture_output=True,
                                       text=True).stdout.split()
        rates["optuna-" + kind] = int(done) / float(seconds)
        print(json.dumps({"scenario": "optuna-" + kind, "trials": int(done), "processes": processes, "failed_processes": failed,
                          "seconds": round(float(seconds), 1), "completions_per_s": round(rates["optuna-" + kind], 1)}), flush=True)
    fleet = Fleet()
    ours = finish("merganser", fleet.load(workers=processes, candidates=trials, population=trials // 4), fleet)["completions_per_s"]
    fleet.close()
    print(json.dumps({"scenario": "ratio", **{kind: round(ours / rate, 1) for kind, rate in rates.items()}}), flush=True)


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # thousands of connections
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", default=["throughput", "latency", "overhead", "connected", "restart", "restart_held"])
    parser.add_argument("--sync-ms", type=float, default=0, help="so much longer each sync of redis-server takes, as on a slower disk")
    parser.add_argument("--peer-python", help="a Python with optuna, for the scenario peers")
    parser.add_argument("--ray-python", help="a Python with ray, for the same")
    parser.add_argument("--candidates", type=int, default=1600, help="of the scenario overhead")
    parser.add_argument("--trials", type=int, default=1600, help="of the scenario peers")
    args = parser.parse_args()
    global SYNC_MS
    SYNC_MS = args.sync_ms
    for name in args.scenarios:
        if name == "peers":
            if not args.peer_python and not args.ray_python:
                parser.error("peers: --peer-python or --ray-python must be given")
            peers(args.peer_python, args.ray_python, args.trials)
        elif name == "overhead":
            overhead(args.candidates)
        else:
            globals()[name]()


if __name__ == "__main__":
    main()
