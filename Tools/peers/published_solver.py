"""The arithmetic of SPADE's published solvers on one layer, written in numpy; for comparison with --compat.

    python Tools/peers/published_solver.py FOLDER ROWS CHANNELS TAPS SPARSITY fast|exact

Reads FOLDER/columns.npy, the im2col matrix [images, CHANNELS * TAPS, positions], and FOLDER/weights.npy
[ROWS, CHANNELS * TAPS]; writes FOLDER/pruned.npy.
"""

import math
import sys
from pathlib import Path

import numpy as np


def hessian(columns):
    matrix = columns.transpose(1, 0, 2).reshape(columns.shape[1], -1).astype(np.float64)
    return 2 / columns.shape[0] * matrix @ matrix.T


def prepared(weights, h):
    weights, h = weights.astype(np.float32).copy(), h.astype(np.float32).copy()
    dead = np.diag(h) == 0
    h[dead, dead] = 1
    weights[:, dead] = 0
    return weights, h


def fast(weights, h, group, sparsity):
    weights, h = prepared(weights, h)
    size = h.shape[0]
    h[np.arange(size), np.arange(size)] += np.float32(0.01) * np.mean(np.diag(h))
    upper = np.linalg.cholesky(np.linalg.inv(h)).T
    for first in range(0, size, group):
        last = first + group
        part, own = weights[:, first:last].copy(), upper[first:last, first:last]
        scores = part**2 / np.diag(own).reshape(1, -1) ** 2
        threshold = np.sort(scores.flatten())[int(scores.size * sparsity)]
        mask = scores <= threshold
        kept, errors = np.zeros_like(part), np.zeros_like(part)
        for i in range(group):
            column = part[:, i]
            kept[:, i] = np.where(mask[:, i], 0, column)
            errors[:, i] = (column - kept[:, i]) / own[i, i]
            part[:, i:] -= np.outer(errors[:, i], own[i, i:])
        weights[:, first:last] = kept
        weights[:, last:] -= errors @ upper[first:last, last:]
    return weights


def exact(weights, h, taps, sparsity):
    rows, size = weights.shape
    order = np.arange(size).reshape(size // taps, taps).T.flatten()
    weights, h = prepared(weights, h)
    weights, h = weights[:, order], h[np.ix_(order, order)]
    try:
        np.linalg.cholesky(h)
    except np.linalg.LinAlgError:
        h = h + np.eye(size, dtype=np.float32)
    blocks = size // taps
    losses = np.zeros((rows, blocks))
    states = np.zeros((rows, blocks + 1, size))
    for row in range(rows):
        w, inverse = weights[row].astype(np.float64), np.linalg.inv(h.astype(np.float64))
        removed = np.zeros(blocks, bool)
        states[row, 0] = w
        for step in range(blocks):
            scores = np.full(blocks, np.inf)
            for block in np.flatnonzero(~removed):
                own = slice(block * taps, (block + 1) * taps)
                scores[block] = w[own] @ np.linalg.solve(inverse[own, own], w[own])
            block = int(np.argmin(scores))
            own = slice(block * taps, (block + 1) * taps)
            lines, middle = inverse[own].copy(), np.linalg.inv(inverse[own, own])
            w = w - (w[own] @ middle) @ lines
            removed[block] = True
            gone = np.repeat(removed, taps)
            w[gone] = 0
            inverse -= lines.T @ middle @ lines
            inverse[gone, gone] = 1
            losses[row, step] = scores[block] / 2
            states[row, step + 1] = w
    budget = math.ceil(rows * blocks * sparsity)
    counts = np.bincount(np.argsort(losses.flatten(), kind="stable")[:budget] // blocks, minlength=rows)
    result = np.stack([states[row, counts[row]] for row in range(rows)])
    return result[:, np.argsort(order)].astype(np.float32)


def main(folder, rows, channels, taps, sparsity, solver):
    folder = Path(folder)
    columns, weights = np.load(folder / "columns.npy"), np.load(folder / "weights.npy")
    assert weights.shape == (int(rows), int(channels) * int(taps)), weights.shape
    solve = fast if solver == "fast" else exact
    np.save(folder / "pruned.npy", solve(weights, hessian(columns), int(taps), float(sparsity)))


if __name__ == "__main__":
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    main(*sys.argv[1:])
