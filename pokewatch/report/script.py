"""The report's only script: DataTables, as itables brings it, which sorts and searches tables."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache

from itables.utils import read_package_file

from pokewatch.errors import PokewatchError
from pokewatch.report.templating import read_template


@lru_cache(maxsize=1)
def table_script() -> tuple[str, str]:
    """Return the script and its hash, which the page's content security policy names.

    Only a script of this very text may run: a name that slipped through the escaping could not.
    itables' own offline output is no choice: it starts scripts from blobs, which such a policy
    forbids, and is half as large again.
    """
    bundle = read_package_file("html/dt_bundle.js")
    named = re.search(r"([\w$]+) as default\b", bundle)
    if not named or "</script" in bundle.lower():
        raise PokewatchError(
            "itables' DataTables bundle has another form than this version reads: install the "
            "locked version with 'make setup'"
        )
    script = f"{bundle}\nconst DataTable = {named[1]};{read_template('report_tables.js')}"
    return script, base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
