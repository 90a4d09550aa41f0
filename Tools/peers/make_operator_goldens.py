"""Writes Tests/Goldens/Operators/*.json: what PyTorch, numpy and the ONNX project's own evaluator make of operators whose
formula is easy to get wrong.

A case is a problem's line (see Tests/TestSupport/Problem.swift), the operands and the results, all in double. Run it
with a Python that has torch, numpy and onnx; equal versions write equal files:

    .venv/bin/python Tools/peers/make_operator_goldens.py
"""

import json
import math
import pathlib
import re

import numpy as np
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

GOLDENS = pathlib.Path(__file__).resolve().parents[2] / "Tests" / "Goldens" / "Operators"
random = np.random.default_rng(20240607)


def data(*shape, positive=False):
    """Numbers with three decimals: short in the file, and without ties."""
    values = random.uniform(0.2, 2, shape) if positive else random.uniform(-2, 2, shape)
    return np.round(values, 3)


def f32(value):
    """The double that a parameter kept in single precision stands for."""
    return float(np.float32(value))


def tensor(array, gradient=False):
    return torch.tensor(array, dtype=torch.float64, requires_grad=gradient)


def numbers(line, name, default=None):
    """The integers of a word of the line."""
    found = re.search(rf"(?:^| ){name}(-?\d+(?:x-?\d+)*)(?: |$)", line)
    return [int(part) for part in found.group(1).split("x")] if found else default


def real(line, name, default):
    found = re.search(rf" {name}(-?[\d.]+)", line)
    return f32(float(found.group(1)) if found else default)


def every(values, count):
    return values * count if len(values) == 1 else values


class Family:
    """The cases of one file."""

    def __init__(self, name):
        self.name = name
        self.cases = []

    def add(self, line, inputs, *outputs):
        def flat(array):
            array = array.detach().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
            return [float(value) for value in array.reshape(-1)]

        self.cases.append(
            {"problem": line, "inputs": [flat(each) for each in inputs], "outputs": [flat(each) for each in outputs]})

    def write(self):
        GOLDENS.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in self.cases)
        (GOLDENS / f"{self.name}.json").write_text(f"[\n{lines}\n]\n")


def onnx_result(operator, inputs, opset=19, **attributes):
    """One ONNX operator by the ONNX project's evaluator."""
    names = [f"i{index}" if each is not None else "" for index, each in enumerate(inputs)]
    node = helper.make_node(operator, names, ["o"], **attributes)
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(each.dtype), each.shape)
        for name, each in zip(names, inputs) if each is not None
    ]
    graph = helper.make_graph([node], "g", values, [helper.make_tensor_value_info("o", TensorProto.DOUBLE, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    feeds = {name: each for name, each in zip(names, inputs) if each is not None}
    return ReferenceEvaluator(model).run(None, feeds)[0]


# Mixing channels


def image(line):
    spatial = numbers(line, "l") or numbers(line, "hw") or numbers(line, "dhw")
    return numbers(line, "n", [1]) + numbers(line, "c") + spatial


def paddings(line, rank):
    """Begins and ends of each spatial axis."""
    pads = numbers(line, "p", [0])
    if len(pads) == 2 * rank:
        return pads[:rank], pads[rank:]
    return every(pads, rank), every(pads, rank)


def torch_pads(begins, ends):
    """PyTorch lists the last axis first."""
    return [amount for pair in zip(reversed(begins), reversed(ends)) for amount in pair]


def convolutions():
    family = Family("convolution")
    for line in [
        "convolution n2 c5 hw7x9 m6 k3x3 s2x1 p1x0x2x1 d1 g1 bias",
        "convolution n1 c6 hw11x8 m9 k3x2 s1x2 p2x1x0x1 d2x1 g3",
        "convolution n1 c4 hw6x6 m4 k3x3 p2 d2 g4 bias",
        "convolution n1 c3 hw9x9 m2 k3x3 p-1x0x0x-2",
        "convolution n2 c4 l15 m6 k4 s3 p1x2 bias",
        "convolution n1 c2 dhw5x4x5 m3 k2x3x2 s1x2x1 p0x1x1 bias",
    ]:
        shape = image(line)
        rank = len(shape) - 2
        groups = numbers(line, "g", [1])[0]
        filters = numbers(line, "m")[0]
        x = data(*shape)
        w = data(filters, shape[1] // groups, *numbers(line, "k"))
        b = data(filters) if "bias" in line else None
        begins, ends = paddings(line, rank)
        padded = F.pad(tensor(x), torch_pads(begins, ends))
        convolution = [F.conv1d, F.conv2d, F.conv3d][rank - 1]
        y = convolution(
            padded, tensor(w), None if b is None else tensor(b), stride=tuple(every(numbers(line, "s", [1]), rank)),
            dilation=tuple(every(numbers(line, "d", [1]), rank)), groups=groups)
        family.add(line, [x, w] + ([b] if b is not None else []), y)
    for line in [
        "convolutionTranspose n2 c6 hw5x5 m4 k3x3 s2 p1 o1 bias",
        "convolutionTranspose n1 c6 hw5x4 m9 k3x2 s1x3 p1x0x0x1 d2x1 g3",
        "convolutionTranspose n1 c4 hw3x3 m4 k2x2 s2 g4 bias",
        "convolutionTranspose n2 c4 l7 m6 k3 s2 p0x1 o1",
        "convolutionTranspose n1 c2 dhw2x3x2 m3 k2 s2x1x2 bias",
    ]:
        shape = image(line)
        rank = len(shape) - 2
        groups = numbers(line, "g", [1])[0]
        filters = numbers(line, "m")[0]
        x = data(*shape)
        w = data(shape[1], filters // groups, *every(numbers(line, "k"), rank))
        b = data(filters) if "bias" in line else None
        begins, ends = paddings(line, rank)
        convolution = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d][rank - 1]
        y = convolution(
            tensor(x), tensor(w), stride=tuple(every(numbers(line, "s", [1]), rank)),
            dilation=tuple(every(numbers(line, "d", [1]), rank)), groups=groups)
        y = F.pad(y, torch_pads([0] * rank, every(numbers(line, "o", [0]), rank)))
        for axis in range(rank):
            y = y.narrow(axis + 2, begins[axis], y.shape[axis + 2] - begins[axis] - ends[axis])
        if b is not None:
            y = y + tensor(b).reshape([1, -1] + [1] * rank)
        family.add(line, [x, w] + ([b] if b is not None else []), y)
    a, b, c = data(7, 5), data(3, 7), data(1, 3)
    family.add(
        "gemm 7x5 3x7 1x3 transposeA transposeB alpha0.5 beta2", [a, b, c], 0.5 * (a.T @ b.T) + 2 * c)
    a, b = data(3, 1, 2, 4), data(5, 4, 3)
    family.add("matmul 3x1x2x4 5x4x3", [a, b], a @ b)
    a, b = data(2, 3, 4), data(4)
    family.add("matmul 2x3x4 4", [a, b], a @ b)
    a, b = data(4), data(2, 4, 3)
    family.add("matmul 4 2x4x3", [a, b], a @ b)
    family.write()


# Pools


def pools():
    family = Family("pool")
    for line in [
        "n1 c2 hw13x13 k3x3 s2 ceil maximum",
        "n1 c2 hw12x11 k3x3 s2 p1 ceil maximum",
        "n1 c2 hw9x8 k3x2 s1x2 p1x0x0x1 d2x1 maximum",
        "n2 c3 l11 k4 s3 p2x1 maximum",
        "n1 c2 dhw4x5x6 k2x3x2 s2 p0x1x1 maximum",
        "n1 c2 hw9x9 k3x3 s2 p1 average",
        "n1 c2 hw9x9 k3x3 s2 p1 averagePadded",
        "n1 c2 hw10x12 k3x3 s2 p1 ceil average",
        "n1 c2 hw10x12 k3x3 s2 p1 ceil averagePadded",
        "n1 c3 l12 k5 s4 p2 ceil averagePadded",
        "n2 c2 hw6x7 k3x2 s2 norm2",
        "n2 c2 hw6x6 k2x2 s2 norm3",
    ]:
        shape = image(line)
        rank = len(shape) - 2
        x = tensor(data(*shape), gradient=True)
        kernel = every(numbers(line, "k"), rank)
        stride = every(numbers(line, "s", [1]), rank)
        dilation = every(numbers(line, "d", [1]), rank)
        begins, ends = paddings(line, rank)
        if "maximum" in line:
            padded = x if begins == ends else F.pad(x, torch_pads(begins, ends), value=-math.inf)
            pool = [F.max_pool1d, F.max_pool2d, F.max_pool3d][rank - 1]
            y = pool(
                padded, kernel, stride, padding=begins if begins == ends else 0, dilation=dilation,
                ceil_mode="ceil" in line)
        elif "average" in line:
            pool = [F.avg_pool1d, F.avg_pool2d, F.avg_pool3d][rank - 1]
            y = pool(
                x, kernel, stride, padding=begins, ceil_mode="ceil" in line, count_include_pad="averagePadded" in line)
        else:
            p = numbers(line, "norm")[0]
            windows = F.unfold(x.abs() ** p, kernel, stride=stride).reshape(shape[0], shape[1], math.prod(kernel), -1)
            y = windows.sum(2) ** (1 / p)
        g = tensor(data(*y.shape)).reshape(y.shape)
        y.backward(g)
        family.add("pool " + line, [x], y)
        family.add("poolGradient " + line, [g, x, y], x.grad)
    # What PyTorch has no parameter for, by the ONNX project's evaluator.
    x = data(1, 2, 9, 7)
    family.add(
        "pool n1 c2 hw9x7 k2x3 s3x2 p0x1x1x2 averagePadded", [x],
        onnx_result(
            "AveragePool", [x], kernel_shape=[2, 3], strides=[3, 2], pads=[0, 1, 1, 2], count_include_pad=1))
    family.add(
        "pool n1 c2 hw9x7 k2x3 s3x2 p0x1x1x2 average", [x],
        onnx_result("AveragePool", [x], kernel_shape=[2, 3], strides=[3, 2], pads=[0, 1, 1, 2]))
    family.add(
        "pool n1 c2 hw9x7 k3x3 d2 p2 average", [x],
        onnx_result("AveragePool", [x], kernel_shape=[3, 3], dilations=[2, 2], pads=[2, 2, 2, 2]))
    family.write()


# Normalisation


def normalizations():
    family = Family("normalization")
    x = data(2, 5, 3, 4)
    scale, bias, mean, variance = data(5), data(5), data(5), data(5, positive=True)
    y = F.batch_norm(
        tensor(x), tensor(mean), tensor(variance), tensor(scale), tensor(bias), training=False, eps=f32(1e-3))
    family.add("batchNormalization 2x5x3x4 epsilon0.001", [x, scale, bias, mean, variance], y)
    y = F.instance_norm(tensor(x), weight=tensor(scale), bias=tensor(bias), eps=f32(1e-3))
    family.add("instanceNormalization 2x5x3x4 epsilon0.001", [x, scale, bias], y)
    for line in [
        "2x8x3x2 size5 alpha0.3", "2x3x6 size7 alpha0.1", "1x7x3x4 size3 alpha0.5 beta0.6 bias2",
        "1x7x3x4 size4 alpha0.5 beta0.6 bias2", "1x6x5 size2 alpha0.7",
    ]:
        shape = [int(part) for part in line.split()[0].split("x")]
        size = numbers(line, "size")[0]
        alpha, beta, constant = real(line, "alpha", 1e-4), real(line, "beta", 0.75), real(line, "bias", 1)
        x = tensor(data(*shape), gradient=True)
        if size % 2 == 1:
            y = F.local_response_norm(x, size, alpha, beta, constant)
        else:
            # ONNX puts the larger half of an even window behind the channel, PyTorch before it.
            squares = F.pad((x * x).movedim(1, -1), ((size - 1) // 2, size // 2)).unfold(-1, size, 1).sum(-1)
            y = x / (constant + alpha / size * squares.movedim(-1, 1)) ** beta
        g = tensor(data(*shape))
        y.backward(g)
        family.add("localResponseNormalization " + line, [x], y)
        family.add("localResponseNormalizationGradient " + line, [g, x, y], x.grad)
    x = data(2, 3, 4, 5)
    for axes in [[1], [3], [1, 3], [1, 2, 3]]:
        word = "axes" + "x".join(map(str, axes))
        shifted = np.exp(x - x.max(axis=tuple(axes), keepdims=True))
        y = shifted / shifted.sum(axis=tuple(axes), keepdims=True)
        family.add(f"softmax 2x3x4x5 {word}", [x], y)
        family.add(f"logSoftmax 2x3x4x5 {word}", [x], np.log(y))
    family.write()


# Element by element


def functions():
    family = Family("function")
    selu = (f32(1.673263), f32(1.050701))
    table = {
        "relu": torch.relu,
        "leakyRelu alpha0.2": lambda x: F.leaky_relu(x, f32(0.2)),
        "leakyRelu alpha-0.5": lambda x: F.leaky_relu(x, -0.5),
        "elu alpha0.7": lambda x: F.elu(x, f32(0.7)),
        "selu": lambda x: selu[1] * torch.where(x > 0, x, selu[0] * torch.expm1(x)),
        "sigmoid": torch.sigmoid,
        "hardSigmoid alpha0.25 beta0.4": lambda x: torch.clamp(0.25 * x + f32(0.4), 0, 1),
        "hardSwish": F.hardswish,
        "tanh": torch.tanh,
        "softplus": lambda x: F.softplus(x, threshold=1000),
        "erf": torch.erf,
        "gelu": F.gelu,
        "geluTanh": lambda x: F.gelu(x, approximate="tanh"),
        "clip minimum-1 maximum1.5": lambda x: torch.clamp(x, -1, 1.5),
        "squareRoot": torch.sqrt,
        "exponential": torch.exp,
        "logarithm": torch.log,
        "absolute": torch.abs,
        "reciprocal": torch.reciprocal,
        "floor": torch.floor,
        "ceiling": torch.ceil,
        "sign": torch.sign,
    }
    # The derivative is computed from the output.
    from_output = {"relu", "leakyRelu alpha0.2", "sigmoid", "tanh", "squareRoot", "exponential", "reciprocal"}
    # Kinks of the functions are among the points; so are numbers at which a careless formula overflows.
    points = np.array([-800, -30, -5, -3, -1.625, -1, -0.5, -1e-3, 0, 1e-3, 0.5, 1, 1.5, 2.5, 3, 5, 30, 700.0])
    positive = np.array([1e-6, 0.25, 0.5, 1, 1.5, 2, 3, 10, 1e6])
    for name, function in table.items():
        x = tensor(positive if name in {"squareRoot", "logarithm", "reciprocal"} else points, gradient=True)
        y = function(x)
        g = tensor(data(len(x)))
        y.backward(g)
        family.add(f"unary {len(x)} {name}", [x], y)
        family.add(f"unaryGradient {len(x)} {name}", [g, y if name in from_output else x], x.grad)
    left = np.array([7, -7, 7, -7, 6, -6, 0, 5], dtype=np.int64)
    right = np.array([3, 3, -3, -3, 3, -3, 4, 5], dtype=np.int64)
    family.add("binary int64 8 8 modulo", [left, right], np.mod(left, right))
    family.add("binary int64 8 8 divide", [left, right], np.array([2, -2, -2, 2, 2, 2, 0, 1]))
    x, y = data(3, 1, positive=True), data(4)
    family.add("binary 3x1 4 power", [x, y], np.power(x, y))
    slope, x = data(2, 1), data(3, 2, 4)
    family.add("binary 3x2x4 2x1 prelu", [x, slope], np.where(x < 0, slope * x, x))
    x = np.array([[1, 3, 3, -2], [0, 0, 0, 0], [-5, -6, -5, -6]], dtype=np.float64)
    for kind, operator in [("maximum", "ArgMax"), ("minimum", "ArgMin")]:
        for last in (0, 1):
            family.add(
                f"argReduce {kind} 3x4 axis1 keep{' last' if last else ''}", [x],
                onnx_result(operator, [x], axis=1, keepdims=1, select_last_index=last))
    parameter, gradients, mask = data(3, 4), [data(3, 4) for _ in range(4)], np.array([[1.0], [0.0], [1.0]])
    settings = dict(lr=f32(0.05), betas=(f32(0.9), f32(0.999)), eps=f32(1e-8))
    moving = torch.nn.Parameter(tensor(parameter))
    optimizer = torch.optim.Adam([moving], **settings)
    state = (np.zeros((3, 4)), np.zeros((3, 4)))
    for step, gradient in enumerate(gradients):
        before = moving.detach().numpy().copy()
        moving.grad = tensor(gradient)
        optimizer.step()
        after = optimizer.state[moving]
        moments = (after["exp_avg"].numpy().copy(), after["exp_avg_sq"].numpy().copy())

        def masked(new, old):
            return np.where(mask != 0, new, old)

        family.add(
            "adam 3x4 3x1 rate0.05", [before, gradient, *state, np.array(float(step)), mask],
            masked(moving.detach().numpy(), before), masked(moments[0], state[0]), masked(moments[1], state[1]),
            np.array(step + 1.0))
        state = moments
    family.write()


# Moving data


def movements():
    family = Family("movement")
    nearest = {
        "nearestPreferFloor": "round_prefer_floor", "nearestPreferCeil": "round_prefer_ceil", "nearestFloor": "floor",
        "nearestCeil": "ceil",
    }
    coordinates = {
        "halfPixel": "half_pixel", "halfPixelSymmetric": "half_pixel_symmetric",
        "pytorchHalfPixel": "pytorch_half_pixel", "alignCorners": "align_corners", "asymmetric": "asymmetric",
    }
    for place in coordinates:
        for mode in ["linear", *nearest]:
            for target in ["8x10", "3x7", "1x3"]:
                rows, columns = map(int, target.split("x"))
                x = data(1, 1, 5, 6)
                y = onnx_result(
                    "Resize", [x, None, None, np.array([1, 1, rows, columns], dtype=np.int64)],
                    mode="linear" if mode == "linear" else "nearest",
                    coordinate_transformation_mode=coordinates[place], **(
                        {} if mode == "linear" else {"nearest_mode": nearest[mode]}))
                family.add(f"resize 1x1x5x6 sizes1x1x{target} {mode} {place}", [x], y)
    # A scale that is not the ratio of the extents.
    for place in ["halfPixel", "halfPixelSymmetric", "asymmetric"]:
        x = data(1, 1, 5, 6)
        y = onnx_result(
            "Resize", [x, None, np.array([1, 1, 1.5, 0.75])], mode="linear",
            coordinate_transformation_mode=coordinates[place])
        family.add(f"resize 1x1x5x6 sizes1x1x7x4 scales1x1x1.5x0.75 linear {place}", [x], y)
    for line, mode, corners in [
        ("2x2x4x5 sizes2x2x8x10 linear halfPixel", "bilinear", False),
        ("1x2x7x5 sizes1x2x3x11 linear alignCorners", "bilinear", True),
        ("1x2x4x5 sizes1x2x7x9 nearestFloor asymmetric", "nearest", None),
        ("1x1x2x3x4 sizes1x1x4x5x6 linear halfPixel", "trilinear", False),
    ]:
        x = tensor(data(*[int(part) for part in line.split()[0].split("x")]), gradient=True)
        size = numbers(line, "sizes")[2:]
        y = F.interpolate(x, size=size, mode=mode, **({} if corners is None else {"align_corners": corners}))
        g = tensor(data(*y.shape))
        y.backward(g)
        family.add("resize " + line, [x], y)
        family.add("resizeGradient " + line, [g], x.grad)
    for mode, name in [("reflect", "reflect"), ("edge", "replicate"), ("wrap", "circular"), ("constant1.5", "constant")]:
        line = f"1x2x5x4 begins0x0x1x2 ends0x0x3x1 {mode}"
        x = tensor(data(1, 2, 5, 4), gradient=True)
        y = F.pad(x, torch_pads([1, 2], [3, 1]), mode=name, **({"value": 1.5} if name == "constant" else {}))
        g = tensor(data(*y.shape))
        y.backward(g)
        family.add("pad " + line, [x], y)
        family.add("padGradient " + line, [g], x.grad)
    x = data(5, 6)
    for mode, name in [("reflect", "reflect"), ("edge", "edge"), ("wrap", "wrap")]:
        cropped = np.pad(x[1:, :-2], [(0, 1), (2, 0)], mode=name)
        family.add(f"pad 5x6 begins-1x2 ends1x-2 {mode}", [x], cropped)
    family.add(
        "pad 5x6 begins-1x2 ends1x-2 constant-1", [x],
        np.pad(x[1:, :-2], [(0, 1), (2, 0)], mode="constant", constant_values=-1))
    x = tensor(data(3, 5, 4), gradient=True)
    indices = np.array([[0, -1], [4, 0]])
    y = x[:, indices]
    g = tensor(data(*y.shape))
    y.backward(g)
    family.add("gather 3x5x4 2x2 axis1", [x, indices], y)
    family.add("gatherGradient 3x5x4 2x2 axis1", [g, indices], x.grad)
    x = data(3, 4, 5)
    family.add("slice 3x4x5 starts2x0x4 sizes3x2x2 steps-1x2x-3", [x], x[::-1, ::2, ::-3])
    family.add("transpose 3x4x5 axes2x0x1", [x], x.transpose(2, 0, 1))
    family.write()


def gates():
    family = Family("gate")
    for line, axis, regions in [("6x5x3x2 regions3", 1, 3), ("4x3x5 axis2 regions2", 2, 2), ("4x7", 1, 1)]:
        shape = [int(part) for part in line.split()[0].split("x")]
        x = data(*shape)
        gate = tensor(data(regions, shape[axis], positive=True), gradient=True)
        spread = gate.repeat_interleave(shape[0] // regions, dim=0)
        view = [shape[0]] + [1] * (len(shape) - 1)
        view[axis] = shape[axis]
        y = tensor(x) * spread.reshape(view)
        g = tensor(data(*shape))
        y.backward(g)
        family.add("gate " + line, [x, gate], y)
        family.add("gateGradient " + line, [g, x, gate], gate.grad)
        family.add("gateGradientFromOutput " + line, [g, y, gate], gate.grad)
    family.write()


if __name__ == "__main__":
    for write in (convolutions, pools, normalizations, functions, movements, gates):
        write()
