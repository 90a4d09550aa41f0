"""Runs an ONNX model in onnxruntime on one input tensor and writes its first output.

    run_onnx.py MODEL INPUT.npy OUT.npy

A model with a fixed batch smaller than the input's is run in pieces.
"""

import argparse

import numpy as np

from onnx_session import logits, open_session


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("input", help="input tensor, .npy")
    parser.add_argument("out", help="logits, .npy")
    arguments = parser.parse_args()
    np.save(arguments.out, logits(open_session(arguments.model), np.load(arguments.input)))


if __name__ == "__main__":
    main()
