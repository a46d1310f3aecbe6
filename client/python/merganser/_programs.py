"""Entry points of the wheel that carries the programs: each becomes its program."""
import os
import pathlib
import sys


def _become(name: str) -> None:
    program = pathlib.Path(__file__).resolve().parent / "native" / "bin" / name
    os.execv(program, [name, *sys.argv[1:]])


def merganser() -> None:
    _become("merganser")


def merganser_coordinator() -> None:
    _become("merganser-coordinator")


def merganser_worker() -> None:
    _become("merganser-worker")
