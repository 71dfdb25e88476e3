#!/usr/bin/env python3
"""Holds a running Crier against its own OpenAPI document: `make schemathesis`.

Starts `crier up --demo` on data of its own and has Schemathesis call every operation with what the document allows and
with what it forbids, as a person, as an admin and as the application's backend. It fails on any 5xx, on any status,
media type or body that the document does not name, and on anything forbidden that is taken.

    scripts/schemathesis.py target/debug/crier [arguments for schemathesis run]
"""

import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".tools" / "schemathesis"
VERSION = "schemathesis==4.32.5"
PATIENCE = 60  # seconds until everything is ready

# What a rule of the application refuses is answered 400 though the request fits the schema, by design: "the article does
# not belong to this community". Everything else is checked.
LEFT_OUT = "positive_data_acceptance"

# Its body is lines, and Schemathesis makes one value; services/api/tests/it/sync.rs calls it.
NOT_CALLED = "/api/sync"

# The limits are for people, and this is none.
SETTINGS = {
    "CRIER_LIMITS__USER_CALLS_PER_SECOND": "0",
    "CRIER_LIMITS__USER_CHANGES_PER_SECOND": "0",
    "CRIER_LIMITS__SERVICE_CALLS_PER_SECOND": "0",
    "CRIER_LIMITS__COMMUNITIES_PER_USER": "0",
    "CRIER_TELEMETRY__LOG": "warn",
}

CALLERS = {
    "a member (bob)": ["--user-id", "2", "--username", "bob"],
    "an admin (alice)": ["--user-id", "1", "--username", "alice"],
    "the backend": ["--scope", "service"],
}


def tool():
    """The program, fetched from PyPI into .tools/ at the first call."""
    program = HOME / "bin" / "schemathesis"
    stamp = HOME / "version"
    if not program.exists() or not stamp.exists() or stamp.read_text() != VERSION:
        venv.create(HOME, clear=True, with_pip=True)
        subprocess.run([HOME / "bin" / "pip", "install", "--quiet", VERSION], check=True)
        stamp.write_text(VERSION)
    return program


def address(up):
    """The API's URL, once everything runs."""
    for line in up.stdout:
        if found := re.search(r"API\s+(http://\S+)", line):
            return found[1]
    sys.exit("crier ended before it said where it runs")


def main():
    crier, *more = sys.argv[1:]
    program = tool()
    failed = []
    with tempfile.TemporaryDirectory() as data:
        free = "127.0.0.1:0"
        up = subprocess.Popen(
            [crier, "up", "--demo", "--data-dir", data, "--api", free, "--gateway", free],
            env={**os.environ, **SETTINGS},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            url = address(up)
            for caller, flags in CALLERS.items():
                command = [crier, "token", "--data-dir", data, "--ttl", "6h", *flags]
                token = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
                print(f"\n##### as {caller}", flush=True)
                run = [program, "run", f"{url}/api/openapi.json", "--header", f"Authorization: Bearer {token}"]
                run += ["--exclude-checks", LEFT_OUT, "--exclude-path", NOT_CALLED, "--no-color", *more]
                if subprocess.run(run, cwd=data).returncode != 0:
                    failed.append(caller)
                if up.poll() is not None:
                    sys.exit("crier ended")
        finally:
            up.terminate()
            up.wait(PATIENCE)
    if failed:
        sys.exit(f"schemathesis found something as {' and as '.join(failed)}")


main()
