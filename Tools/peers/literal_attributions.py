"""Attributions of an ONNX network, word for word from the rules, in double precision: no hooks, no autograd.

    literal_attributions.py JOB.json OUT.npz

Reads the job that captum_attributions.py reads and writes the same arrays for the methods that are plain rules at each
node: saliency, input-x-gradient, guided-backprop, deconvolution, deep-lift (rescale rule, zero baseline). Where Catena
and Captum differ, this says which of them follows the rule. Convolutions, linear layers, batch norms, ReLUs, sums, pools
and what moves values are known, which is all that the compared networks have.

METHOD.choices besides, one map per window of a maximum pool whose two largest values single precision cannot tell apart:
what changes in the map when that window's other value is taken. Where there is such a window, no result in single
precision is right or wrong.
"""

import json
import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper

# Captum's figure: differences of inputs below it get the derivative instead of a slope.
SMALLEST_DIFFERENCE = 1e-10
# Two values of a window that differ by less, relative to the largest value of their tensor, are the same in single
# precision: half a unit in the last place.
UNDECIDED = 2.0**-24


class Node:
    """A node with its attributes."""

    def __init__(self, proto):
        self.proto = proto
        self.kind, self.inputs, self.output = proto.op_type, list(proto.input), proto.output[0]
        self.attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
        # The window, if any, at which a maximum pool takes its second largest value.
        self.other = None

    def get(self, name, default=None):
        return self.attributes.get(name, default)

    def forward(self, values):
        return getattr(self, f"forward_{self.kind}")(*values)

    def backward(self, flow, values, output):
        """What flows to each computed input when `flow` flows to the output, by the chain rule."""
        return getattr(self, f"backward_{self.kind}")(flow, values, output)

    # Windows: convolutions and pools.

    def windows(self, x, kernel, value):
        """The padded input, and for each tap the slices of it that the outputs read."""
        pads = self.get("pads", [0, 0, 0, 0])
        strides, dilations = self.get("strides", [1, 1]), self.get("dilations", [1, 1])
        padded = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])), constant_values=value)
        extents = [
            (padded.shape[2 + a] - (kernel[a] - 1) * dilations[a] - 1) // strides[a] + 1 for a in range(2)]
        taps = {}
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                starts = i * dilations[0], j * dilations[1]
                taps[i, j] = tuple(
                    slice(s, s + (extents[a] - 1) * strides[a] + 1, strides[a]) for a, s in enumerate(starts))
        return padded, taps, extents

    def unpadded(self, padded):
        pads = self.get("pads", [0, 0, 0, 0])
        height, width = padded.shape[2:]
        return padded[:, :, pads[0] : height - pads[2], pads[1] : width - pads[3]]

    def forward_Conv(self, x, w, b=None):
        padded, taps, extents = self.windows(x, w.shape[2:], 0.0)
        groups = self.get("group", 1)
        per_out, per_in = w.shape[0] // groups, w.shape[1]
        y = np.zeros((x.shape[0], w.shape[0], *extents))
        for g in range(groups):
            rows, channels = slice(g * per_out, (g + 1) * per_out), slice(g * per_in, (g + 1) * per_in)
            for (i, j), place in taps.items():
                y[:, rows] += np.einsum("nchw,oc->nohw", padded[:, channels, *place], w[rows, :, i, j], optimize=True)
        return y if b is None else y + b.reshape(1, -1, 1, 1)

    def backward_Conv(self, flow, values, _):
        w = values[1]
        padded, taps, _ = self.windows(np.zeros_like(values[0]), w.shape[2:], 0.0)
        groups = self.get("group", 1)
        per_out, per_in = w.shape[0] // groups, w.shape[1]
        for g in range(groups):
            rows, channels = slice(g * per_out, (g + 1) * per_out), slice(g * per_in, (g + 1) * per_in)
            for (i, j), place in taps.items():
                padded[:, channels, *place] += np.einsum("nohw,oc->nchw", flow[:, rows], w[rows, :, i, j], optimize=True)
        return [self.unpadded(padded)]

    def forward_MaxPool(self, x):
        padded, taps, _ = self.windows(x, self.get("kernel_shape"), -np.inf)
        return np.max([padded[:, :, *place] for place in taps.values()], 0)

    def sent_to_first_maximum(self, flow, x):
        """Each window's flow at the place of its first maximum, row by row; at one window at that of its second."""
        padded, taps, _ = self.windows(x, self.get("kernel_shape"), -np.inf)
        values = np.array([padded[:, :, *place] for place in taps.values()])
        first = np.argmax(values, 0)
        if self.other is not None:
            values[first[self.other], *self.other] = -np.inf
            first[self.other] = np.argmax(values[:, *self.other])
        result = np.zeros_like(padded)
        for tap, place in enumerate(taps.values()):
            result[:, :, *place] += np.where(first == tap, flow, 0)
        return self.unpadded(result)

    def undecided(self, x):
        """The windows whose two largest values differ, but not in single precision."""
        padded, taps, _ = self.windows(x, self.get("kernel_shape"), -np.inf)
        values = np.sort([padded[:, :, *place] for place in taps.values()], 0)
        gaps = (values[-1] - values[-2]) / np.abs(x).max()
        return [tuple(at) for at in np.argwhere((gaps > 0) & (gaps < UNDECIDED))]

    def backward_MaxPool(self, flow, values, _):
        return [self.sent_to_first_maximum(flow, values[0])]

    def forward_AveragePool(self, x):
        padded, taps, _ = self.windows(x, self.get("kernel_shape"), 0.0)
        counts = self.counts(x)
        return sum(padded[:, :, *place] for place in taps.values()) / counts

    def counts(self, x):
        if self.get("count_include_pad", 0):
            return np.prod(self.get("kernel_shape"))
        padded, taps, _ = self.windows(np.ones_like(x), self.get("kernel_shape"), 0.0)
        return sum(padded[:, :, *place] for place in taps.values())

    def backward_AveragePool(self, flow, values, _):
        padded, taps, _ = self.windows(np.zeros_like(values[0]), self.get("kernel_shape"), 0.0)
        for place in taps.values():
            padded[:, :, *place] += flow / self.counts(values[0])
        return [self.unpadded(padded)]

    def forward_GlobalAveragePool(self, x):
        return x.mean((2, 3), keepdims=True)

    def backward_GlobalAveragePool(self, flow, values, _):
        shape = values[0].shape
        return [np.broadcast_to(flow / (shape[2] * shape[3]), shape)]

    # Sums and products.

    def forward_Gemm(self, x, w, b=None):
        y = x @ (w.T if self.get("transB", 0) else w)
        return y if b is None else y + b

    def backward_Gemm(self, flow, values, _):
        return [flow @ (values[1] if self.get("transB", 0) else values[1].T)]

    def forward_BatchNormalization(self, x, scale, bias, mean, variance):
        shape = (1, -1) + (1,) * (x.ndim - 2)
        factor = scale / np.sqrt(variance + self.get("epsilon", 1e-5))
        return (x - mean.reshape(shape)) * factor.reshape(shape) + bias.reshape(shape)

    def backward_BatchNormalization(self, flow, values, _):
        factor = values[1] / np.sqrt(values[4] + self.get("epsilon", 1e-5))
        return [flow * factor.reshape((1, -1) + (1,) * (flow.ndim - 2))]

    def forward_Add(self, a, b):
        return a + b

    def backward_Add(self, flow, values, _):
        return [flow if value.shape == flow.shape else None for value in values]

    def forward_Relu(self, x):
        return np.maximum(x, 0)

    def backward_Relu(self, flow, values, _):
        return [np.where(values[0] > 0, flow, 0)]

    # What moves values.

    def forward_Flatten(self, x):
        return x.reshape(int(np.prod(x.shape[: self.get("axis", 1)])), -1)

    def forward_Reshape(self, x, shape):
        return x.reshape([x.shape[i] if d == 0 else int(d) for i, d in enumerate(shape)])

    def backward_Flatten(self, flow, values, _):
        return [flow.reshape(values[0].shape)]

    backward_Reshape = backward_Flatten

    def forward_ReduceMean(self, x, axes=None):
        return x.mean(self.axes(axes), keepdims=bool(self.get("keepdims", 1)))

    def axes(self, axes):
        return tuple(int(a) for a in (self.get("axes") if axes is None else axes))

    def backward_ReduceMean(self, flow, values, _):
        axes = self.axes(values[1] if len(values) > 1 else None)
        shape = [1 if a in [b % values[0].ndim for b in axes] else n for a, n in enumerate(values[0].shape)]
        count = np.prod([values[0].shape[a] for a in axes])
        return [np.broadcast_to(flow.reshape(shape) / count, values[0].shape)]

    def forward_Slice(self, x, *arguments):
        return x[self.part(x, arguments)]

    def part(self, x, arguments):
        starts, ends, axes, *steps = arguments
        index = [slice(None)] * x.ndim
        for at, axis in enumerate(axes):
            index[int(axis)] = slice(int(starts[at]), int(ends[at]), int(steps[0][at]) if steps else 1)
        return tuple(index)

    def backward_Slice(self, flow, values, _):
        result = np.zeros_like(values[0])
        result[self.part(result, values[1:])] = flow
        return [result]

    def forward_Pad(self, x, pads, value=None):
        return np.pad(x, list(zip(pads[: x.ndim], pads[x.ndim :])), constant_values=0 if value is None else float(value))

    def backward_Pad(self, flow, values, _):
        pads, rank = values[1], flow.ndim
        return [flow[tuple(slice(int(pads[a]), flow.shape[a] - int(pads[rank + a])) for a in range(rank))]]


class Network:
    """The nodes of an ONNX file, in their order."""

    def __init__(self, path):
        graph = onnx.load(path).graph
        self.constants = {t.name: self.wide(numpy_helper.to_array(t)) for t in graph.initializer}
        self.input = next(i.name for i in graph.input if i.name not in self.constants)
        self.output, self.nodes = graph.output[0].name, []
        self.protos = list(graph.node)

    @staticmethod
    def wide(array):
        return array.astype(np.float64) if array.dtype == np.float32 else array

    def run(self, x):
        """All values by name."""
        values = {self.input: x}
        self.nodes = []
        for proto in self.protos:
            if proto.op_type == "Constant":
                self.constants[proto.output[0]] = self.wide(numpy_helper.to_array(proto.attribute[0].t))
                continue
            node = Node(proto)
            self.nodes.append(node)
            values[node.output] = node.forward([self.value(name, values) for name in node.inputs if name])
        return values

    def value(self, name, values):
        return values[name] if name in values else self.constants[name]

    def flow(self, values, targets, rule, reference=None):
        """What flows back to the input from the targets' logits, `rule` deciding at every node."""
        logits = values[self.output]
        flows = {self.output: np.eye(logits.shape[1])[targets]}
        for node in reversed(self.nodes):
            if node.output not in flows:
                continue
            inputs = [self.value(name, values) for name in node.inputs if name]
            other = reference and [self.value(name, reference) for name in node.inputs if name]
            parts = rule(node, flows.pop(node.output), inputs, values[node.output],
                         other, reference and reference[node.output])
            for name, part in zip([n for n in node.inputs if n in values], parts):
                if part is not None:
                    flows[name] = flows.get(name, 0) + part
        return flows[self.input]


def derivative(node, flow, inputs, output, *_):
    return node.backward(flow, inputs, output)


def guided(node, flow, inputs, output, *_):
    parts = node.backward(flow, inputs, output)
    return [np.maximum(parts[0], 0)] if node.kind == "Relu" else parts


def deconvolved(node, flow, inputs, output, *_):
    return [np.maximum(flow, 0)] if node.kind == "Relu" else node.backward(flow, inputs, output)


def rescaled(node, flow, inputs, output, other_inputs, other_output):
    parts = node.backward(flow, inputs, output)
    if node.kind not in ("Relu", "MaxPool"):
        return parts
    difference = inputs[0] - other_inputs[0]
    if node.kind == "Relu":
        moved = flow * (output - other_output)
    else:
        larger = np.maximum(output, other_output)
        moved = node.sent_to_first_maximum(flow * (larger - other_output), inputs[0])
        moved = moved + Node(node.proto).sent_to_first_maximum(flow * (output - larger), other_inputs[0])
    is_small = np.abs(difference) < SMALLEST_DIFFERENCE
    return [np.where(is_small, parts[0], moved / np.where(is_small, 1, difference))]


RULES = {
    "saliency": derivative, "input-x-gradient": derivative, "guided-backprop": guided, "deconvolution": deconvolved,
    "deep-lift": rescaled}


def attribution(network, method, inputs, targets, values, reference):
    flow = network.flow(values, targets, RULES[method], reference)
    if method == "saliency":
        return np.abs(flow)
    return inputs * flow if method in ("input-x-gradient", "deep-lift") else flow


def main():
    job = json.load(open(sys.argv[1]))
    inputs, targets = np.load(job["input"]).astype(np.float64), job["targets"]
    network = Network(job["model"])
    reference = network.run(np.zeros_like(inputs))
    values = network.run(inputs)
    results = {"logits": values[network.output]}
    for method in [m["method"] for m in job["methods"] if m["method"] in RULES]:
        results[method] = attribution(network, method, inputs, targets, values, reference)
        choices = []
        for node in network.nodes:
            for window in node.undecided(values[node.inputs[0]]) if node.kind == "MaxPool" else []:
                node.other = window
                choices.append(attribution(network, method, inputs, targets, values, reference) - results[method])
                node.other = None
        results[f"{method}.choices"] = np.array(choices).reshape(-1, *inputs.shape)
    np.savez(sys.argv[2], **results)


if __name__ == "__main__":
    main()
