"""Unpacking of 7z archives in a process of its own, because a damaged one can crash it.

An installed 7-Zip does the work, three times as fast as py7zr; what it stumbles over is left to
py7zr, which says what is wrong. On damaged input py7zr's C code may end its process (py7zr issue
733), so this module runs itself as a script that writes the wanted members out as a tar stream.
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

SIZE_LIMIT = 2**29  # bytes of all wanted members; a real day's are 60 MB
MEMORY_LIMIT = 3 * 2**30  # address space of the child: members, their tar stream, the decoder
MEMBER_LIMIT = 100_000  # names in an archive; a real one has 5,000
TIME_LIMIT = 600.0


class DamagedArchiveError(Exception):
    """The archive cannot be unpacked; the message says what its decoder met."""


def unpack(path: Path, pattern: str) -> list[tuple[str, bytes]]:
    """Return (name, content) of the members whose full name matches ``pattern``.

    Raises DamagedArchiveError for a damaged archive, OSError for a file that cannot be read.
    """
    with path.open("rb"):
        pass
    if (found := _by_7zip(path, pattern)) is not None:
        return found
    # -P keeps this folder off the child's module path: its http.py would hide Python's own.
    command = [sys.executable, "-P", __file__, str(path), pattern]
    try:
        child = subprocess.run(  # noqa: S603 (this file, no shell)
            command, capture_output=True, timeout=TIME_LIMIT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DamagedArchiveError(f"not unpacked after {TIME_LIMIT:g} s") from error
    if child.returncode < 0:
        raise DamagedArchiveError(f"its decoder crashed with signal {-child.returncode}")
    if child.returncode:
        lines = child.stderr.decode("utf-8", "replace").strip().splitlines()
        raise DamagedArchiveError(lines[-1][:200] if lines else "its decoder failed")
    with tarfile.open(fileobj=io.BytesIO(child.stdout)) as tar:
        files = [(member.name, tar.extractfile(member)) for member in tar]
        return [(name, file.read()) for name, file in files if file]


def _by_7zip(path: Path, pattern: str) -> list[tuple[str, bytes]] | None:
    """Return the wanted members as 7-Zip unpacks them; None where py7zr has to have a look."""
    program, shell = shutil.which("7z") or shutil.which("7zz"), shutil.which("sh")
    if program is None or shell is None:
        return None

    def run(*options: str) -> bytes | None:
        # A header may ask for any amount of memory, long before a byte is unpacked.
        limits = f"ulimit -v {MEMORY_LIMIT // 1024} && ulimit -f {SIZE_LIMIT // 512}"
        command = [shell, "-c", f'{limits} && exec "$0" "$@"', program, *options, "--", str(path)]
        try:
            # A file, not a pipe: this thread sleeps until all is there, and the others go on. What
            # it complains of is a pipe, whose end is noticed at once: without any, Python looks
            # every 50 ms whether the process has ended.
            with tempfile.TemporaryFile() as output:
                # No terminal: it asks for passwords otherwise.
                done = subprocess.run(  # noqa: S603 (all arguments reach 7-Zip as they are)
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.PIPE,
                    timeout=TIME_LIMIT,
                    check=False,
                )
                output.seek(0)
                return None if done.returncode else output.read()
        except (OSError, subprocess.TimeoutExpired):
            return None

    listed = run("l", "-slt", "-ba")
    entries = re.findall(
        r"^Path = (.*)\r?\nSize = (\d+)", (listed or b"").decode("utf-8", "replace"), re.MULTILINE
    )
    wanted = [(name, int(size)) for name, size in entries if re.fullmatch(pattern, name, re.ASCII)]
    names = [name for name, _ in wanted]
    if not names or len(set(names)) < len(names) or sum(n for _, n in wanted) > SIZE_LIMIT:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="ascii") as chosen:
        chosen.write("\n".join(names))
        chosen.flush()
        content = run("x", "-so", "-y", f"-i@{chosen.name}")
    stops = [0, *accumulate(size for _, size in wanted)]
    if content is None or len(content) != stops[-1]:
        return None
    return [(name, content[a:b]) for name, (a, b) in zip(names, pairwise(stops), strict=True)]


def _stream(path: str, pattern: str) -> None:
    """Write the wanted members of an archive to standard output as a tar stream."""
    # Imported here, because only the child needs them.
    import resource

    import py7zr
    from py7zr.io import BytesIOFactory

    # A header may ask for any amount of memory, long before a byte is unpacked.
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = MEMORY_LIMIT if most == resource.RLIM_INFINITY else min(MEMORY_LIMIT, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    factory = BytesIOFactory(SIZE_LIMIT)
    wanted = re.compile(pattern, re.ASCII)
    with py7zr.SevenZipFile(path, max_extract_size=SIZE_LIMIT) as archive:
        members = archive.list()
        if len(members) > MEMBER_LIMIT:
            sys.exit(f"it has {len(members):,} members, more than {MEMBER_LIMIT:,}")
        found = [one for one in members if wanted.fullmatch(one.filename)]
        size = sum(one.uncompressed for one in found)
        if size > SIZE_LIMIT:
            sys.exit(f"it would unpack to {size:,} bytes, more than {SIZE_LIMIT:,}")
        names = [one.filename for one in found]
        if names:
            archive.extract(targets=names, factory=factory)
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
        for name, product in factory.products.items():
            member = tarfile.TarInfo(name)
            member.size = product.size()
            tar.addfile(member, io.BytesIO(product.read()))


if __name__ == "__main__":
    _stream(sys.argv[1], sys.argv[2])
