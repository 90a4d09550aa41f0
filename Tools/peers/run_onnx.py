"""Runs ONNX models in onnxruntime, each on one input tensor, and writes their first outputs.

    run_onnx.py [--check] MODEL INPUT.npy OUT.npy [MODEL INPUT.npy OUT.npy ...]

A model with a fixed batch smaller than the input's is run in pieces. With --check every model must pass onnx.checker,
with full shape inference, before it runs.
"""

import argparse

import numpy as np

from onnx_session import logits, open_session


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="onnx.checker first")
    parser.add_argument("jobs", nargs="+", metavar="MODEL INPUT.npy OUT.npy")
    arguments = parser.parse_args()
    if len(arguments.jobs) % 3:
        parser.error(f"{len(arguments.jobs)} names are no whole number of models with input and output")
    jobs = [arguments.jobs[at : at + 3] for at in range(0, len(arguments.jobs), 3)]
    for model, images, out in jobs:
        if arguments.check:
            import onnx  # not needed, and slow to load, without --check

            onnx.checker.check_model(model, full_check=True)
        np.save(out, logits(open_session(model), np.load(images)))


if __name__ == "__main__":
    main()
