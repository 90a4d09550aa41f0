"""Exports small PyTorch networks of our own, with seeded random weights, and what PyTorch computes on them.

    export_networks.py OUTDIR [--only NAME...] [--with-resnet50]

For each network OUTDIR/NAME holds its models (both torch.onnx exporters where they can), `input.npy`, `logits.npy`,
`cotangent.npy` and `input_gradient.npy` (of sum(logits * cotangent) with respect to the input). OUTDIR/manifest.json
lists them, with the exports that failed and why.
"""

import argparse
import copy
import json
import logging
import shutil
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import nn

CLASSES = 10


def conv_bn(inputs, outputs, kernel=3, stride=1, groups=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs))


class Classifier(nn.Module):
    """Features, global average, one linear layer."""

    def __init__(self, features, channels):
        super().__init__()
        self.features = features
        self.linear = nn.Linear(channels, CLASSES)

    def forward(self, x):
        return self.linear(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


class Residual(nn.Module):
    """relu(shortcut(x) + branch(x)); the shortcut is a projection where the shape changes."""

    def __init__(self, branch, shortcut=None):
        super().__init__()
        self.branch, self.shortcut = branch, shortcut or nn.Identity()

    def forward(self, x):
        return F.relu(self.shortcut(x) + self.branch(x))


def residual(inputs, outputs, stride=1, groups=1, width=None, squeeze=False):
    width = width or outputs
    branch = [conv_bn(inputs, width), nn.ReLU(), conv_bn(width, width, stride=stride, groups=groups), nn.ReLU(),
              conv_bn(width, outputs, 1)]
    if squeeze:
        branch.append(SqueezeExcite(outputs, max(2, outputs // 4)))
    return Residual(nn.Sequential(*branch), conv_bn(inputs, outputs, 1, stride) if stride > 1 or inputs != outputs else None)


class SqueezeExcite(nn.Module):
    """x * sigmoid(W2 relu(W1 mean(x)))."""

    def __init__(self, channels, squeezed, gate=torch.sigmoid):
        super().__init__()
        self.reduce, self.expand, self.gate = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1), gate

    def forward(self, x):
        return x * self.gate(self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True)))))


class DenseLayer(nn.Module):
    """x joined with the `growth` new channels computed from it."""

    def __init__(self, inputs, growth):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, growth, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)


class ShuffleUnit(nn.Module):
    """ShuffleNet V2: half of the channels pass, half are transformed, then both are interleaved."""

    def __init__(self, channels):
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            conv_bn(half, half, 1), nn.ReLU(), conv_bn(half, half, groups=half), conv_bn(half, half, 1), nn.ReLU())

    def forward(self, x):
        passed, used = x.chunk(2, 1)
        x = torch.cat([passed, self.branch(used)], 1)
        batch, channels, height, width = x.shape
        return x.reshape(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(x.shape)


class GroupShuffle(nn.Module):
    """ShuffleNet V1: grouped 1x1 convolutions with a channel shuffle between them."""

    def __init__(self, channels, groups):
        super().__init__()
        self.groups = groups
        self.first, self.second = conv_bn(channels, channels, 1, groups=groups), conv_bn(channels, channels, 1, groups=groups)
        self.depthwise = conv_bn(channels, channels, groups=channels)

    def forward(self, x):
        y = F.relu(self.first(x))
        batch, channels, height, width = y.shape
        y = y.reshape(batch, self.groups, channels // self.groups, height, width).transpose(1, 2).reshape(y.shape)
        return F.relu(x + self.second(self.depthwise(y)))


class InvertedResidual(nn.Module):
    """MobileNet V3: expand, depthwise, squeeze-and-excite, project; hard-swish between."""

    def __init__(self, inputs, expanded, outputs, stride, kernel=3):
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(inputs, expanded, 1), nn.Hardswish(), conv_bn(expanded, expanded, kernel, stride, expanded),
            nn.Hardswish(), SqueezeExcite(expanded, 4, F.hardsigmoid), conv_bn(expanded, outputs, 1))
        self.joins = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.body(x) if self.joins else self.body(x)


class PreActivation(nn.Module):
    """Wide ResNet: batch norm and ReLU before each convolution, the sum is not activated."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False))
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, x):
        y = F.relu(self.norm(x))
        return (self.shortcut(y) if self.shortcut else x) + self.body(y)


class Vgg(nn.Module):
    """Convolution, ReLU, then batch norm; flattened into two linear layers."""

    def __init__(self, widths, size):
        super().__init__()
        layers, inputs = [], 3
        for width in widths:
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(width), nn.MaxPool2d(2)]
            inputs, size = width, size // 2
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(inputs * size * size, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, CLASSES))

    def forward(self, x):
        return self.head(self.features(x).flatten(1))


class PaddedShortcut(nn.Module):
    """CIFAR ResNet, option A: the shortcut drops every second pixel and pads channels with zeros."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.branch = nn.Sequential(conv_bn(inputs, outputs, stride=2), nn.ReLU(), conv_bn(outputs, outputs))
        self.before = (outputs - inputs) // 2
        self.after = outputs - inputs - self.before

    def forward(self, x):
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))
        return F.relu(shortcut + self.branch(x))


def resnet50():
    """ResNet-50 at its real size: for speed and memory where no trained weights can be had."""
    layers = [conv_bn(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, blocks in enumerate([3, 4, 6, 3]):
        width = 64 << stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            branch = nn.Sequential(
                conv_bn(inputs, width, 1), nn.ReLU(), conv_bn(width, width, 3, stride), nn.ReLU(),
                conv_bn(width, 4 * width, 1))
            layers.append(Residual(branch, None if block else conv_bn(inputs, 4 * width, 1, stride)))
            inputs = 4 * width
    network = Classifier(nn.Sequential(*layers), inputs)
    network.linear = nn.Linear(inputs, 1000)
    return network


def sequence(*layers):
    return nn.Sequential(*layers)


class Spec:
    """How one network is made and exported. `batch` None: the exported batch is free."""

    def __init__(self, make, size, legacy_opset, dynamo_opset, batch=None):
        self.make, self.size, self.batch = make, size, batch
        self.exports = [("torchscript", legacy_opset), ("dynamo", dynamo_opset)]


def networks():
    relu, stem = nn.ReLU, lambda channels, stride=1: sequence(conv_bn(3, channels, stride=stride), nn.ReLU())
    return {
        "resnet": Spec(lambda: Classifier(sequence(
            stem(12), residual(12, 12), residual(12, 20, 2), nn.MaxPool2d(3, 2, 1), residual(20, 20)), 20), 24, 13, 18),
        "resnet_padded_shortcut": Spec(lambda: Classifier(sequence(
            stem(8), PaddedShortcut(8, 13), PaddedShortcut(13, 24)), 24), 16, 11, 20),
        "resnext": Spec(lambda: Classifier(sequence(
            stem(12), residual(12, 24, groups=4), residual(24, 32, 2, groups=8, width=24)), 32), 16, 17, 18),
        "squeeze_excite": Spec(lambda: Classifier(sequence(
            stem(10), residual(10, 16, squeeze=True), residual(16, 24, 2, squeeze=True)), 24), 16, 11, 18),
        "densenet": Spec(lambda: Classifier(sequence(
            nn.Conv2d(3, 12, 3, padding=1, bias=False), DenseLayer(12, 6), DenseLayer(18, 6), DenseLayer(24, 5),
            nn.BatchNorm2d(29), relu(), nn.Conv2d(29, 14, 1, bias=False), nn.AvgPool2d(2), DenseLayer(14, 7),
            DenseLayer(21, 7), nn.BatchNorm2d(28), relu()), 28), 16, 17, 21),
        "shufflenet_v2": Spec(lambda: Classifier(sequence(
            stem(16, 2), ShuffleUnit(16), ShuffleUnit(16), conv_bn(16, 24, 1), relu()), 24), 24, 13, 18),
        "shufflenet_v1": Spec(lambda: Classifier(sequence(
            stem(18, 2), GroupShuffle(18, 3), GroupShuffle(18, 3)), 18), 16, 11, 19),
        "fixed_batch": Spec(lambda: Classifier(sequence(
            stem(8), ShuffleUnit(8), residual(8, 14, 2)), 14), 16, 13, 18, batch=1),
        "mobilenet_v3": Spec(lambda: Classifier(sequence(
            conv_bn(3, 8, stride=2), nn.Hardswish(), InvertedResidual(8, 16, 8, 1), InvertedResidual(8, 24, 12, 2, 5),
            InvertedResidual(12, 36, 12, 1), conv_bn(12, 32, 1), nn.Hardswish()), 32), 32, 17, 18),
        "mobilenet_v2": Spec(lambda: Classifier(sequence(
            conv_bn(3, 8, stride=2), nn.ReLU6(), conv_bn(8, 8, groups=8), nn.ReLU6(), conv_bn(8, 12, 1),
            conv_bn(12, 36, 1), nn.ReLU6(), conv_bn(36, 36, stride=2, groups=36), nn.ReLU6(), conv_bn(36, 16, 1)), 16),
            20, 11, 18),
        "vgg_batch_norm_last": Spec(lambda: Vgg([10, 17, 24], 24), 24, 13, 18),
        "wide_resnet": Spec(lambda: Classifier(sequence(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), PreActivation(8, 16, 1), PreActivation(16, 16, 1),
            PreActivation(16, 24, 2), nn.BatchNorm2d(24), relu()), 24), 16, 17, 18),
    }


def randomise(network, seed):
    """Seeded weights at a scale that keeps activations alive, and batch norm statistics that are no identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            module.weight.data = torch.randn(module.weight.shape, generator=generator) * (2 / fan_in) ** 0.5
            if module.bias is not None:
                module.bias.data = torch.randn(module.bias.shape, generator=generator) * 0.1
        elif isinstance(module, nn.BatchNorm2d):
            count = (module.num_features,)
            module.weight.data = 0.6 + 0.8 * torch.rand(count, generator=generator)
            module.bias.data = torch.randn(count, generator=generator) * 0.2
            module.running_mean = torch.randn(count, generator=generator) * 0.3
            module.running_var = 0.5 + torch.rand(count, generator=generator)
    return network.eval()


def export(network, images, exporter, opset, free_batch, path):
    """Writes one ONNX file, weights inside, as the exporter's users get it."""
    common = {"input_names": ["input"], "output_names": ["logits"], "opset_version": opset}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "torchscript":
            axes = {"input": {0: "batch"}, "logits": {0: "batch"}} if free_batch else None
            # PRESERVE on a network in evaluation mode: inference batch norms that are not folded into convolutions.
            torch.onnx.export(network, (images,), str(path), dynamo=False, dynamic_axes=axes,
                              training=torch.onnx.TrainingMode.PRESERVE, **common)
        else:
            shapes = ({0: torch.export.Dim("batch")},) if free_batch else None
            torch.onnx.export(network, (images,), str(path), dynamo=True, dynamic_shapes=shapes, external_data=False,
                              verbose=False, **common)
    model = onnx.load(str(path))
    strip_notes(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    actual = next(o.version for o in model.opset_import if o.domain == "")
    if actual != opset:
        raise RuntimeError(f"asked for opset {opset}, got {actual}")


def strip_notes(model):
    """Takes out stack traces and paths of the exporting machine, which the exporters leave in notes."""
    for holder in [model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output,
                   *model.graph.value_info, *model.graph.initializer, *model.functions]:
        if hasattr(holder, "metadata_props"):
            del holder.metadata_props[:]
        holder.doc_string = ""
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
            node.doc_string = ""


def goldens(network, shape, seed):
    """Input, cotangent, logits and input gradient, computed in double precision.

    Inputs are drawn until rounding cannot push an activation over a kink (ReLU at zero, ties in a max pool): there the
    gradient is not continuous, and two correct implementations differ.
    """
    exact = copy.deepcopy(network).double()
    generator = torch.Generator().manual_seed(seed + 1)

    def differentiate(images, cotangent):
        images = images.double().requires_grad_()
        logits = exact(images)
        return logits.detach(), torch.autograd.grad((logits * cotangent.double()).sum(), images)[0]

    for _ in range(100):
        images = torch.randn(shape, generator=generator)
        cotangent = torch.randn((shape[0], *exact(images[:1].double()).shape[1:]), generator=generator)
        logits, gradient = differentiate(images, cotangent)
        nearby = [images + 1e-6 * torch.randn(shape, generator=generator) for _ in range(6)]
        changes = [(differentiate(n, cotangent)[1] - gradient).abs().max() / gradient.abs().max() for n in nearby]
        if max(changes) < 2e-5:
            return images, cotangent, logits, gradient
    raise SystemExit(f"no input of shape {shape} keeps clear of kinks")


def write(name, spec, seed, folder):
    """One network's folder; returns its manifest entry."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    network = randomise(spec.make(), seed)
    images, cotangent, logits, gradient = goldens(network, (spec.batch or 3, 3, spec.size, spec.size), seed)
    for file, tensor in [("input", images), ("logits", logits), ("cotangent", cotangent), ("input_gradient", gradient)]:
        np.save(folder / f"{file}.npy", tensor.float().numpy())

    models, failures = [], []
    for exporter, opset in spec.exports:
        file = f"{exporter}_opset{opset}.onnx"
        try:
            export(network, images, exporter, opset, spec.batch is None, folder / file)
            models.append({"file": f"{name}/{file}", "exporter": exporter, "opset": opset})
        except Exception as error:  # exporters fail in many ways; which network fails is the result
            (folder / file).unlink(missing_ok=True)
            failures.append({"exporter": exporter, "opset": opset, "reason": str(error).splitlines()[0]})
    if not models:
        raise SystemExit(f"{name}: no exporter worked: {failures}")
    entry = {"name": name, "inputShape": list(images.shape), "batch": spec.batch or "free", "seed": seed,
             "models": models, "failures": failures}
    for file in ["input", "logits", "cotangent", "input_gradient"]:
        entry[file] = f"{name}/{file}.npy"
    return entry


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these networks")
    parser.add_argument("--with-resnet50", action="store_true", help="also a full-size ResNet-50 (100 MB)")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)

    specs = networks()
    if arguments.with_resnet50:
        specs["resnet50"] = Spec(resnet50, 224, 13, 18)
    if unknown := set(arguments.only or []) - set(specs):
        parser.error(f"no network {', '.join(sorted(unknown))}; there are {', '.join(specs)}")
    entries = []
    for seed, (name, spec) in enumerate(specs.items()):
        if arguments.only and name not in arguments.only:
            continue
        entries.append(write(name, spec, 1000 + 10 * seed, arguments.out / name))
        print(name, *(m["file"].split("/")[1] for m in entries[-1]["models"]), *entries[-1]["failures"])
    manifest = {"torch": torch.__version__, "onnx": onnx.__version__, "networks": entries}
    (arguments.out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
