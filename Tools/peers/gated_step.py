"""One step of chain extraction in PyTorch: the peer of ours for gradients and for time.

    gated_step.py MODEL INPUT.npy GATES.json --out STEP.npz [--lambda L] [--exact [--piece PIECE.json]]
    gated_step.py MODEL INPUT.npy GATES.json --steps N --time [--compile] [--bf16] [--threads T]
    gated_step.py MODEL INPUT.npy GATES.json --serve

GATES.json names the gated values (names as in the ONNX file):

    {"gates":    [{"value": "relu_3", "axis": 1, "offset": 0, "count": 64, "branch": 0}, ...],
     "branches": [{"value": "conv_7"}, ...]}

A gate multiplies `count` channels from `offset` along `axis` by S = sigmoid(a); `branch` (or null) says which branch
the units belong to. A branch multiplies its value by alpha = sigmoid(c). The objective is

    mean KL(p || p_gated) + lambda * (k/N * sum of alpha_branch * S over units + 1/B * sum of alpha over branches)

with N units, B branches, k = 10. Weights have no gradients. STEP.npz holds `loss`, `kl`, `logits` (gated), `target` (log p),
`grad_a` and `grad_c` (all gates', all branches', in file order) and `grad_input` (of the whole loss). With --exact it also holds
`exact_NAME`, the same in double precision, and `spread_NAME`: by how much, relatively, `exact_NAME` changes when rounding
moves the input. Gradients jump where an activation crosses zero or the maximum of a pool changes: two correct
single-precision implementations differ by such jumps. With --piece it also holds `piece_NAME`, in double precision on
the side of every such kink on which another implementation came to lie, and `piece_distance`: how far, at most, a
value of the network lies from the kink when it is not on that side itself, relative to the values' root mean square.
PIECE.json says what the other implementation computed, an activation's results or what a maximum pool read:

    [{"value": "relu_3", "tensor": "relu_3.npy", "minimum": 0, "maximum": null}, {"value": "pool_1", "tensor": "in.npy"}]
"""

import argparse
import json

import numpy as np
import torch

import timing
from onnx_torch import OnnxNetwork

SPARSITY_WEIGHT = 10.0  # k


class Gates(torch.nn.Module):
    """The scores of units (a) and branches (c), applied to a network's values through its transforms."""

    def __init__(self, network, description, initial_a, initial_c):
        super().__init__()
        self.gates, branches = description["gates"], description.get("branches", [])
        self.ranges = np.cumsum([0] + [g["count"] for g in self.gates]).tolist()
        self.a = torch.nn.Parameter(torch.as_tensor(initial_a).expand(self.ranges[-1]).clone())
        self.c = torch.nn.Parameter(torch.as_tensor(initial_c).expand(len(branches)).clone())
        units_branch = [g.get("branch") for g in self.gates for _ in range(g["count"])]
        self.in_branch = torch.tensor([i for i, b in enumerate(units_branch) if b is not None], dtype=torch.long)
        self.branch_of = torch.tensor([b for b in units_branch if b is not None], dtype=torch.long)
        self._attach(network, branches)

    def _attach(self, network, branches):
        names = {name for _, _, outputs in network.steps for name in outputs}
        wanted = {}
        for index, gate in enumerate(self.gates):
            wanted.setdefault(gate["value"], ([], []))[0].append(index)
        for index, branch in enumerate(branches):
            wanted.setdefault(branch["value"], ([], []))[1].append(index)
        if missing := sorted(set(wanted) - names):
            raise SystemExit(f"GATES.json names values that the network does not compute: {', '.join(missing)}")
        for name, (gates, scales) in wanted.items():
            network.transforms[name] = lambda x, gates=gates, scales=scales: self._gated(x, gates, scales)

    def prepare(self):
        """The scores of this step, computed once for all values."""
        self.scores, self.alphas = torch.sigmoid(self.a), torch.sigmoid(self.c)

    def _gated(self, x, gates, scales):
        for axis in sorted({self.gates[g]["axis"] for g in gates}):
            x = x * self._factor(x, axis, [g for g in gates if self.gates[g]["axis"] == axis])
        for index in scales:
            x = x * self.alphas[index].to(x.dtype)
        return x

    def _factor(self, x, axis, gates):
        """The gates of one axis as one factor, one where no gate stands."""
        pieces, at = [], 0
        for g in sorted(gates, key=lambda g: self.gates[g]["offset"]):
            offset, count = self.gates[g]["offset"], self.gates[g]["count"]
            if offset < at or offset + count > x.shape[axis]:
                raise SystemExit(f"gate {g} ({self.gates[g]['value']}) overlaps another or leaves its axis")
            if offset > at:
                pieces.append(torch.ones(offset - at))
            pieces.append(self.scores[self.ranges[g] : self.ranges[g + 1]])
            at = offset + count
        if at < x.shape[axis]:
            pieces.append(torch.ones(x.shape[axis] - at))
        factor = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        shape = [1] * x.ndim
        shape[axis] = -1
        return factor.reshape(shape).to(x.dtype)

    def penalty(self):
        weights = torch.ones_like(self.scores)
        if len(self.in_branch):
            weights = weights.index_copy(0, self.in_branch, self.alphas[self.branch_of])
        total = SPARSITY_WEIGHT * (weights * self.scores).mean()
        return total + self.alphas.mean() if len(self.alphas) else total


class Step:
    """Forward, loss, backward and (in `update`) Adam, on one region."""

    def __init__(self, arguments):
        images = torch.from_numpy(np.load(arguments.input).astype(np.float32))
        self.images = images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images
        self.network = OnnxNetwork(arguments.model, len(images)).eval()
        self.autocast = torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16)
        with torch.inference_mode(), self.autocast:
            self.target = torch.log_softmax(self.network(self.images).float(), 1)
        self.target = self.target.clone()  # a plain tensor again: it takes part in autograd
        with open(arguments.gates) as file:
            description = json.load(file)
        initial_a, initial_c = (
            np.load(file).ravel() if file else np.float32(3) for file in (arguments.scores, arguments.branch_scores))
        self.gates = Gates(self.network, description, initial_a, initial_c)
        self.weight = arguments.weight
        self.forward = torch.compile(self._forward, fullgraph=True) if arguments.compile else self._forward
        self.optimizer = torch.optim.Adam(self.gates.parameters(), lr=arguments.learning_rate)

    def _forward(self, images):
        self.gates.prepare()
        with self.autocast:
            logits = self.network(images).to(self.target.dtype)
        divergence = torch.nn.functional.kl_div(
            torch.log_softmax(logits, 1), self.target, reduction="batchmean", log_target=True)
        return divergence + self.weight * self.gates.penalty(), divergence, logits

    def gradients(self):
        self.optimizer.zero_grad(set_to_none=True)
        images = self.images.clone().requires_grad_()
        loss, divergence, logits = self.forward(images)
        loss.backward()
        scores = {"grad_a": self.gates.a.grad, "grad_c": self.gates.c.grad, "grad_input": images.grad}
        values = {"loss": loss.detach(), "kl": divergence.detach(), "logits": logits.detach()}
        return {k: np.ascontiguousarray(v.numpy()) for k, v in (scores | values).items() if v is not None}

    def exact(self, repeats=3, rounding=1e-6):
        """The values in double precision, and their relative changes under noise of `rounding` on the input."""
        torch.set_default_dtype(torch.float64)
        parameters = self.network.parameters_by_name
        self.network.parameters_by_name = {name: tensor.double() for name, tensor in parameters.items()}
        self.gates.double()
        self.target, images = self.target.double(), self.images.double()
        self.images = images
        exact = self.gradients()
        spread = dict.fromkeys(exact, 0.0)
        generator = torch.Generator().manual_seed(0)
        for _ in range(repeats):
            self.images = images + rounding * images.abs().max() * torch.randn(images.shape, generator=generator)
            for name, near in self.gradients().items():
                change = np.linalg.norm(near - exact[name]) / np.linalg.norm(exact[name])
                spread[name] = max(spread[name], float(change))
        self.images = images
        return {f"exact_{n}": v for n, v in exact.items()} | {f"spread_{n}": v for n, v in spread.items()}

    def on_piece(self, path):
        """After `exact`: the values on the given sides of all kinks, and how far the network's own sides are from them."""
        with open(path) as file:
            kinks = {kink["value"]: kink for kink in json.load(file)}
        distances = []

        def held(function, kink):
            known = torch.from_numpy(np.load(kink["tensor"])).double()

            def on_side(x, *others):
                if "minimum" in kink:
                    largest = np.inf if kink["maximum"] is None else kink["maximum"]
                    result = torch.where((known > kink["minimum"]) & (known < largest), x, known)
                else:
                    result = torch.func.jvp(lambda read: function(read, *others), (known,), (x,))[1]
                free = function(x, *others).detach()
                distances.append(float((result.detach() - free).abs().max() / free.pow(2).mean().sqrt()))
                return result

            return on_side

        steps = self.network.steps
        if missing := sorted(set(kinks) - {outputs[0] for _, _, outputs in steps}):
            raise SystemExit(f"PIECE.json names values that the network does not compute: {', '.join(missing)}")
        self.network.steps = [
            (held(function, kinks[outputs[0]]) if outputs[0] in kinks else function, inputs, outputs)
            for function, inputs, outputs in steps]
        values = {f"piece_{name}": value for name, value in self.gradients().items()}
        return values | {"piece_distance": np.float64(max(distances, default=0))}

    def update(self):
        self.optimizer.zero_grad(set_to_none=True)
        self.forward(self.images)[0].backward()
        self.optimizer.step()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("input", help="the region, a preprocessed tensor [N, C, H, W], .npy")
    parser.add_argument("gates", help="GATES.json")
    parser.add_argument("--out", help="write the gradients of one step to this .npz")
    parser.add_argument("--exact", action="store_true", help="with --out: also in double precision")
    parser.add_argument("--piece", help="with --exact: PIECE.json, the sides of kinks to take")
    parser.add_argument("--scores", help="the raw scores `a` of all units, .npy; default: all 3")
    parser.add_argument("--branch-scores", help="the raw scores `c` of all branches, .npy; default: all 3")
    parser.add_argument("--lambda", dest="weight", type=float, default=0.1)
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--steps", type=int, default=7, help="steps of Adam to time")
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--time", action="store_true", help="print seconds per step and peak memory as JSON")
    parser.add_argument("--serve", action="store_true", help="answer each line `run` with the seconds of one step")
    parser.add_argument("--compile", action="store_true", help="torch.compile (needs a C++ compiler)")
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if not (arguments.out or arguments.time or arguments.serve):
        parser.error("nothing to do: give --out, --time or --serve")
    if arguments.piece and not (arguments.out and arguments.exact):
        parser.error("--piece needs --out and --exact")
    return arguments


def main():
    arguments = parse_arguments()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    step = Step(arguments)
    if arguments.out:
        values = step.gradients() | {"target": step.target.numpy()}
        values |= step.exact() if arguments.exact else {}
        values |= step.on_piece(arguments.piece) if arguments.piece else {}
        np.savez(arguments.out, **values)
    if arguments.time:
        timing.report(step.update, arguments.warm_up, arguments.steps, threads=torch.get_num_threads(),
                      batch=len(step.images), compile=arguments.compile, bf16=arguments.bf16)
    if arguments.serve:
        timing.serve(step.update, arguments.warm_up)


if __name__ == "__main__":
    main()
