"""Makes the golden logits of the models and images that ship with the repository.

    make_sample_goldens.py OUTDIR

OUTDIR/MODEL.logits.npy is what onnxruntime computes on the images of the table below, prepared with Pillow. Tests
compare with the files in Tests/Goldens/Samples.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from accuracy import PREPROCESSING, prepare, read_images, unit_scale
from onnx_session import logits, open_session

SAMPLES = Path(__file__).resolve().parents[1] / "samples"

# No shipped image has the size that this network was made for.
PREPROCESSING["tinyvgg"] = (lambda i: i.resize((64, 64), Image.Resampling.BILINEAR), unit_scale(), 0)

GOLDENS = [
    ("cifar10_resnet20", "cifar10", "cifar10_demo.bin"),
    ("cifar10_resnet56", "cifar10", "cifar10_demo.bin"),
    ("mlperf_tiny_resnet8", "raw", "cifar10_demo.bin"),
    ("squeezenet_v1.0_dc", "squeezenet", "imagenet"),
    ("tinyvgg_10c", "tinyvgg", "imagenet"),
]


def main(folder):
    for model, preprocessing, images in GOLDENS:
        path = SAMPLES / "images" / images
        paths = sorted(path.glob("*.png")) if path.is_dir() else [path]
        inputs = np.stack([prepare(image, preprocessing) for image, _ in read_images(paths)])
        np.save(folder / f"{model}.logits.npy", logits(open_session(SAMPLES / f"models/{model}.onnx"), inputs))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    main(out)
