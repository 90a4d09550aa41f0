"""Seconds per inference in onnxruntime or PyTorch.

    inference_bench.py MODEL --batch N [--runtime onnxruntime|torch] [--threads T] [--runs R]
    inference_bench.py MODEL --batch N --serve

With --serve it answers each line `run` on standard input with the seconds of one inference, so that a driver can
interleave peers; otherwise it prints the median of --runs as JSON.
"""

import argparse

import numpy as np

import timing


def onnxruntime_job(arguments):
    from onnx_session import open_session

    session = open_session(arguments.model, arguments.threads)
    description = session.get_inputs()[0]
    feed = {description.name: random_input([arguments.batch, *description.shape[1:]])}
    return lambda: session.run(None, feed)


def torch_job(arguments):
    import torch

    from onnx_torch import OnnxNetwork

    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    network = OnnxNetwork(arguments.model, arguments.batch).eval()
    images = torch.from_numpy(random_input(network.input_shape)).contiguous(memory_format=torch.channels_last)
    function = torch.compile(network, fullgraph=True) if arguments.compile else network

    def run():
        with torch.inference_mode():
            return function(images)

    return run


def random_input(shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--runtime", choices=["onnxruntime", "torch"], default="onnxruntime")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--compile", action="store_true", help="torch.compile (needs a C++ compiler)")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--serve", action="store_true")
    arguments = parser.parse_args()
    if arguments.compile and arguments.runtime != "torch":
        parser.error("--compile belongs to --runtime torch")

    job = {"onnxruntime": onnxruntime_job, "torch": torch_job}[arguments.runtime](arguments)
    if arguments.serve:
        timing.serve(job, arguments.warm_up)
    else:
        timing.report(job, arguments.warm_up, arguments.runs, runtime=arguments.runtime, batch=arguments.batch)


if __name__ == "__main__":
    main()
