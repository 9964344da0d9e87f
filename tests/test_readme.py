"""The README's programs, run as they stand."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pydicom

from tests.interop.processes import Server

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_there_is_one_to_script_and_one_to_extend() -> None:
    assert len(PROGRAMS) == 2


def test_the_program_that_scripts(tmp_path: Path) -> None:
    for name in ("CT_small.dcm", "MR_small.dcm"):
        shutil.copy(BUNDLED / name, tmp_path)
    server = Server(tmp_path / "base", {})
    try:
        (tmp_path / "program.py").write_text(PROGRAMS[0].replace("11112", str(server.port)))
        run = python("program.py", folder=tmp_path)
    finally:
        server.stop()
    assert run.stderr == ""
    assert [line.split(" ", 1)[-1] for line in run.stdout.splitlines()] == ["Success", *["0x0000 Success"] * 2]
    assert len(list(server.store.glob("*/*/*.dcm"))) == 2


def test_the_program_that_extends_is_the_example() -> None:
    example = (ROOT / "examples" / "keep_ct.py").read_text()
    assert PROGRAMS[1].strip() == example.split('"""', 2)[2].strip()


def test_the_program_that_extends(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    program = [sys.executable, str(ROOT / "examples" / "keep_ct.py"), str(kept), "0"]
    server = subprocess.Popen(program, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        peer = f"KEEP_CT@127.0.0.1:{server.stdout.readline().split()[-1]}"
        echoed = python("-m", "txdicom", "echo", peer, folder=tmp_path)
        stored = python("-m", "txdicom", "store", peer, str(BUNDLED / "CT_small.dcm"), folder=tmp_path)
        refused = python("-m", "txdicom", "store", peer, str(BUNDLED / "MR_small.dcm"), folder=tmp_path)
    finally:
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=30)
    assert (echoed.returncode, stored.returncode, refused.returncode) == (0, 0, 1)
    assert [path.suffix for path in kept.iterdir()] == [".dcm"]
    assert pydicom.dcmread(next(kept.iterdir())).PatientName == pydicom.dcmread(BUNDLED / "CT_small.dcm").PatientName
    assert out.startswith("stored 1.2.840.10008.5.1.4.1.1.2 ")
    assert "Traceback" not in err
