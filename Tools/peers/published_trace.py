"""How long SPADE's published code takes for one trace, operation by operation in PyTorch.

    published_trace.py MODEL IMAGE --preprocess unit|cifar10|imagenet --augmentations N --solver fast|exact
        [--images n] [--threads t]

Prints JSON: wall and CPU seconds of the views (Pillow, one after the other, as torchvision makes them in a loader's worker, shared
out among the threads), of the dense network's forward passes with a Hessian per layer (the unfolded inputs times
themselves), and of the solver per layer. Views, forward passes and Hessians are timed on n images and scaled to N. The
solver is timed once for every distinct layer, (rows, columns, taps), and counted as often as it occurs.
"""

import argparse
import collections
import json
import math
import random
import time

import numpy as np
import torch
from augmented_view import view
from captum_attributions import ModuleNetwork
from PIL import Image
from timing import peak_rss_bytes
from torch import nn
from torch.nn import functional as F

SCALES = {
    "unit": ([0, 0, 0], [1, 1, 1]),
    "cifar10": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "imagenet": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
}


class Clock:
    """Wall and CPU seconds since it was made."""

    def __init__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def seconds(self, factor=1):
        return np.array([time.perf_counter() - self.wall, time.process_time() - self.cpu]) * factor


def random_view(image, size):
    width, height = image.size
    while True:
        area = width * height * random.uniform(0.2, 1)
        aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            break
    left, top = random.randint(0, width - w), random.randint(0, height - h)
    return view(
        image, size, left, top, w, h, random.random() < 0.5, random.uniform(0.5, 1.5), random.uniform(-0.3, 0.3),
        random.random() < 0.5)


def views(image, size, count, scales):
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in SCALES[scales])
    planes = [torch.from_numpy(np.asarray(random_view(image, size)).transpose(2, 0, 1).copy()) for _ in range(count)]
    return torch.stack([(p.float() / 255 - mean) / deviation for p in planes])


class Hessian:
    """The running mean of 2 X X^T over images."""

    def __init__(self, layer, is_double):
        self.layer, self.images = layer, 0
        size = layer.weight[0].numel()
        self.sum = torch.zeros(size, size, dtype=torch.float64 if is_double else torch.float32)

    def __call__(self, _, inputs, __):
        x, images = inputs[0], inputs[0].shape[0]
        if isinstance(self.layer, nn.Conv2d):
            x = F.unfold(
                x, self.layer.kernel_size, self.layer.dilation, self.layer.padding, self.layer.stride)
            x = x.permute(1, 0, 2).flatten(1)
        else:
            x = x.reshape(-1, x.shape[-1]).t()
        self.sum *= self.images / (self.images + images)
        self.images += images
        if self.sum.dtype == torch.float64:
            self.sum += 2 / self.images * (x @ x.t()).double()
        else:
            x = math.sqrt(2 / self.images) * x
            self.sum += x @ x.t()


def without_dead_columns(weights, hessian):
    dead = torch.diag(hessian) == 0
    hessian[dead, dead] = 1
    weights[:, dead] = 0


def solve_fast(weights, hessian, group, sparsity):
    without_dead_columns(weights, hessian)
    size = len(hessian)
    places = torch.arange(size)
    hessian[places, places] += 0.01 * torch.mean(torch.diag(hessian))
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    for first in range(0, size, group):
        last = first + group
        part, own = weights[:, first:last].clone(), upper[first:last, first:last]
        kept, errors, losses = torch.zeros_like(part), torch.zeros_like(part), torch.zeros_like(part)
        scores = part**2 / torch.diag(own).reshape(1, -1) ** 2
        mask = scores <= torch.sort(scores.flatten())[0][int(scores.numel() * sparsity)]
        for i in range(group):
            column, pivot = part[:, i], own[i, i]
            q = column.clone()
            q[mask[:, i]] = 0
            kept[:, i] = q
            losses[:, i] = (column - q) ** 2 / pivot**2
            error = (column - q) / pivot
            part[:, i:] -= error.unsqueeze(1).matmul(own[i, i:].unsqueeze(0))
            errors[:, i] = error
        weights[:, first:last] = kept
        weights[:, last:] -= errors.matmul(upper[first:last, last:])
    return weights


def inverse(matrices):
    try:
        return torch.cholesky_inverse(torch.linalg.cholesky(matrices))
    except RuntimeError:
        return torch.cholesky_inverse(torch.linalg.cholesky(matrices + torch.eye(matrices.shape[-1])))


def solve_exact(weights, hessian, taps, sparsity, at_once=32, most_rows=None):
    """Gives the part of the rows that were done, which `most_rows` limits."""
    rows, size = weights.shape
    order = torch.arange(size).reshape(size // taps, taps).t().flatten()
    hessian = hessian.float()
    without_dead_columns(weights, hessian)
    weights, hessian = weights[:, order], hessian[order][:, order]
    start, blocks = inverse(hessian), size // taps
    losses, trajectories = torch.zeros(rows, blocks + 1), []
    todo = min(rows, most_rows or rows)
    for begin in range(0, todo, at_once):
        w = weights[begin : min(begin + at_once, todo)]
        count = len(w)
        matrices = start.unsqueeze(0).repeat(count, 1, 1)
        removed = torch.zeros(count, blocks, dtype=torch.bool)
        columns = torch.zeros(count, blocks, taps, dtype=torch.bool)
        states = torch.zeros(blocks + 1, count, size)
        states[0] = w
        own_rows, own_blocks = torch.arange(count), torch.arange(blocks).repeat(count)
        for step in range(1, blocks + 1):
            diagonal = matrices.reshape(count * blocks, taps, blocks, taps)[
                torch.arange(count * blocks), :, own_blocks, :]
            middle = inverse(diagonal)
            parts = w.reshape(count * blocks, 1, taps)
            factors = torch.bmm(parts, middle)
            scores = torch.sum(factors * parts, (1, 2)).reshape(count, blocks)
            scores[removed] = math.inf
            chosen = torch.argmin(scores, 1)
            losses[begin : begin + count, step] = scores[own_rows, chosen]
            places = (torch.arange(taps).unsqueeze(0) + (size * own_rows + taps * chosen).unsqueeze(1)).flatten()
            lines = matrices.reshape(-1, size)[places].reshape(count, taps, size)
            own = blocks * own_rows + chosen
            w = w - torch.bmm(factors[own], lines).squeeze(1)
            removed[own_rows, chosen] = True
            columns[removed] = True
            gone = columns.flatten(1)
            w[gone] = 0
            states[step] = w
            matrices -= torch.bmm(lines.transpose(1, 2), torch.bmm(middle[own], lines))
            flat = matrices.reshape(count * size, size)
            flat[torch.arange(size * count)[gone.flatten()], torch.arange(size).repeat(count)[gone.flatten()]] = 1
            matrices = flat.reshape(count, size, size)
        trajectories.append(states[:, :, torch.argsort(order)])
    budget = torch.argsort(losses[:todo, 1:].reshape(-1))[: math.ceil(todo * blocks * sparsity)]
    counts = torch.bincount(torch.div(budget, blocks, rounding_mode="trunc"), minlength=todo)
    for row in range(todo):
        weights[row] = trajectories[row // at_once][counts[row], row % at_once]
    return todo / rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("image")
    parser.add_argument("--preprocess", choices=SCALES, default="imagenet")
    parser.add_argument("--augmentations", type=int, default=1024)
    parser.add_argument("--images", type=int)
    parser.add_argument("--solver", choices=["fast", "exact"], default="fast")
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--rows", type=int, help="exact: rows per layer that are timed and scaled")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = arguments.images or min(256, arguments.augmentations)
    scale = arguments.augmentations / images
    size = 224 if arguments.preprocess == "imagenet" else 32
    model = ModuleNetwork(arguments.model, images).eval().requires_grad_(False)
    picture = Image.open(arguments.image).convert("RGB")
    clock = Clock()
    inputs = views(picture, size, images, arguments.preprocess)
    # Workers share the views among the threads.
    seconds = {"views": clock.seconds(scale) * [1 / arguments.threads, 1]}
    layers = [m for m in model.layers.values() if isinstance(m, (nn.Conv2d, nn.Linear))][1:]
    with torch.inference_mode():
        model(inputs)
        clock = Clock()
        model(inputs)
        seconds["forward"] = clock.seconds(scale)
        hessians = [Hessian(layer, arguments.solver == "exact") for layer in layers]
        handles = [layer.register_forward_hook(hessian) for layer, hessian in zip(layers, hessians)]
        clock = Clock()
        model(inputs)
        seconds["hessians"] = clock.seconds(scale) - seconds["forward"]
        for handle in handles:
            handle.remove()
        kinds = collections.defaultdict(list)
        for layer, hessian in zip(layers, hessians):
            taps = math.prod(layer.kernel_size) if isinstance(layer, nn.Conv2d) else 1
            kinds[len(layer.weight), layer.weight[0].numel(), taps].append((layer, hessian.sum))
        solved = []
        for (rows, columns, taps), members in kinds.items():
            layer, hessian = members[0]
            weights = layer.weight.data.flatten(1).clone()
            clock, part = Clock(), 1
            if arguments.solver == "fast":
                solve_fast(weights, hessian, taps, arguments.sparsity)
            else:
                part = solve_exact(weights, hessian, taps, arguments.sparsity, most_rows=arguments.rows)
            own = clock.seconds(len(members) / part)
            solved.append(
                {"rows": rows, "columns": columns, "taps": taps, "layers": len(members), "part": part,
                 "seconds": own[0], "cpuSeconds": own[1]})
    seconds["solver"] = np.array([[s["seconds"], s["cpuSeconds"]] for s in solved]).sum(0)
    print(json.dumps({
        "seconds": {name: value[0] for name, value in seconds.items()},
        "cpuSeconds": {name: value[1] for name, value in seconds.items()},
        "total": sum(value[0] for value in seconds.values()), "timedImages": images,
        "augmentations": arguments.augmentations, "solved": solved, "peakRSSBytes": peak_rss_bytes()}, indent=1))


if __name__ == "__main__":
    main()
