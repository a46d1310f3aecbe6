"""Builds the client: compiles the repository's protos into merganser/v1 and asks for the runtime that fits the compiler.

MERGANSER_STAGE names an installation of the programs (cmake --install) to carry along: packaging/wheel.sh sets it.
"""
import atexit
import importlib.metadata
import os
import pathlib
import platform
import re
import shutil
import tempfile

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"
STAGE = os.environ.get("MERGANSER_STAGE")


def version():
    header = (HERE.parent.parent / "common/base/version.h").read_text()
    return re.search(r'kVersion\[\] = "([^"]+)"', header).group(1)


def runtime():
    """The protobuf and gRPC that code of the installed compiler runs with, as the compiler's own package names them."""
    needed = importlib.metadata.requires("grpcio-tools") or []
    return [one for one in needed if re.match(r"(protobuf|grpcio)\b", one)]


class BuildWithProtos(build_py):
    def run(self):
        super().run()
        if not PROTO.is_dir():
            raise SystemExit(f"error: no folder {PROTO}: build the client inside a checkout (pip install ./client/python)")
        import grpc_tools
        from grpc_tools import protoc

        out = pathlib.Path(self.build_lib)
        files = sorted(str(p.relative_to(PROTO)) for p in PROTO.glob("merganser/v1/*.proto"))
        known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
        command = ["protoc", f"-I{PROTO}", f"-I{known}", f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}"]
        if protoc.main(command + files) != 0:
            raise SystemExit("error: the protos do not compile")
        (out / "merganser/v1/__init__.py").write_text('"""Generated messages and stubs."""\n')
        if STAGE:
            shutil.copytree(STAGE, out / "merganser/native", symlinks=False)


class BinaryDistribution(Distribution):
    def has_ext_modules(self):
        return bool(STAGE)


try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools < 70.1
    from wheel.bdist_wheel import bdist_wheel


class AnyPython(bdist_wheel):
    """The programs are none of Python's: any version of it will do, on this machine's C library or a newer one."""

    def get_tag(self):
        if not STAGE:
            return super().get_tag()
        libc = os.confstr("CS_GNU_LIBC_VERSION").split()[1].replace(".", "_")
        return "py3", "none", f"manylinux_{libc}_{platform.machine()}"


# With the programs: the torch whose libraries they were linked with.
requirements = runtime() + ["PyYAML>=5.4"]
if STAGE:
    requirements.append(os.environ["MERGANSER_TORCH_REQUIREMENT"])

# Nothing is left in the checkout, and nothing old gets into a wheel.
SCRATCH = tempfile.mkdtemp(prefix="merganser-build-")
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)

setup(
    options={"build": {"build_base": SCRATCH}, "egg_info": {"egg_base": SCRATCH}},
    name="merganser",
    version=version(),
    description="Client of Merganser, which evolves model merges across a fleet",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.9",
    packages=["merganser"],
    package_data={"merganser": ["py.typed"]},
    install_requires=requirements,
    extras_require={"pandas": ["pandas>=1.5"]},
    entry_points={
        "console_scripts": [f"{program} = merganser._programs:{program.replace('-', '_')}" for program in
                            ("merganser", "merganser-coordinator", "merganser-worker")]
    } if STAGE else {},
    cmdclass={"build_py": BuildWithProtos, "bdist_wheel": AnyPython},
    distclass=BinaryDistribution,
)
