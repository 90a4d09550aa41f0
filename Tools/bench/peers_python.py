"""The Python of the peers, which the scripts of this folder change to by themselves."""

import os
import sys
from pathlib import Path


def use():
    """Restarts in the environment of the peers where it exists and is not the one that runs."""
    root = Path(__file__).resolve().parents[2]
    python = Path(os.environ.get("CATENA_PYTHON") or root / ".venv" / "bin" / "python")
    if python.exists() and python.parents[1].resolve() != Path(sys.prefix).resolve():
        os.execv(python, [str(python), *sys.argv])
