"""Writes Tests/Goldens/ONNX/forms.npz: a small model for each form of an operator, with onnxruntime's outputs.

Every operator whose form changed between the operator sets 7 and 22 is here once per form (attributes that became
inputs, new attributes, changed defaults). Each case has the arrays CASE/model (the bytes of the ONNX file), CASE/inputN
and CASE/outputN. Seeded: equal versions give equal files.

    python Tools/peers/make_onnx_goldens.py
"""

import pathlib

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

TARGET = pathlib.Path(__file__).resolve().parents[2] / "Tests" / "Goldens" / "ONNX" / "forms.npz"
GENERATOR = numpy.random.default_rng(20)
IR_VERSIONS = {7: 3, 8: 3, 9: 4, 10: 5, 11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9}


def image(*shape):
    return GENERATOR.standard_normal(shape or (2, 4, 5, 4)).astype(numpy.float32)


def positive(*shape):
    return numpy.abs(image(*shape)) + 0.5


def integers(*values):
    return numpy.array(values, dtype=numpy.int64)


def floats(*values):
    return numpy.array(values, dtype=numpy.float32)


def scalar(value):
    return numpy.array(value, dtype=numpy.float32)


def case(opset, operator, data, parameters=(), outputs=1, label="", **attributes):
    """data: the inputs; parameters: further inputs that are stored in the file (None: left out)."""
    return opset, operator, list(data), list(parameters), outputs, label, attributes


def cases():
    for opset in (7, 9, 10, 11, 13, 14):
        yield case(opset, "Add", [image(), image(4, 1, 1)])
    for opset in (7, 11, 12, 13):
        last = {"select_last_index": 1} if opset >= 12 else {}
        tied = numpy.round(image())
        yield case(opset, "ArgMax", [tied], axis=1, keepdims=0, **last)
        yield case(opset, "ArgMin", [tied], axis=-1 if opset >= 11 else 3, **last)
    for opset in (7, 10, 11, 19):
        window = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}
        yield case(opset, "AveragePool", [image()], label="excluding", **window)
        yield case(opset, "AveragePool", [image()], label="including", count_include_pad=1, **window)
        if opset >= 10:
            yield case(opset, "AveragePool", [image()], label="ceil", ceil_mode=1, **window)
        if opset >= 19:
            yield case(opset, "AveragePool", [image()], label="dilated", dilations=[2, 1], **window)
    for opset in (7, 9, 14, 15):
        parameters = [image(4), image(4), image(4), positive(4)]
        yield case(opset, "BatchNormalization", [image()], parameters, epsilon=1e-3)
    for opset in (7, 9, 13, 19):
        extra = {"saturate": 1} if opset >= 19 else {}
        yield case(opset, "Cast", [image() * 3], label="integer", to=TensorProto.INT64, **extra)
        yield case(opset, "Cast", [image()], label="half", to=TensorProto.FLOAT16)
    yield case(7, "Clip", [image()], min=-0.5, max=0.75)
    yield case(7, "Clip", [image()], label="default")
    for opset in (11, 12, 13):
        yield case(opset, "Clip", [image()], [scalar(-0.5), scalar(0.75)])
        yield case(opset, "Clip", [image()], [None, scalar(0.25)], label="upper")
    yield case(12, "Clip", [integers(-5, 0, 3, 9)], [numpy.int64(-1), numpy.int64(4)], label="integers")
    for opset in (7, 11, 13):
        yield case(opset, "Concat", [image(), image()], axis=-1 if opset >= 11 else 3)
        yield case(opset, "Conv", [image()], [image(6, 2, 3, 3), image(6)], group=2, auto_pad="SAME_LOWER", strides=[2, 2])
        yield case(opset, "Conv", [image()], [image(6, 4, 3, 2)], label="padded", pads=[1, 0, 2, 1], dilations=[2, 1])
        yield case(
            opset, "ConvTranspose", [image()], [image(4, 3, 3, 3), image(3)], strides=[2, 3], pads=[1, 0, 0, 1],
            output_padding=[1, 1])
        yield case(opset, "ConvTranspose", [image()], [image(4, 3, 3, 3)], label="shape", strides=[2, 2], output_shape=[12, 10])
        yield case(
            opset, "ConvTranspose", [image()], [image(4, 2, 3, 3)], label="groups", strides=[2, 2], group=2,
            auto_pad="SAME_UPPER")
    yield case(9, "Constant", [], label="tensor", value=numpy_helper.from_array(image(2, 3)))
    yield case(12, "Constant", [], label="float", value_float=1.5)
    yield case(12, "Constant", [], label="floats", value_floats=[1.5, -2.0])
    yield case(12, "Constant", [], label="int", value_int=7)
    yield case(12, "Constant", [], label="ints", value_ints=[7, -8])
    yield case(9, "ConstantOfShape", [], [integers(2, 3)], value=numpy_helper.from_array(floats(2.5)))
    yield case(9, "ConstantOfShape", [], [integers(2, 3)], label="default")
    for opset in (7, 11, 13):
        yield case(opset, "DepthToSpace", [image()], blocksize=2)
        if opset >= 11:
            yield case(opset, "DepthToSpace", [image()], label="crd", blocksize=2, mode="CRD")
        yield case(opset, "SpaceToDepth", [image(2, 3, 4, 6)], blocksize=2)
    yield case(7, "Dropout", [image()], ratio=0.3)
    yield case(10, "Dropout", [image()], ratio=0.3)
    for opset in (12, 13):
        yield case(opset, "Dropout", [image()], [scalar(0.3)], outputs=2)
        yield case(opset, "Dropout", [image()], [scalar(0.3), numpy.array(False)], label="mode")
    for opset in (7, 11, 13):
        yield case(opset, "Equal", [integers(1, 2, 3), integers(1, 5, 3)])
    for opset in (7, 9, 13):
        yield case(opset, "Less", [image(), image(4)])
        yield case(opset, "Greater", [image(), image(4)])
    for opset in (8, 13):
        yield case(opset, "Expand", [image(3, 1)], [integers(2, 1, 4)])
    for opset in (7, 9, 11, 13):
        yield case(opset, "Flatten", [image()], axis=-2 if opset >= 11 else 2)
        yield case(opset, "Flatten", [image()], label="zero", axis=0)
    for opset in (7, 11, 13):
        yield case(opset, "Gather", [image()], [integers(2, 0, 2)], axis=-3 if opset >= 11 else 1)
    for opset in (7, 9, 11, 13):
        yield case(opset, "Gemm", [image(3, 4)], [image(4, 5), image(5)], alpha=0.5, beta=2.0)
        yield case(opset, "Gemm", [image(4, 3)], [image(5, 4), image(3, 1)], label="transposed", transA=1, transB=1)
    yield case(11, "Gemm", [image(3, 4)], [image(4, 5)], label="plain")
    for opset in (7, 16):
        yield case(opset, "LeakyRelu", [image()], alpha=0.2)
    for opset in (7, 9, 16):
        yield case(opset, "PRelu", [image()], [image(4, 1, 1)])
    for opset in (7, 11, 13):
        for operator in ("Softmax", "LogSoftmax"):
            yield case(opset, operator, [image()], label="default")
            yield case(opset, operator, [image()], label="axis", axis=2)
    for opset in (7, 13):
        yield case(opset, "LRN", [image(2, 7, 3, 3)], size=5, alpha=0.3, beta=0.6, bias=1.5)
    for opset in (7, 11, 18):
        yield case(opset, "LpPool", [image()], kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 0, 1], p=3)
    for opset in (7, 9, 13):
        yield case(opset, "MatMul", [image(2, 3, 4, 5)], [image(3, 5, 2)])
    for opset in (7, 8, 12, 13):
        for operator in ("Max", "Min", "Sum", "Mean"):
            shapes = [(2, 3), (2, 3), (2, 3)] if opset == 7 else [(2, 3), (3,), (1, 1)]
            yield case(opset, operator, [image(*shape) for shape in shapes])
        yield case(opset, "Max", [image(2, 3)], label="one")
    yield case(12, "Max", [integers(1, 5), integers(3, 2)], label="integers")
    for opset in (7, 8, 10, 11, 12):
        window = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}
        yield case(opset, "MaxPool", [image()], **window)
        yield case(opset, "MaxPool", [image()], label="same", kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_UPPER")
        if opset >= 10:
            yield case(opset, "MaxPool", [image()], label="ceil", ceil_mode=1, **window)
            yield case(opset, "MaxPool", [image()], label="dilated", dilations=[2, 2], **window)
    yield case(7, "Pad", [image(2, 3, 4)], pads=[0, 1, 2, 0, 0, -1], value=1.5)
    yield case(7, "Pad", [image(2, 3, 4)], label="reflect", pads=[0, 1, 2, 0, 0, 3], mode="reflect")
    yield case(7, "Pad", [image(2, 3, 4)], label="edge", pads=[0, 1, 2, 0, 2, 1], mode="edge")
    for opset in (11, 13, 18, 19):
        yield case(opset, "Pad", [image(2, 3, 4)], [integers(0, 1, 2, 0, 0, -1), scalar(1.5)])
        yield case(opset, "Pad", [image(2, 3, 4)], [integers(0, 1, 2, 0, 0, 3)], label="reflect", mode="reflect")
    yield case(18, "Pad", [image(2, 3, 4)], [integers(1, 2), scalar(0), integers(-1)], label="axes")
    yield case(19, "Pad", [image(2, 3, 4)], [integers(0, 1, 2, 0, 0, 3)], label="wrap", mode="wrap")
    for opset in (7, 12, 13, 15):
        yield case(opset, "Pow", [positive(2, 3)], [image(3)])
    yield case(12, "Pow", [positive(2, 3)], [integers(1, 2, 3)], label="integer")
    for opset in (7, 11, 13, 18):
        for operator in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
                         "ReduceSumSquare", "ReduceLogSumExp"):
            isInput = opset >= (13 if operator == "ReduceSum" else 18)
            axes = [1, -1] if opset >= 11 else [1, 3]
            if isInput:
                yield case(opset, operator, [image()], [integers(*axes)], keepdims=0)
            else:
                yield case(opset, operator, [image()], axes=axes, keepdims=0)
            yield case(opset, operator, [image()], label="all")
    yield case(13, "ReduceSum", [image()], label="none", noop_with_empty_axes=1)
    for opset in (7, 13, 14):
        yield case(opset, "Reshape", [image()], [integers(0, -1, 4)])
    yield case(14, "Reshape", [image(0, 3)], [integers(3, 0)], label="zero", allowzero=1)
    yield case(7, "Upsample", [image()], mode="nearest", scales=[1.0, 1.0, 2.0, 3.0])
    yield case(7, "Upsample", [image()], label="linear", mode="linear", scales=[1.0, 1.0, 2.0, 1.5])
    for opset, operator in ((9, "Upsample"), (10, "Resize")):
        yield case(opset, operator, [image()], [floats(1, 1, 2, 3)], mode="nearest")
        yield case(opset, operator, [image()], [floats(1, 1, 1.5, 2.5)], label="fraction", mode="nearest")
        yield case(opset, operator, [image()], [floats(1, 1, 2, 1.5)], label="linear", mode="linear")
    yield case(10, "Resize", [image(1, 1, 7, 8)], [floats(1, 1, 0.6, 0.4)], label="smaller", mode="nearest")
    for opset in (11, 13, 18, 19):
        modes = ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"]
        for mode in modes + (["half_pixel_symmetric"] if opset >= 19 else []):
            sizes = [floats(), floats(), integers(2, 4, 9, 3)]
            yield case(
                opset, "Resize", [image()], sizes, label=f"linear_{mode}", mode="linear", coordinate_transformation_mode=mode)
            yield case(
                opset, "Resize", [image()], sizes, label=f"nearest_{mode}", mode="nearest", nearest_mode="floor",
                coordinate_transformation_mode=mode)
        for mode in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
            yield case(
                opset, "Resize", [image()], [floats(), floats(1, 1, 1.7, 0.6)], label=mode, mode="nearest", nearest_mode=mode)
    yield case(18, "Resize", [image()], [None, floats(2, 0.8)], label="axes", mode="linear", axes=[2, 3])
    yield case(
        18, "Resize", [image()], [None, None, integers(9, 3)], label="not_larger", mode="linear", axes=[2, 3],
        keep_aspect_ratio_policy="not_larger")
    for opset in (7, 13, 15):
        extra = {"start": 1, "end": -1} if opset >= 15 else {}
        yield case(opset, "Shape", [image()], **extra)
    yield case(7, "Slice", [image()], starts=[1, -4], ends=[3, 1000], axes=[1, 2])
    yield case(7, "Slice", [image()], label="leading", starts=[1, 0], ends=[2, -1])
    for opset in (10, 11, 13):
        yield case(opset, "Slice", [image()], [integers(1, -4), integers(3, 1000), integers(1, 2)])
        yield case(
            opset, "Slice", [image()], [integers(-1, 0), integers(-(2**40), 4), integers(2, -1 if opset >= 11 else 3),
                                        integers(-2, 2)], label="steps")
    for opset in (7, 11):
        yield case(opset, "Split", [image()], outputs=2, axis=1, split=[1, 3])
        yield case(opset, "Split", [image()], label="even", outputs=2, axis=1)
    for opset in (13, 18):
        yield case(opset, "Split", [image()], [integers(1, 3)], outputs=2, axis=1)
    yield case(13, "Split", [image()], label="even", outputs=2, axis=1)
    yield case(18, "Split", [image()], label="count", outputs=2, axis=1, num_outputs=2)
    for opset in (7, 11):
        yield case(opset, "Squeeze", [image(2, 1, 3, 1)], axes=[1, 3] if opset < 11 else [1, -1])
        yield case(opset, "Squeeze", [image(2, 1, 3, 1)], label="all")
        yield case(opset, "Unsqueeze", [image(2, 3)], axes=[0, 3] if opset < 11 else [0, -1])
    yield case(13, "Squeeze", [image(2, 1, 3, 1)], [integers(1, -1)])
    yield case(13, "Unsqueeze", [image(2, 3)], [integers(0, -1)])
    for opset in (7, 13):
        yield case(opset, "Tile", [image(2, 3)], [integers(2, 3)])
        yield case(opset, "Transpose", [image()], perm=[0, 2, 3, 1])
    for opset in (9, 16):
        yield case(opset, "Where", [image(2, 3) > 0, image(2, 3), image(3)])
    yield case(10, "Mod", [integers(-7, 7, 5)], [integers(3, -3, 4)])
    for opset in (7, 22):
        yield case(opset, "InstanceNormalization", [image()], [image(4), image(4)], epsilon=1e-3)
        yield case(opset, "Elu", [image()], alpha=0.7)
        yield case(opset, "Selu", [image()])
        yield case(opset, "HardSigmoid", [image()], alpha=0.3)
        yield case(opset, "Softplus", [image()])
        yield case(opset, "GlobalAveragePool", [image()])
        yield case(opset, "GlobalMaxPool", [image()])
        yield case(opset, "GlobalLpPool", [image()], p=3)
    yield case(17, "LayerNormalization", [image()], [image(4), image(4)], axis=-1)
    yield case(18, "GroupNormalization", [image()], [image(2), image(2)], num_groups=2)
    yield case(21, "GroupNormalization", [image()], [image(4), image(4)], num_groups=2)


def build(opset, operator, data, parameters, outputs, attributes):
    names = [f"input{index}" for index in range(len(data))]
    stored = []
    listed = list(names)
    for index, value in enumerate(parameters):
        listed.append("" if value is None else f"parameter{index}")
        if value is not None:
            stored.append(numpy_helper.from_array(numpy.asarray(value), listed[-1]))
    results = [f"output{index}" for index in range(outputs)]
    node = helper.make_node(operator, listed, results, name="node", **attributes)
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in zip(names, data)
    ]
    # Before version 4 of the representation every initialiser is an input too.
    ir_version = IR_VERSIONS.get(opset, 10)
    if ir_version < 4:
        inputs += [helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in stored]
    graph = helper.make_graph(
        [node], operator, inputs, [helper.make_empty_tensor_value_info(name) for name in results], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    return onnx.shape_inference.infer_shapes(model, strict_mode=False), names


def main():
    arrays, written, refused = {}, 0, []
    for opset, operator, data, parameters, outputs, label, attributes in cases():
        name = f"{operator.lower()}_{opset}" + (f"_{label}" if label else "")
        model, names = build(opset, operator, data, parameters, outputs, attributes)
        try:
            session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
            results = session.run(None, dict(zip(names, data)))
        except Exception as error:  # onnxruntime lacks this form: there is nothing to compare with
            refused.append(f"{name}: {str(error).splitlines()[0][:120]}")
            continue
        # Exact output types, where inference left them open.
        del model.graph.output[:]
        model.graph.output.extend(
            helper.make_tensor_value_info(f"output{index}", helper.np_dtype_to_tensor_dtype(result.dtype), result.shape)
            for index, result in enumerate(results))
        assert f"{name}/model" not in arrays, name
        arrays[f"{name}/model"] = numpy.frombuffer(model.SerializeToString(), dtype=numpy.uint8)
        for kind, values in (("input", data), ("output", results)):
            for index, value in enumerate(values):
                arrays[f"{name}/{kind}{index}"] = numpy.asarray(value)
        written += 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    numpy.savez(TARGET, **arrays)
    print(f"{written} cases written to {TARGET}")
    for line in refused:
        print(f"left out, onnxruntime {onnxruntime.__version__} cannot run it: {line}")


if __name__ == "__main__":
    main()
