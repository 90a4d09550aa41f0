"""An ONNX convolutional network as a PyTorch module with frozen weights.

The graph is specialised for one input shape: whatever depends on shapes and constants alone is evaluated once, with
ONNX's own reference evaluator, so that a step runs nothing but PyTorch's kernels.
"""

import math

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator


class Unsupported(Exception):
    """An operator, or a form of it, that this converter does not know."""


class Node:
    """One ONNX node with decoded attributes; `constants` holds its inputs as arrays, None where it is computed."""

    def __init__(self, proto, constants):
        self.proto = proto
        self.kind = proto.op_type
        self.attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
        self.constants = constants

    def get(self, name, default=None):
        return self.attributes.get(name, default)

    def constant(self, index, attribute=None):
        """Input `index`, which must be known, or the attribute that held it in older opsets."""
        if index < len(self.constants):
            if self.constants[index] is not None:
                return self.constants[index]
            if self.proto.input[index]:
                raise Unsupported(f"{self.kind} {self.proto.output[0]}: input {index} must be constant")
        value = self.get(attribute) if attribute else None
        return None if value is None else np.asarray(value)

    def optional_scalar(self, index, attribute):
        value = self.constant(index, attribute)
        return None if value is None else float(np.asarray(value).item())

    def integers(self, index, attribute):
        value = self.constant(index, attribute)
        return None if value is None else [int(v) for v in np.atleast_1d(value)]

    def spatial_pads(self, rank):
        if self.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            raise Unsupported(f"{self.kind} {self.proto.output[0]}: auto_pad {self.get('auto_pad').decode()}")
        pads = self.get("pads", [0] * (2 * rank))
        return list(pads[:rank]), list(pads[rank:])


def torch_pads(begin, end):
    """ONNX's (begin..., end...) as F.pad wants it: the last axis first."""
    return [p for pair in zip(reversed(begin), reversed(end)) for p in pair]


def padded(node, rank, value):
    """The symmetric padding an operator takes itself, and a function that does what is left with F.pad."""
    begin, end = node.spatial_pads(rank)
    if begin == end:
        return begin, lambda x: x
    return [0] * rank, lambda x: F.pad(x, torch_pads(begin, end), value=value)


def convolution(node):
    weight = node.constant(1)
    rank = weight.ndim - 2
    padding, pad = padded(node, rank, 0.0)
    stride = node.get("strides", [1] * rank)
    dilation = node.get("dilations", [1] * rank)
    groups = node.get("group", 1)
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[rank]
    return lambda x, w, b=None: function(pad(x), w, b, stride, padding, dilation, groups)


def batch_normalization(node):
    epsilon = node.get("epsilon", 1e-5)
    return lambda x, scale, bias, mean, variance: F.batch_norm(x, mean, variance, scale, bias, eps=epsilon)


def gemm(node):
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    transpose_a, transpose_b = node.get("transA", 0), node.get("transB", 0)

    def run(a, b, c=None):
        a = a.t() if transpose_a else a
        if alpha == 1.0 and beta == 1.0:
            return F.linear(a, b if transpose_b else b.t(), c)
        y = alpha * (a @ (b.t() if transpose_b else b))
        return y if c is None else y + beta * c

    return run


def max_pool(node):
    kernel = node.get("kernel_shape")
    padding, pad = padded(node, len(kernel), float("-inf"))
    stride, dilation = node.get("strides", [1] * len(kernel)), node.get("dilations", [1] * len(kernel))
    ceil = bool(node.get("ceil_mode", 0))
    return lambda x: F.max_pool2d(pad(x), kernel, stride, padding, dilation, ceil)


def average_pool(node):
    kernel = node.get("kernel_shape")
    begin, end = node.spatial_pads(len(kernel))
    include = bool(node.get("count_include_pad", 0))
    if begin != end and not include:
        raise Unsupported(f"AveragePool {node.proto.output[0]}: uneven pads that are not counted")
    padding, pad = padded(node, len(kernel), 0.0)
    stride, ceil = node.get("strides", [1] * len(kernel)), bool(node.get("ceil_mode", 0))
    return lambda x: F.avg_pool2d(pad(x), kernel, stride, padding, ceil, include)


def reduce_mean(node):
    axes, keep = node.integers(1, "axes"), bool(node.get("keepdims", 1))
    return lambda x, *_: x.mean(tuple(axes) if axes else tuple(range(x.ndim)), keep)


def clip(node):
    low, high = node.optional_scalar(1, "min"), node.optional_scalar(2, "max")
    return lambda x, *_: torch.clamp(x, low, high)


def flatten(node):
    axis = node.get("axis", 1)

    def run(x):
        at = axis % (x.ndim + 1)
        return x.reshape(math.prod(x.shape[:at]), -1)

    return run


def reshape(node):
    shape = node.integers(1, "shape")

    def run(x, *_):
        return x.reshape([x.shape[i] if d == 0 and not node.get("allowzero", 0) else d for i, d in enumerate(shape)])

    return run


def slice_(node):
    starts, ends = node.integers(1, "starts"), node.integers(2, "ends")
    axes = node.integers(3, "axes") or list(range(len(starts)))
    steps = node.integers(4, None) or [1] * len(starts)
    if any(s < 1 for s in steps):
        raise Unsupported(f"Slice {node.proto.output[0]}: negative steps")

    def run(x, *_):
        index = [slice(None)] * x.ndim
        for axis, start, end, step in zip(axes, starts, ends, steps):
            index[axis] = slice(start, min(end, x.shape[axis]), step)
        return x[tuple(index)]

    return run


def pad(node):
    if node.get("mode", b"constant") != b"constant":
        raise Unsupported(f"Pad {node.proto.output[0]}: mode {node.get('mode').decode()}")
    pads, axes = node.integers(1, "pads"), node.integers(3, None)
    value = node.optional_scalar(2, "value") or 0.0

    def run(x, *_):
        begin, end = [0] * x.ndim, [0] * x.ndim
        for i, axis in enumerate(axes or range(x.ndim)):
            begin[axis], end[axis] = pads[i], pads[i + len(pads) // 2]
        return F.pad(x, torch_pads(begin, end), value=value)

    return run


def softmax(function):
    def make(node):
        return lambda x: function(x, dim=node.get("axis", -1))

    return make


def split(node):
    axis, sizes = node.get("axis", 0), node.integers(1, "split")
    parts = len(node.proto.output)
    return lambda x, *_: x.split(sizes or -(-x.shape[axis] // parts), axis)


def squeeze(node):
    axes = node.integers(1, "axes")
    return lambda x, *_: x.squeeze(axes) if axes else x.squeeze()


def unsqueeze(node):
    axes = node.integers(1, "axes")

    def run(x, *_):
        for axis in sorted(a % (x.ndim + len(axes)) for a in axes):
            x = x.unsqueeze(axis)
        return x

    return run


def plain(function):
    return lambda node: function


OPERATORS = {
    "Add": plain(torch.add),
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Clip": clip,
    "Concat": lambda node: lambda *xs: torch.cat(xs, node.get("axis")),
    "Conv": convolution,
    "Div": plain(torch.div),
    "Dropout": plain(lambda x, *_: x),
    "Flatten": flatten,
    "Gemm": gemm,
    "GlobalAveragePool": plain(lambda x: x.mean(tuple(range(2, x.ndim)), True)),
    "HardSigmoid": lambda node: (
        lambda x: torch.clamp(x * node.get("alpha", 0.2) + node.get("beta", 0.5), 0.0, 1.0)),
    "HardSwish": plain(F.hardswish),
    "Identity": plain(lambda x: x),
    "LogSoftmax": softmax(F.log_softmax),
    "MatMul": plain(torch.matmul),
    "MaxPool": max_pool,
    "Mul": plain(torch.mul),
    "Pad": pad,
    "ReduceMean": reduce_mean,
    "Relu": plain(F.relu),
    "Reshape": reshape,
    "Sigmoid": plain(torch.sigmoid),
    "Slice": slice_,
    "Softmax": softmax(F.softmax),
    "Split": split,
    "Squeeze": squeeze,
    "Sub": plain(torch.sub),
    "Transpose": lambda node: lambda x: x.permute(node.get("perm", list(range(x.ndim))[::-1])),
    "Unsqueeze": unsqueeze,
}


class OnnxNetwork(torch.nn.Module):
    """The network of an ONNX file for inputs of one shape.

    `transforms` maps a value's name to a function applied to that value wherever it is read: a place for gates.
    """

    def __init__(self, path, batch):
        super().__init__()
        self.model = onnx.load(str(path))
        graph = self.model.graph
        known = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        inputs = [i for i in graph.input if i.name not in known]
        if len(inputs) != 1:
            raise Unsupported(f"{len(inputs)} inputs; networks of one input are supported")
        self.input_name, self.output_name = inputs[0].name, graph.output[0].name
        dimensions = inputs[0].type.tensor_type.shape.dim
        self.input_shape = [batch] + [d.dim_value for d in dimensions][1:]
        self.transforms = {}
        self.steps = []
        self.parameters_by_name = {}
        with torch.no_grad():
            self._specialise(known, {self.input_name: torch.zeros(self.input_shape)})
        self.dead_after = self._last_uses()

    def _specialise(self, known, values):
        opset = next(o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx"))
        for proto in self.model.graph.node:
            if proto.op_type == "Shape" and proto.input[0] in values:
                limits = slice(Node(proto, []).get("start", 0), Node(proto, []).get("end"))
                known[proto.output[0]] = np.array(values[proto.input[0]].shape, np.int64)[limits]
            elif not self._computed(proto, values):
                known |= evaluate(proto, known, opset)
            elif proto.op_type not in OPERATORS:
                raise Unsupported(f"operator {proto.op_type} ({proto.output[0]})")
            else:
                step = self._step(proto, known)
                self.steps.append(step)
                self._run_step(step, values)

    @staticmethod
    def _computed(proto, values):
        return any(name in values for name in proto.input)

    def _step(self, proto, known):
        node = Node(proto, [known.get(name) for name in proto.input])
        for name in proto.input:
            if name in known and name not in self.parameters_by_name and known[name].dtype == np.float32:
                tensor = torch.from_numpy(known[name].copy())
                if tensor.ndim == 4:
                    tensor = tensor.contiguous(memory_format=torch.channels_last)
                self.parameters_by_name[name] = tensor
        return OPERATORS[node.kind](node), list(proto.input), list(proto.output)

    def _last_uses(self):
        """For every step, the values that no later step reads; they are dropped to keep the peak of memory low."""
        last = {name: at for at, (_, inputs, _) in enumerate(self.steps) for name in inputs}
        last.pop(self.output_name, None)
        return [[n for n, at in last.items() if at == step] for step in range(len(self.steps))]

    def _run_step(self, step, values):
        function, inputs, outputs = step
        arguments = [values[n] if n in values else self.parameters_by_name.get(n) for n in inputs]
        while arguments and arguments[-1] is None:
            arguments.pop()
        results = function(*arguments)
        for name, result in zip(outputs, results if isinstance(results, (tuple, list)) else [results]):
            transform = self.transforms.get(name)
            values[name] = result if transform is None else transform(result)

    def forward(self, images):
        values = {self.input_name: images}
        for step, dead in zip(self.steps, self.dead_after):
            self._run_step(step, values)
            for name in dead:
                values.pop(name, None)
        return values[self.output_name]


def evaluate(proto, known, opset):
    """The outputs of a node all of whose inputs are known, by ONNX's reference evaluator."""
    names = [n for n in proto.input if n]
    graph = helper.make_graph(
        [proto], "node",
        [helper.make_value_info(n, helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(known[n].dtype), None))
         for n in names],
        [onnx.ValueInfoProto(name=n) for n in proto.output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    results = ReferenceEvaluator(model).run(None, {n: known[n] for n in names})
    return {name: np.asarray(value) for name, value in zip(proto.output, results)}
