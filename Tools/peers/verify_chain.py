"""Checks a chain independently of us.

    verify_chain.py DIR [--source MODEL] [--tolerance 1e-4]

The files must have the sums in SHA256SUMS; chain.onnx must pass onnx.checker and give, in onnxruntime, the logits
stored for the region, or their softmax where the file ends in one; the agreement in the manifest must be that of these logits with the dense network's. So must
chain.soft.onnx, for the divergence of the soft mode. With --source, onnxruntime must also give the stored dense logits,
and every constant of both must be a slice of the source network's, bit for bit, or a listed score, as the manifest says.

Prints one line of JSON; exit code 1 when something differs.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

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


def check_sums(folder):
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ", 1)
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise SystemExit(f"{folder / name}: not the file that was written")


def digest(model):
    """Of the file, and behind it of the stored values that it has in other files."""
    result = hashlib.sha256(model.read_bytes())
    stored = onnx.load(model, load_external_data=False).graph.initializer
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in stored):
        for tensor, read in zip(stored, onnx.load(model).graph.initializer):
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                result.update(numpy_helper.to_array(read).tobytes())
    return result.hexdigest()


def ending(model):
    """Softmax or LogSoftmax where a file's first output is one, else nothing."""
    graph = onnx.load(model).graph
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(graph.output[0].name)
    while node is not None and node.op_type in ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        node = makers.get(node.input[0])
    return node.op_type if node is not None and node.op_type in ("Softmax", "LogSoftmax") else None


def log_softmax(rows):
    rows = rows.astype(float) - rows.max(1, keepdims=True)
    return rows - np.log(np.exp(rows).sum(1, keepdims=True))


def ended(rows, model):
    """What a file's first output is, for rows of logits."""
    end = ending(model)
    return rows if end is None else np.exp(log_softmax(rows)) if end == "Softmax" else log_softmax(rows)


def logits_of(outputs, model):
    """Logits that have the same softmax as a file's first output stands for."""
    return np.log(np.maximum(outputs, np.finfo(np.float32).tiny)) if ending(model) == "Softmax" else outputs


def difference(actual, expected, what):
    """The largest difference as a part of the range of the outputs."""
    if actual.size == expected.size:
        actual = actual.reshape(expected.shape)
    if actual.shape != expected.shape:
        raise SystemExit(f"{what}: logits {actual.shape}, stored are {expected.shape}")
    return float(np.abs(actual - expected).max() / np.ptp(expected))


def stored_constants(model):
    """Floating-point initialisers and outputs of Constant nodes, by name."""
    graph = onnx.load(model).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return {name: array for name, array in constants.items() if array.dtype.kind == "f"}


def slice_of(source, record):
    """The slice of a source constant that a record of the manifest describes."""
    zeroed = source.copy()
    for axis, indices in enumerate(record["zeros"]):
        zeroed[(slice(None),) * axis + (indices,)] = 0
    groups = record.get("keptByGroup")
    for axis, indices in enumerate(record["kept"]):
        if indices is not None and not (groups and axis == 1):
            zeroed = zeroed.take(indices, axis)
    if groups:
        rows = np.split(zeroed, len(groups))
        zeroed = np.concatenate([part.take(kept, 1) for part, kept in zip(rows, groups)])
    return zeroed


def check_constants(file, source, manifest, scores):
    """Compares every constant of a chain; returns how many elements are copies, listed zeros or listed scores."""
    sources, chain = stored_constants(source), stored_constants(file)
    soft = {item["name"]: scores[item["scores"]][item["indices"]] for item in manifest["softFactors"]} if scores else {}
    records = {record["name"]: record for record in manifest["constants"]}
    factors = {factor["name"] for factor in manifest["factors"]}
    elements = 0
    for name, array in chain.items():
        if name in factors:
            same = bool(np.isin(array, (0, 1)).all())
        elif name in soft:
            same = soft[name].astype(array.dtype).tobytes() == array.tobytes()
        elif name in records:
            same = slice_of(sources[records[name]["source"]], records[name]).tobytes() == array.tobytes()
        else:
            same = name in sources and sources[name].tobytes() == array.tobytes()
        if not same:
            raise SystemExit(f"{file}: '{name}' is not the slice of {source} that the manifest lists")
        elements += array.size
    return elements


def divergence(dense, chain):
    """Mean KL(p || q) in nats, p and q the softmax of the rows of two tables of logits."""
    p, q = log_softmax(dense), log_softmax(chain.reshape(dense.shape))
    return float((np.exp(p) * (p - q)).sum(1).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--source", type=Path, metavar="MODEL", help="the network that the chain was extracted from")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest difference, as a part of the range")
    arguments = parser.parse_args()
    folder, model = arguments.folder, arguments.folder / "chain.onnx"

    check_sums(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    onnx.checker.check_model(str(model), full_check=True)
    region = read_safetensors(folder / "region.safetensors")
    dense = region["dense_logits"]
    actual = logits(open_session(model), region["samples"])
    report = {
        "model": str(model), "samples": len(actual),
        "chainDifference": difference(actual, ended(region["chain_logits"], model), model),
        "agreement": float((actual.reshape(dense.shape).argmax(1) == dense.argmax(1)).mean()),
    }
    met = report["chainDifference"] <= arguments.tolerance
    met &= abs(report["agreement"] - manifest["fidelity"]["binary"]["agreement"]) < 1e-9
    softly = folder / "chain.soft.onnx"
    onnx.checker.check_model(str(softly), full_check=True)
    soft = logits_of(logits(open_session(softly), region["samples"]), softly)
    # A divergence follows its logits, which may be off by the tolerance.
    margin = 4 * arguments.tolerance * float(np.ptp(soft))
    claimed = manifest["fidelity"]["soft"]["divergence"]
    report["softDivergence"] = divergence(dense, soft)
    met &= claimed == "inf" or abs(report["softDivergence"] - claimed) <= margin * max(1, claimed)
    if arguments.source:
        if digest(arguments.source) != manifest["model"]["sha256"]:
            raise SystemExit(f"{arguments.source} is not the network that the chain was extracted from")
        scores = read_safetensors(folder / "scores.safetensors")
        report["elements"] = check_constants(model, arguments.source, manifest, {})
        check_constants(softly, arguments.source, manifest, scores)
        source = logits(open_session(arguments.source), region["samples"])
        report["denseDifference"] = difference(source, ended(dense, arguments.source), arguments.source)
        met &= report["denseDifference"] <= arguments.tolerance
    print(json.dumps(report | {"met": bool(met)}))
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
