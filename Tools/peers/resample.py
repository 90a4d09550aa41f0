#!/usr/bin/env python3
"""Resizes random images with Pillow, for the tests of our own resampling.

Writes N.png, N.rgb (the resized image's raw bytes) and cases.json, which lists file, filter and size, into FOLDER.
Sizes are drawn so that every order of Pillow's two passes, enlargements and long, thin images are among them.
Usage: resample.py FOLDER COUNT
"""

import json
import pathlib
import sys

import numpy as np
from PIL import Image

folder, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
filters = ("nearest", "box", "bilinear", "bicubic", "lanczos")
rng = np.random.default_rng(13)


def extent():
    """Spread evenly on a logarithmic scale, so that small and large ones meet."""
    return int(np.exp(rng.uniform(0, np.log(250))))


cases = []
for index in range(count):
    source = Image.fromarray(rng.integers(0, 256, (extent(), extent(), 3), dtype=np.uint8))
    width, height = extent(), extent()
    # Around the sizes at which the order of the passes changes.
    if index % 3 == 0 and source.height > 4:
        height = int(rng.integers(1, source.height))
        width = max(1, source.width - (source.height - height) // 2 + int(rng.integers(-1, 2)))
    source.save(folder / f"{index}.png")
    for name in filters:
        resized = source.resize((width, height), Image.Resampling[name.upper()])
        (folder / f"{index}_{name}.rgb").write_bytes(resized.tobytes())
        cases.append({"source": f"{index}.png", "file": f"{index}_{name}.rgb", "resampling": name,
                      "width": width, "height": height})
(folder / "cases.json").write_text(json.dumps(cases))
