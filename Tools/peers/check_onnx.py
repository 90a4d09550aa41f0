"""Checks ONNX files with onnx.checker (with full shape inference) and runs each once in onnxruntime.

Open extents become 2; inputs are seeded normal numbers (zeros for integers). Prints one line per file and exits with 1
when a file fails.

    python Tools/peers/check_onnx.py FILE...
"""

import sys

import numpy
import onnx
import onnxruntime

TYPES = {
    "tensor(float)": numpy.float32,
    "tensor(float16)": numpy.float16,
    "tensor(double)": numpy.float64,
    "tensor(int32)": numpy.int32,
    "tensor(int64)": numpy.int64,
    "tensor(uint8)": numpy.uint8,
    "tensor(bool)": numpy.bool_,
}


def check(path):
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    generator = numpy.random.default_rng(0)
    inputs = {}
    for port in session.get_inputs():
        shape = [extent if isinstance(extent, int) else 2 for extent in port.shape]
        values = generator.standard_normal(shape) if "float" in port.type or "double" in port.type else numpy.zeros(shape)
        inputs[port.name] = values.astype(TYPES[port.type])
    return [output.shape for output in session.run(None, inputs)]


def main(paths):
    failed = False
    for path in paths:
        try:
            print(f"{path}: runs, outputs {check(path)}")
        except Exception as error:  # every kind of failure of either library is a finding
            failed = True
            print(f"{path}: FAILED: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
