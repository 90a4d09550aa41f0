"""Captum's attributions of an ONNX network: what Catena's are compared with, in numbers and in time.

    captum_attributions.py JOB.json OUT.npz

The job names a model, an input (.npy), one target per sample and the methods with their arguments; the output holds an
array per method, and `METHOD.delta` where Captum gives one. It computes in double precision, with "single" as Captum
does by itself, in single. With "time", methods are timed in single precision instead: the output holds seconds per run,
`METHOD.seconds`.
"""

import json
import sys
import time
from unittest import mock

import captum.attr as attr
import numpy as np
import torch
from captum.attr._utils.custom_modules import Addition_Module
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule
from onnx_torch import Node, OPERATORS, OnnxNetwork, Unsupported
from torch import nn


class Plain(nn.Module):
    """An operator without parameters."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


class Apart(nn.Module):
    """A maximum pool behind an identity, so that its input is a tensor of its own.

    Captum's DeepLIFT hangs its hooks on tensors. Where a pool reads a ReLU's output, the ReLU's hook on that tensor runs
    first and keeps the gradient from before the pool's rule, which is thereby lost. Behind an identity the rule takes
    part.
    """

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, inputs):
        return self.module(inputs.clone())


def summed_unpool(values, indices, kernel_size, stride, padding, shape):
    """`max_unpool2d` that adds what overlapping windows send to one place.

    PyTorch's keeps one of the values, and Captum's DeepLIFT with it is not complete behind such pools.
    """
    result = values.new_zeros(shape)
    result.flatten(2).scatter_add_(2, indices.flatten(2), values.flatten(2))
    return result


def symmetric(node, rank):
    begin, end = node.spatial_pads(rank)
    if begin != end:
        raise Unsupported(f"{node.kind} {node.proto.output[0]}: uneven pads")
    return begin


def filled(module, weight, bias):
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weight.copy()))
        if bias is not None:
            module.bias.copy_(torch.from_numpy(bias.copy()))
    return module


def convolution(node):
    weight, bias = node.constant(1), node.constant(2)
    groups = node.get("group", 1)
    return filled(
        nn.Conv2d(
            weight.shape[1] * groups, weight.shape[0], weight.shape[2:], node.get("strides", [1, 1]),
            symmetric(node, 2), node.get("dilations", [1, 1]), groups, bias is not None), weight, bias)


def linear(node):
    weight, bias = node.constant(1), node.constant(2)
    if node.get("alpha", 1.0) != 1.0 or node.get("beta", 1.0) != 1.0 or node.get("transA", 0):
        raise Unsupported("Gemm with factors")
    weight = weight if node.get("transB", 0) else weight.T
    return filled(nn.Linear(weight.shape[1], weight.shape[0], bias is not None), weight, bias)


def normalization(node, rank):
    scale, bias, mean, variance = (node.constant(i) for i in range(1, 5))
    kind = nn.BatchNorm1d if rank == 2 else nn.BatchNorm2d
    module = filled(kind(len(scale), eps=node.get("epsilon", 1e-5)), scale, bias)
    with torch.no_grad():
        module.running_mean.copy_(torch.from_numpy(mean.copy()))
        module.running_var.copy_(torch.from_numpy(variance.copy()))
    return module


class ModuleNetwork(OnnxNetwork):
    """The network with a module of its own for every operator, as Captum wants it."""

    def _specialise(self, known, values):
        self._values = values
        self.layers = nn.ModuleDict()
        self.names = {}
        super()._specialise(known, values)
        del self._values

    def _step(self, proto, known):
        node = Node(proto, [known.get(name) for name in proto.input])
        module = self._module(node, len(self._values[proto.input[0]].shape)).eval()
        key = f"layer{len(self.layers)}"
        self.layers[key] = module
        self.names[proto.output[0]] = module
        return module, [n for n in proto.input if n not in known], list(proto.output)

    @staticmethod
    def _module(node, rank):
        pools = {"MaxPool": nn.MaxPool2d, "AveragePool": nn.AvgPool2d}
        if node.kind in pools and not node.get("ceil_mode", 0) and node.get("dilations", [1, 1]) == [1, 1]:
            strides = node.get("strides", [1, 1])
            pool = pools[node.kind](node.get("kernel_shape"), strides, symmetric(node, 2))
            return Apart(pool) if node.kind == "MaxPool" else pool
        makers = {
            "Conv": convolution, "Gemm": linear, "Relu": lambda _: nn.ReLU(), "Add": lambda _: Addition_Module(),
            "GlobalAveragePool": lambda _: nn.AdaptiveAvgPool2d(1),
            "BatchNormalization": lambda n: normalization(n, rank)}
        return makers[node.kind](node) if node.kind in makers else Plain(OPERATORS[node.kind](node))


def alpha_beta(model):
    for layer in model.layers.values():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.rule = Alpha1_Beta0_Rule(set_bias_to_zero=True)


def attribute(model, method, inputs, targets, arguments):
    """An array, and Captum's delta or None."""
    call = {"target": targets}
    layer = model.names.get(arguments.get("layer"))
    if method == "saliency":
        return attr.Saliency(model).attribute(inputs, **call), None
    if method == "input-x-gradient":
        return attr.InputXGradient(model).attribute(inputs, **call), None
    if method == "integrated-gradients":
        return attr.IntegratedGradients(model).attribute(
            inputs, n_steps=arguments.get("steps", 50), return_convergence_delta=True, **call)
    if method == "guided-backprop":
        return attr.GuidedBackprop(model).attribute(inputs, **call), None
    if method == "deconvolution":
        return attr.Deconvolution(model).attribute(inputs, **call), None
    if method == "deep-lift":
        with mock.patch.object(torch.nn.functional, "max_unpool2d", summed_unpool):
            return attr.DeepLift(model).attribute(inputs, return_convergence_delta=True, **call)
    if method in ("lrp", "lrp-epsilon"):
        # Captum takes its rules off when it is done, and these too.
        for module in model.layers.values():
            if isinstance(module, (Plain, nn.BatchNorm1d)):
                module.rule = EpsilonRule()
        if method == "lrp":
            alpha_beta(model)
        return attr.LRP(model).attribute(inputs, return_convergence_delta=True, **call)
    if method == "grad-cam":
        return attr.LayerGradCam(model, layer).attribute(inputs, **call), None
    if method == "guided-grad-cam":
        return attr.GuidedGradCam(model, layer).attribute(inputs, **call), None
    if method == "occlusion":
        channels = inputs.shape[1]
        return attr.Occlusion(model).attribute(
            inputs, sliding_window_shapes=(channels, *arguments["window"]),
            strides=(channels, *arguments["strides"]), perturbations_per_eval=32, **call), None
    raise SystemExit(f"there is no peer for {method}")


def main():
    job = json.load(open(sys.argv[1]))
    inputs = torch.from_numpy(np.load(job["input"]))
    targets = torch.tensor(job["targets"])
    model = ModuleNetwork(job["model"], inputs.shape[0]).eval()
    model.requires_grad_(False)
    results = {}
    if not job.get("time") and not job.get("single"):
        model, inputs = model.double(), inputs.double()
    elif job.get("threads"):
        torch.set_num_threads(job["threads"])
    for entry in job["methods"]:
        name, arguments = entry["method"], entry.get("arguments", {})
        runs = []
        for _ in range(job.get("time", 0) + 1):
            start = time.perf_counter()
            value, delta = attribute(model, name, inputs.clone(), targets, arguments)
            runs.append(time.perf_counter() - start)
        if job.get("time"):
            # The first run is for warming up.
            results[f"{name}.seconds"] = np.array(runs[1:])
            continue
        results[name] = value.detach().numpy()
        if delta is not None:
            results[f"{name}.delta"] = delta.detach().numpy().reshape(-1)
    np.savez(sys.argv[2], **results)


if __name__ == "__main__":
    main()
