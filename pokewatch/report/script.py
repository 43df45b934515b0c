"""The report's only script: DataTables, as itables brings it, which sorts and searches tables."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from importlib.resources import files

from pokewatch.errors import PokewatchError
from pokewatch.report.templating import read_template


@lru_cache(maxsize=1)
def table_script() -> tuple[str, str]:
    """Return the script and its hash, which the page's content security policy names.

    Only a script of this very text may run: a name that slipped through the escaping could not.
    """
    bundle = files("itables").joinpath("html/dt_bundle.js").read_text(encoding="utf-8")
    exported = re.search(r"export\s*\{([^}]*)\}\s*;?", bundle)
    named = exported and re.search(r"([\w$]+)\s+as\s+default\b", exported[1])
    if not exported or not named or "</script" in bundle.lower():
        raise PokewatchError(
            "itables' DataTables bundle has another form than this version reads: install the "
            "locked version with 'make setup'"
        )
    start, end = exported.span()
    own = f"const DataTable = {named[1]};{read_template('report_tables.js')}"
    script = f"{bundle[:start]}{bundle[end:]}\n{own}"
    return script, base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
