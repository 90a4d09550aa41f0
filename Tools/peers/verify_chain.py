"""Checks a chain independently of us: its ONNX file is valid and gives the stored logits in onnxruntime.

    verify_chain.py DIR [--model chain.onnx] [--tensors region.safetensors] [--input input] [--logits logits]

The file of tensors (safetensors or .npz) holds the region as the network takes it and the logits to be reproduced.
Prints one line of JSON; exit code 1 when the largest difference exceeds --tolerance of the logits' range.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnx

from onnx_session import logits, open_session

ELEMENT_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}


def read_safetensors(path):
    """All tensors of a safetensors file, by name."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(body[begin:end], ELEMENT_TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--model", default="chain.onnx")
    parser.add_argument("--tensors", default="region.safetensors")
    parser.add_argument("--input", default="input")
    parser.add_argument("--logits", default="logits")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()

    model, file = arguments.folder / arguments.model, arguments.folder / arguments.tensors
    onnx.checker.check_model(str(model), full_check=True)
    tensors = read_safetensors(file) if file.suffix == ".safetensors" else np.load(file)
    for name in (arguments.input, arguments.logits):
        if name not in tensors:
            raise SystemExit(f"{file}: no tensor {name!r}; it holds {', '.join(sorted(tensors))}")
    expected = tensors[arguments.logits]
    actual = logits(open_session(model), tensors[arguments.input])
    if actual.shape != expected.shape:
        raise SystemExit(f"{model} gives logits {actual.shape}, stored are {expected.shape}")
    difference = float(np.abs(actual - expected).max() / np.ptp(expected))
    met = difference <= arguments.tolerance
    print(json.dumps({
        "model": str(model), "samples": len(expected), "relativeDifference": difference,
        "sameTop1": int((actual.argmax(1) == expected.argmax(1)).sum()), "met": met}))
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
