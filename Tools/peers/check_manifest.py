"""Validates a JSON file against a JSON Schema (draft 2020-12) and prints what does not fit; exit code 1 then.

    python Tools/peers/check_manifest.py SCHEMA FILE
"""

import json
import sys
from pathlib import Path

from jsonschema import Draft202012Validator


def main(schema_path, path):
    schema = json.loads(Path(schema_path).read_text())
    Draft202012Validator.check_schema(schema)
    errors = sorted(Draft202012Validator(schema).iter_errors(json.loads(Path(path).read_text())), key=lambda e: e.json_path)
    for error in errors:
        print(f"{path}: {error.json_path}: {error.message}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
