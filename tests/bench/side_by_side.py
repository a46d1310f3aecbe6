"""What the measurements beside transformers have in common: their options, rounds in turn, and the report."""
import argparse
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "ja-math"


def options():
    """A parser with --peer-python, --rounds, --threads, --bin and --output; read it with parse()."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer-python", default=os.environ.get("MERGANSER_PEER_PYTHON"), help="with torch and transformers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build" / "bin", help="another build's")
    parser.add_argument("--output", help="the report as JSON, too")
    return parser


def parse(parser):
    args = parser.parse_args()
    if not args.peer_python:
        parser.error("--peer-python (or MERGANSER_PEER_PYTHON) names a python with torch and transformers")
    return args


def last_json(command, env=None):
    """The JSON that `command` prints: all of standard output from the first brace on, or its last line."""
    out = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True, env=env).stdout.strip()
    last = out.splitlines()[-1]
    return json.loads(last if last.startswith("{") else out[out.index("{"):])


def in_turn(engines, rounds, better):
    """Runs every engine once a round, so that a load that comes and goes meets all of them: {name: its best result}, where
    better(a, b) says that a is better than b."""
    best = {}
    for _ in range(rounds):
        for name, run in engines.items():
            result = run()
            if name not in best or better(result, best[name]):
                best[name] = result
    return best


def write(report, output):
    print(json.dumps(report))
    if output:
        with open(output, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2)
