#!/usr/bin/env python3
"""Fetches what Crier's gateway is measured beside into .tools/peers: `make bench ARGS=peers` runs this, nothing else.

nginx and nchan are Debian's packages, unpacked and not installed; Centrifugo and Mercure are built by go at the
versions written here. What can't be had gets a file NAME.missing with the reason, and the report says so. Quick when
everything is there.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PEERS = Path(__file__).resolve().parent.parent.parent / ".tools/peers"
TIMEOUT = 1200  # seconds for any one call of a package manager

CENTRIFUGO = "github.com/centrifugal/centrifugo/v6@v6.9.1"
MERCURE = "github.com/dunglas/mercure/caddy/mercure@v0.20.2"
NCHAN = ["nginx", "libnginx-mod-nchan"]


class Missing(Exception):
    """Can't be had; the text says why."""


def run(*command, cwd=None, **env):
    try:
        done = subprocess.run(
            command, cwd=cwd, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        # Whose mirror it was is nobody's business.
        said = re.sub(r"https?://\S+", "the proxy", lines[-1] if lines else f"exit code {done.returncode}")
        raise Missing(f"{command[0]}: {said}")
    return done.stdout


def go(module, name):
    def fetch(work):
        if not shutil.which("go"):
            raise Missing("there is no go here")
        print(f"Building {module} with go …", flush=True)
        caches = {"GOPATH": f"{work}/go", "GOCACHE": f"{work}/cache", "GOFLAGS": "-modcacherw"}
        run("go", "install", module, GOBIN=str(work), CGO_ENABLED="0", **caches)
        (PEERS / "bin").mkdir(exist_ok=True)
        Path(work, name).replace(PEERS / "bin" / name)
        (PEERS / f"{name}.version").write_text(module.rsplit("@", 1)[1])

    return (lambda: (PEERS / "bin" / name).exists()), fetch


def have_nchan():
    return (PEERS / "nchan/version").exists() and Path("/var/lib/nginx").is_dir()


def nchan(work):
    if not shutil.which("apt-get"):
        raise Missing("there is no apt-get here")
    print(f"Downloading {' and '.join(NCHAN)} with apt-get …", flush=True)
    try:
        run("apt-get", "download", *NCHAN, cwd=work)
    except Missing:
        run("apt-get", "update")
        run("apt-get", "download", *NCHAN, cwd=work)
    unpacked = Path(work, "nchan")
    versions = []
    for package in sorted(Path(work).glob("*.deb")):
        run("dpkg-deb", "--extract", str(package), str(unpacked))
        versions.append(run("dpkg-deb", "--show", "--showformat", "${Package} ${Version}", str(package)))
    run(str(unpacked / "usr/sbin/nginx"), "-v")
    try:
        # nchan has nginx make a folder there, whatever its configuration says.
        Path("/var/lib/nginx").mkdir(exist_ok=True)
    except OSError as error:
        raise Missing(f"/var/lib/nginx: {error.strerror}") from error
    (unpacked / "version").write_text(", ".join(reversed(versions)))
    shutil.rmtree(PEERS / "nchan", ignore_errors=True)
    unpacked.rename(PEERS / "nchan")


ALL = {
    "nchan": (have_nchan, nchan),
    "centrifugo": go(CENTRIFUGO, "centrifugo"),
    "mercure": go(MERCURE, "mercure"),
}


def main():
    PEERS.mkdir(parents=True, exist_ok=True)
    for name, (have, fetch) in ALL.items():
        note = PEERS / f"{name}.missing"
        if have():
            note.unlink(missing_ok=True)
            continue
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=PEERS) as work:
            try:
                fetch(work)
                note.unlink(missing_ok=True)
                print(f"{name}: there", flush=True)
            except (Missing, OSError) as error:
                note.write_text(re.sub(r"https?://\S+", "the registry", f"{error}\n"))
                print(f"{name} can't be had: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
