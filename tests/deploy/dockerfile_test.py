#!/usr/bin/env python3
"""deploy/container's Dockerfiles as far as they can be checked without building: instructions, stages, the shell of every RUN, and
what the stage that compiles (which no test runs) names of the build. Usage: dockerfile_test.py"""
import json
import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
INSTRUCTIONS = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "LABEL", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME",
                "WORKDIR", "HEALTHCHECK", "ADD"}


def instructions(text):
    """[(line, instruction, rest)]; lines that end in a backslash are joined, comments left out."""
    out, begun = [], None
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or (begun is None and not line.strip()):
            continue
        first, rest = (number, "") if begun is None else begun
        if line.endswith("\\"):
            begun = (first, rest + line[:-1])
            continue
        begun = None
        name, _, argument = (rest + line).strip().partition(" ")
        out.append((first, name, argument.strip()))
    if begun is not None:
        raise ValueError(f"line {begun[0]}: goes on behind the end")
    return out


def problems(text):
    """What Docker would refuse, or a reader would: ["line 3: ..."]."""
    found, stages, users = [], {}, {}
    stage = None
    for line, name, rest in instructions(text):
        def say(what):
            found.append(f"line {line}: {what}")
        if name not in INSTRUCTIONS:
            say(f"no instruction {name}")
        elif name == "FROM":
            match = re.fullmatch(r"(\S+) AS (\S+)", rest)
            if not match:
                say(f"FROM {rest}")
                continue
            stage = match[2]
            users[stage] = users.get(match[1], "root")
            if not match[1].startswith("${") and match[1] not in stages:
                say(f"stage {match[1]} is not above")
            stages[stage] = line
        elif stage is None and name != "ARG":
            say(f"{name} before the first stage")
        elif name == "USER":
            users[stage] = rest
        elif name in ("CMD", "ENTRYPOINT"):
            try:
                json.loads(rest)
            except ValueError:
                say(f"{name} is no list")
        elif name == "COPY":
            match = re.match(r"--from=(\S+) ", rest)
            if match and match[1] not in stages:
                say(f"COPY from {match[1]}, which is not above")
        elif name == "RUN":
            shell = re.sub(r"^(--mount=\S+\s+)*", "", rest)
            checked = subprocess.run(["sh", "-n", "-c", shell], capture_output=True, text=True)
            if checked.returncode != 0:
                say(checked.stderr.strip())
    for target in stages:
        if target != "build" and users[target] == "root":
            found.append(f"stage {target}: runs as root")
    return found


class DockerfileTest(unittest.TestCase):
    def test_each_file_is_well_formed(self):
        for name in ("Dockerfile", "Dockerfile.services"):
            with self.subTest(name):
                self.assertEqual(problems((ROOT / "deploy/container" / name).read_text()), [])

    def test_what_is_wrong_is_found(self):
        for text, problem in {
            "FROM ${D} AS a\nWORKDIRR /src\nUSER 1": "line 2: no instruction WORKDIRR",
            "FROM ${D} AS a\nUSER 1\nCOPY --from=b /x /y": "line 3: COPY from b, which is not above",
            "FROM b AS a\nUSER 1": "line 1: stage b is not above",
            "FROM ${D} AS a": "stage a: runs as root",
            "FROM ${D} AS a\nUSER 1\nCMD merganser": "line 3: CMD is no list",
        }.items():
            self.assertEqual(problems(text), [problem])
        self.assertRegex(problems("FROM ${D} AS a\nUSER 1\nRUN if true; \\\n  echo")[0], "^line 3: .*[Ss]yntax error")

    def test_the_stage_that_compiles_names_what_the_build_has(self):
        text = (ROOT / "deploy/container/Dockerfile").read_text()
        runs = " ".join(rest for _, name, rest in instructions(text[:text.index("FROM ${DEBIAN} AS coordinator")]) if name == "RUN")
        presets = {p["name"] for p in json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]}
        self.assertLessEqual(set(re.findall(r"--preset (\S+)", runs)), presets)
        options = (ROOT / "CMakeLists.txt").read_text()
        for option in re.findall(r"-D(\w+)=", runs):
            self.assertIn(f"option({option} ", options)
        components = set(re.findall(r"COMPONENT (\w+)", (ROOT / "cmake/install.cmake").read_text()))
        self.assertEqual(set(re.findall(r"--component (\S+)", runs)), {"torch", "torch_cpu"} & components)
        for script in re.findall(r"(?<=\s)(?:\./|deploy/)[\w./-]+", runs):
            self.assertTrue((ROOT / script).is_file(), script)
        # The wheel that ./dev would take, so that the image and a developer's build agree.
        self.assertEqual(re.search(r"ARG TORCH_VERSION=(\S+)", text)[1],
                         re.search(r"^TORCH_VERSION=(\S+)", (ROOT / "dev").read_text(), re.M)[1])


if __name__ == "__main__":
    unittest.main()
