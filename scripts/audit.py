"""Ask the package index for known vulnerabilities of every package in requirements.lock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"


def main() -> int:
    """Print what is vulnerable; exit 0 nothing is, 1 something is, 2 not everything was judged."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "-f", "json"]
    done = subprocess.run(  # noqa: S603 (a fixed command)
        [*command, "-r", str(LOCK), "--progress-spinner", "off"],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"audit: no index answered, nothing is known: {said[:300]}", file=sys.stderr)
        return 2
    unknown = [one["name"] for one in packages if "skip_reason" in one]
    judged = [one for one in packages if "skip_reason" not in one]
    found = [(one, vuln) for one in judged for vuln in one["vulns"]]
    for one, vuln in found:
        mend = ", ".join(vuln["fix_versions"]) or "none yet"
        print(f"{one['name']} {one['version']}: {vuln['id']}, mended in {mend}")
    print(f"audit: {len(judged)} packages judged, {len(found)} vulnerabilities")
    if unknown:
        few = ", ".join(unknown[:5])
        print(
            f"audit: the index has no advisories of {len(unknown)} packages ({few} ...): they are "
            "not judged; run it where an index with advisories answers",
            file=sys.stderr,
        )
    return 1 if found else 2 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
