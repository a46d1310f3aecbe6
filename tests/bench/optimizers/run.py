#!/usr/bin/env python3
"""Optimizers beside their peers, in one run: prints the tables of docs/optimizers.md.

    python3 tests/bench/optimizers/run.py --peer-python PYTHON [functions|zdt|time|separable|rolling ...]

PYTHON is a python with cma, cmaes, pymoo and numpy (pip install cma cmaes pymoo); without it only our own numbers are
printed. Everything runs on one thread; counts of evaluations do not depend on the machine, times do. Times are of the processor,
so that other work on the machine counts as little as can be. OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE, which would choose other
kernels for numpy than the processor's own, are not handed on. The peers run in a second process of this same file
(`--peer PART`).
"""
import argparse
import json
import math
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BENCH = os.path.join(ROOT, "build", "bin", "bench", "optimizer_bench")
# As in optimizer_bench.cc. Rastrigin, of many optima, with a population of 10 n and at most so many evaluations.
CASES = [("sphere", 10), ("sphere", 20), ("ellipsoid", 10), ("ellipsoid", 20), ("cigar", 10), ("cigar", 20), ("discus", 10),
         ("discus", 20), ("rosenbrock", 10), ("rosenbrock", 20), ("rastrigin", 10)]
EVALUATIONS, RASTRIGIN_EVALUATIONS = 100000, 30000
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def median(values):
    return sorted(values)[len(values) // 2]


# ---- the peers' side ----


def landscape(name, n, rng):
    """A function of a row of numbers, and the start: optimum and start are drawn from [-4, 4]."""
    import numpy as np
    optimum = rng.uniform(-4, 4, n)
    rotation, _ = np.linalg.qr(rng.normal(size=(n, n)))
    powers = 10 ** (6 * np.arange(n) / (n - 1))

    def value(x):
        z = np.asarray(x) - optimum
        q = rotation @ z
        if name == "sphere":
            return float(z @ z)
        if name == "ellipsoid":
            return float(powers @ (q * q))
        if name == "cigar":
            return float(q[0] ** 2 + 1e6 * (q[1:] @ q[1:]))
        if name == "discus":
            return float(1e6 * q[0] ** 2 + q[1:] @ q[1:])
        if name == "rastrigin":
            return float(10 * n + z @ z - 10 * np.sum(np.cos(2 * np.pi * z)))
        u = max(1, math.sqrt(n) / 8) * (np.asarray(x) - 0.75 * optimum) + 1
        return float(np.sum(100 * (u[:-1] ** 2 - u[1:]) ** 2 + (u[:-1] - 1) ** 2))

    return value, rng.uniform(-4, 4, n)


def evaluations_to_target(library, name, n, seed):
    import numpy as np
    budget, size = (RASTRIGIN_EVALUATIONS, 10 * n) if name == "rastrigin" else (EVALUATIONS, None)
    value, start = landscape(name, n, np.random.default_rng(seed))
    count = 0
    if library == "pycma":
        import cma
        search = cma.CMAEvolutionStrategy(start, 2, {"seed": seed, "verbose": -9, "tolfun": 0, "tolfunhist": 0, "tolx": 0,
                                                    "tolfunrel": 0, "tolstagnation": 10**9, **({"popsize": size} if size else {})})
        while count < budget:
            points = search.ask()
            values = [value(p) for p in points]
            for v in values:
                count += 1
                if v <= 1e-8:
                    return count
            search.tell(points, values)
    else:
        import cmaes
        search = cmaes.CMA(mean=start, sigma=2.0, seed=seed, population_size=size)
        while count < budget:
            told = []
            for _ in range(search.population_size):
                p = search.ask()
                v = value(p)
                count += 1
                if v <= 1e-8:
                    return count
                told.append((p, v))
            search.tell(told)
    return math.inf


def peer_functions(seeds):
    for name, n in CASES:
        row = {"function": name, "n": n}
        for library in ("pycma", "cmaes"):
            counts = [evaluations_to_target(library, name, n, seed) for seed in range(1, seeds + 1)]
            row[library] = median(counts)
            row[library + "_reached"] = sum(c < math.inf for c in counts)
        print(json.dumps(row), flush=True)


def peer_zdt(seeds):
    import numpy as np
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.indicators.hv import HV
    from pymoo.optimize import minimize
    from pymoo.problems import get_problem
    for which in (1, 2, 3):
        volumes = []
        for seed in range(1, seeds + 1):
            result = minimize(get_problem(f"zdt{which}", n_var=10), NSGA2(pop_size=40), ("n_gen", 100), seed=seed)
            volumes.append(float(HV(ref_point=np.array([1.1, 1.1]))(result.F)))
        print(json.dumps({"problem": f"ZDT{which}", "pymoo": median(volumes), "pymoo_lowest": min(volumes)}), flush=True)


def peer_time(n, separable=False):
    import resource

    import cma
    import numpy as np
    row = {"n": n}
    search = cma.CMAEvolutionStrategy(n * [0.5], 1 / 6, {"seed": 1, "verbose": -9, "CMA_diagonal": separable})
    size = search.popsize
    interval = 1
    if n >= 100 and not separable:  # generations between two decompositions
        interval = max(1, int(search.sm.lazy_update_gap if hasattr(search.sm, "lazy_update_gap") else 1))
    seconds, generations = 0.0, 0
    while seconds < (4 if n <= 1000 else 1) or generations % interval or generations < 2 * interval:
        begin = time.process_time()
        points = search.ask()
        asked = time.process_time()
        values = [float(np.sum((p - 0.4) ** 2)) for p in points]
        evaluated = time.process_time()
        search.tell(points, values)
        seconds += asked - begin + time.process_time() - evaluated
        generations += 1
    row["pycma"] = generations * size / seconds
    row["pycma_peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if n <= 200:
        import cmaes
        search = (cmaes.SepCMA if separable else cmaes.CMA)(mean=np.full(n, 0.5), sigma=1 / 6, seed=1)
        seconds, count = 0.0, 0
        while seconds < 4:
            begin = time.process_time()
            points = [search.ask() for _ in range(search.population_size)]
            asked = time.process_time()
            told = [(p, float(np.sum((p - 0.4) ** 2))) for p in points]
            evaluated = time.process_time()
            search.tell(told)
            seconds += asked - begin + time.process_time() - evaluated
            count += len(points)
        row["cmaes"] = count / seconds
    print(json.dumps(row), flush=True)


# ---- ours, and the tables ----


def lines_of(command):
    environment = {key: value for key, value in os.environ.items() if key not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    environment.update(ONE_THREAD)
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def table(headers, rows):
    print("| " + " | ".join(headers) + " |")
    print("|" + "---|" * len(headers))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(flush=True)


def number(value, digits=0):
    if value is None:
        return "-"
    return "not reached" if value < 0 or value == math.inf else f"{value:,.{digits}f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="functions, zdt, time, separable, rolling; default: all")
    parser.add_argument("--peer-python", default="", help="a python with cma, cmaes and pymoo")
    parser.add_argument("--seeds", type=int, default=21)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 192, 1000], help="dimensions of `time` and `separable`")
    parser.add_argument("--bench", default=BENCH)
    parser.add_argument("--peer", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        if arguments.peer == "functions":
            peer_functions(arguments.seeds)
        elif arguments.peer == "zdt":
            peer_zdt(arguments.seeds)
        elif arguments.peer.startswith("separable"):
            peer_time(int(arguments.peer[len("separable"):]), separable=True)
        else:
            peer_time(int(arguments.peer))
        return
    parts = arguments.parts or ["functions", "zdt", "time", "separable", "rolling"]
    unknown = set(parts) - {"functions", "zdt", "time", "separable", "rolling"}
    if unknown:
        parser.error(f"unknown part {sorted(unknown)[0]!r}; known: functions, zdt, time, separable, rolling")

    def peers(part):
        if not arguments.peer_python:
            return []
        return lines_of([arguments.peer_python, os.path.abspath(__file__), "--peer", part, "--seeds", str(arguments.seeds)])

    def ours(*command):
        return lines_of([arguments.bench, *command])

    seeds = str(arguments.seeds)
    if "functions" in parts:
        print(f"Evaluations to a value of 1e-8, median of {seeds} seeds:\n")
        theirs = {(row["function"], row["n"]): row for row in peers("functions")}
        table(["function", "n", "merganser", "pycma", "cmaes", "reached (of each)"],
              [(row["function"], row["n"], number(row["median"]),
                *(number(theirs.get((row["function"], row["n"]), {}).get(name)) for name in ("pycma", "cmaes")),
                ", ".join(str(v) for v in [row["reached"], *(theirs.get((row["function"], row["n"]), {}).get(f"{name}_reached")
                                                               for name in ("pycma", "cmaes"))] if v is not None))
               for row in ours("functions", seeds)])
    if "zdt" in parts:
        print(f"Hypervolume, population 40, 100 generations, 10 genes, median (lowest) of {seeds} seeds:\n")
        theirs = {row["problem"]: row for row in peers("zdt")}
        table(["problem", "merganser", "pymoo"],
              [(row["problem"], f"{row['median']:.4f} ({row['lowest']:.4f})",
                f"{theirs[row['problem']]['pymoo']:.4f} ({theirs[row['problem']]['pymoo_lowest']:.4f})"
                if row["problem"] in theirs else "-") for row in ours("zdt", seeds)])
    for part in ("time", "separable"):
        if part not in parts:
            continue
        print(f"Candidates per second of ask + tell, one thread, {'separable' if part == 'separable' else 'full'} covariance:\n")
        rows = []
        for n in arguments.sizes:
            own = ours(part, str(n))[0]
            peer = (peers(f"separable{n}" if part == "separable" else str(n)) or [{}])[0]
            rows.append((n, own["population"], number(own["candidates_per_second"]), number(peer.get("pycma")),
                         number(peer.get("cmaes")),
                         f"{own['candidates_per_second'] / peer['pycma']:.1f}" if peer else "-",
                         f"{own['peak_mib']:.0f}", number(peer.get("pycma_peak_mib"))))
        table(["n", "population", "merganser", "pycma", "cmaes", "over pycma", "memory, MiB", "pycma, MiB"], rows)
    if "rolling" in parts:
        print(f"Generations with a barrier against rolling ones, n = 10, median of {seeds} seeds; wall in mean evaluation times:\n")
        table(["function", "workers", "population", "barrier: evaluations", "wall", "rolling: evaluations", "wall", "faster"],
              [(row["function"], row["workers"], row["population"], number(row["barrier_evaluations"]),
                number(row["barrier_wall"]), number(row["rolling_evaluations"]), number(row["rolling_wall"]),
                f"{row['barrier_wall'] / row['rolling_wall']:.1f} x" if row["rolling_wall"] > 0 else "-")
               for row in ours("rolling", seeds)])


if __name__ == "__main__":
    sys.exit(main())
