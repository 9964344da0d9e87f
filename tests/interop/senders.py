"""The programs that send, as their users run them: each takes jobs, a port and its files, and tells what it said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.interop.bundle import Sample
from tests.interop.processes import AE_TITLE, HERE, HOST, TXDICOM, environment, run

#: (port, files) for each association
Jobs = Sequence[tuple[int, Sequence[Sample]]]
#: what a sender wrote about each file, by its path
Sayings = dict[Path, str]
Sender = Callable[[Jobs, Path], Sayings]


def contexts_file(samples: Sequence[Sample], path: Path) -> Path:
    """A configuration file by which storescu proposes each file's own transfer syntax (profile Default)."""
    pairs = sorted({(sample.sop_class, sample.transfer_syntax or "1.2.840.10008.1.2") for sample in samples})
    lines = ["[[TransferSyntaxes]]"]
    for transfer_syntax in sorted({pair[1] for pair in pairs}):
        lines += [f"[{_name(transfer_syntax)}]", f"TransferSyntax1 = {transfer_syntax}"]
    lines += ["[[PresentationContexts]]", "[Storage]"]
    for number, (sop_class, transfer_syntax) in enumerate(pairs, 1):
        lines.append(f"PresentationContext{number} = {sop_class}\\{_name(transfer_syntax)}")
    lines += ["[[Profiles]]", "[Default]", "PresentationContexts = Storage"]
    path.write_text("\n".join(lines) + "\n")
    return path


def _name(uid: str) -> str:
    return "TS" + uid.replace(".", "x")


def _about(samples: Sequence[Sample], output: str) -> Sayings:
    """The lines of a program's output that name a file."""
    lines = output.splitlines()
    return {
        sample.path: "\n".join(line for line in lines if str(sample.path) in line or sample.name in line)
        for sample in samples
    }


def by_storescu(program: str) -> Sender:
    def send(jobs: Jobs, folder: Path) -> Sayings:
        sayings: Sayings = {}
        for port, samples in jobs:
            config = contexts_file(samples, folder / f"contexts-{port}.cfg")
            options = ["-v", "-nh", "-aec", AE_TITLE, "-xf", config, "Default"]
            sent = run([program, *options, HOST, str(port), *(sample.path for sample in samples)])
            assert sent.returncode == 0, sent.stdout
            sayings |= _about(samples, sent.stdout)
        return sayings

    return send


def by_pynetdicom(jobs: Jobs, folder: Path) -> Sayings:
    work = [
        {"port": port, "files": [[str(sample.path), sample.transfer_syntax] for sample in samples]}
        for port, samples in jobs
    ]
    sent = subprocess.run(
        [sys.executable, HERE / "pynetdicom_store.py", AE_TITLE],
        input=json.dumps(work),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert sent.returncode == 0, sent.stderr
    return {Path(path): error for path, _, error in map(json.loads, sent.stdout.splitlines())}


def by_txdicom(jobs: Jobs, folder: Path) -> Sayings:
    sayings: Sayings = {}
    for port, samples in jobs:
        sent = txdicom_store(f"{AE_TITLE}@{HOST}:{port}", *(sample.path for sample in samples))
        assert sent.summary["files"] == len(samples)
        assert sent.status == (1 if any(sent.errors.values()) else 0), sent.output
        sayings |= sent.errors
    return sayings


@dataclass
class Sent:
    """What `txdicom store --json` said: about each file, by its path, and at the end."""

    status: int
    output: str
    instances: dict[Path, dict[str, Any]]
    summary: dict[str, Any]

    @property
    def errors(self) -> Sayings:
        return {path: record["error"] for path, record in self.instances.items()}


def txdicom_store(peer: str, *words: str | Path) -> Sent:
    """Runs `txdicom store` to its end, whichever that is; never a traceback."""
    sent = run([*TXDICOM, "store", "--json", peer, *words])
    assert "Traceback" not in sent.stdout, sent.stdout
    # errors are said on standard error too, for people
    records = [json.loads(line) for line in sent.stdout.splitlines() if line.startswith("{")]
    instances = {Path(record["path"]): record for record in records if record["type"] == "instance"}
    [summary] = [record for record in records if record["type"] == "summary"] or [{}]
    return Sent(sent.returncode, sent.stdout, instances, summary)
