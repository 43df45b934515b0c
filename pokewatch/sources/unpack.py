"""Unpacking of 7z archives in a process of its own, because a damaged one can crash it.

Where 7-Zip itself is installed it does the work, three times as fast as py7zr. Whatever it
stumbles over is left to py7zr, which also says what is wrong.

py7zr's PPMd decoder is C code: on damaged input it may end its process with a segmentation fault
(py7zr issue 733 shows one), which no ``except`` can catch. This module runs itself as a script:
the child writes the wanted members to its standard output as a tar stream, nothing touches a disk.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from itertools import accumulate, pairwise
from pathlib import Path

MEMORY_LIMIT = 2**30
TIME_LIMIT = 600.0


class DamagedArchiveError(Exception):
    """The archive cannot be unpacked; the message says what its decoder met."""


def unpack(path: Path, pattern: str) -> list[tuple[str, bytes]]:
    """Return (name, content) of the members whose whole name matches ``pattern``.

    Raises DamagedArchiveError for a damaged archive, OSError for a file that cannot be read.
    """
    with path.open("rb"):
        pass
    found = _by_7zip(path, pattern)
    if found is not None:
        return found
    # -P keeps this folder off the child's module path: its http.py would hide Python's own.
    command = [sys.executable, "-P", __file__, str(path), pattern]
    try:
        child = subprocess.run(command, capture_output=True, timeout=TIME_LIMIT, check=False)
    except subprocess.TimeoutExpired as error:
        raise DamagedArchiveError(f"not unpacked after {TIME_LIMIT:g} s") from error
    if child.returncode < 0:
        raise DamagedArchiveError(f"its decoder crashed with signal {-child.returncode}")
    if child.returncode:
        lines = child.stderr.decode("utf-8", "replace").strip().splitlines()
        raise DamagedArchiveError(lines[-1][:200] if lines else "its decoder failed")
    with tarfile.open(fileobj=io.BytesIO(child.stdout)) as tar:
        return [(member.name, _content(tar, member)) for member in tar]


def _by_7zip(path: Path, pattern: str) -> list[tuple[str, bytes]] | None:
    """Return the wanted members as 7-Zip unpacks them; None where py7zr has to have a look."""
    program = shutil.which("7z") or shutil.which("7zz")
    if program is None:
        return None

    def run(*options: str) -> bytes | None:
        command = [program, *options, "--", str(path)]
        try:
            # No terminal: it asks for passwords otherwise.
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIME_LIMIT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return None if done.returncode else done.stdout

    listed = run("l", "-slt", "-ba")
    entries = re.findall(
        r"^Path = (.*)\r?\nSize = (\d+)", (listed or b"").decode("utf-8", "replace"), re.MULTILINE
    )
    wanted = [(name, int(size)) for name, size in entries if re.fullmatch(pattern, name, re.ASCII)]
    names = [name for name, _ in wanted]
    if not names or len(set(names)) < len(names) or sum(n for _, n in wanted) > MEMORY_LIMIT:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="ascii") as chosen:
        chosen.write("\n".join(names))
        chosen.flush()
        content = run("x", "-so", "-y", f"-i@{chosen.name}")
    stops = [0, *accumulate(size for _, size in wanted)]
    if content is None or len(content) != stops[-1]:
        return None
    return [(name, content[a:b]) for name, (a, b) in zip(names, pairwise(stops), strict=True)]


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""


def _stream(path: str, pattern: str) -> None:
    """Write the wanted members of an archive to standard output as a tar stream."""
    # Imported here, because only the child needs them.
    import py7zr
    from py7zr.io import BytesIOFactory

    factory = BytesIOFactory(MEMORY_LIMIT)
    wanted = re.compile(pattern, re.ASCII)
    with py7zr.SevenZipFile(path, max_extract_size=MEMORY_LIMIT) as archive:
        names = [name for name in archive.getnames() if wanted.fullmatch(name)]
        if names:
            archive.extract(targets=names, factory=factory)
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
        for name, product in factory.products.items():
            member = tarfile.TarInfo(name)
            member.size = product.size()
            tar.addfile(member, io.BytesIO(product.read()))


if __name__ == "__main__":
    _stream(sys.argv[1], sys.argv[2])
