"""The price store on S3 and whatever speaks it: options, Arrow's file system, and its errors.

Address and credentials come from the environment alone: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_REGION, and for other services than Amazon's AWS_ENDPOINT_URL (with http: AWS_ALLOW_HTTP=true).
"""

from __future__ import annotations

import os
import re
from urllib.parse import urlparse

import pyarrow.fs as fs
from deltalake.fs import DeltaStorageHandler

from pokewatch.errors import UsageError

SCHEMES = ("s3", "s3a")
# What the error of an object store contains, and what to do about it; the first that fits.
REMEDIES = {
    "NoSuchBucket": "create the bucket, or correct POKEWATCH_STORE",
    r"status(?: code)?:? 40[13]\b|AccessDenied|privileges|ACCESS_DENIED|//169\.254\.": "check "
    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and what they may do in the bucket",
    "scheme is not allowed": "set AWS_ALLOW_HTTP=true, or use https in AWS_ENDPOINT_URL",
    "sending request|NETWORK_CONNECTION|timed out": "the object store does not answer: check "
    "AWS_ENDPOINT_URL and the network; what was committed is safe",
}


def options(root: str) -> dict[str, str] | None:
    """Return Delta's storage options for a root; None for a folder.

    Raises UsageError for a URL that is not s3://bucket/prefix, or that holds credentials.
    """
    if "://" not in root:
        return None
    parts = urlparse(root)
    if "@" in parts.netloc:  # not shown: it would be a secret in a log
        raise UsageError(
            "POKEWATCH_STORE holds credentials: put them into AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, and write s3://bucket/prefix"
        )
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise UsageError(
            f"POKEWATCH_STORE='{root}' is no place for tables: write a folder, or s3://bucket/prefix"
        )
    # Without etags two writers to one object store could both win.
    return {"conditional_put": "etag"}


def file_system(location: str) -> fs.FileSystem:
    """Return Arrow's file system of a folder on S3, set up by the same environment as Delta.

    deltalake's calls Python from Arrow's threads: a process that ends while one of them reads
    ahead crashes or hangs.
    """
    parts = urlparse(location)
    endpoint = urlparse(os.environ.get("AWS_ENDPOINT_URL", ""))
    s3 = fs.S3FileSystem(
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        endpoint_override=endpoint.netloc or None,
        scheme=endpoint.scheme or "https",
    )
    return fs.SubTreeFileSystem(parts.netloc + parts.path, s3)


def holds_files(location: str) -> bool:
    """Return whether anything lies below a URL."""
    below = DeltaStorageHandler(location, options(location))
    everything = fs.FileSelector("", allow_not_found=True, recursive=True)
    return any(info.is_file for info in below.get_file_info_selector(everything))


def one_line(error: Exception) -> str:
    """Return an error of Delta or Arrow as one line without colours."""
    text = re.sub(r"\x1b\[\d*m", "", str(error))
    if answer := re.search(r"<Code>(.*?)</Code>\s*<Message>(.*?)</Message>", text, re.DOTALL):
        return f"{answer[1]}: {answer[2]}"
    return " ".join(text.replace("↳", ": ").split()).replace(" : ", ": ")


def remedy(error: Exception, otherwise: str) -> str:
    """Return what to do about an error; ``otherwise`` where the object store is not its cause."""
    text = str(error)
    return next((what for sign, what in REMEDIES.items() if re.search(sign, text)), otherwise)
