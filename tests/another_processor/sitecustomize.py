"""With this folder on PYTHONPATH a process runs as on another processor, see ``last_bit``."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).parent.parent / "last_bit.py"))["for_this_process"]()
