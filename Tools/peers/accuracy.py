"""Accuracy of an ONNX classifier in onnxruntime, and its input tensors and logits for comparison.

    accuracy.py MODEL IMAGES... [--preprocess NAME] [--limit N] [--out DIR]

IMAGES are CIFAR binary records (.bin), image folders with a CSV of labels (columns `file` and `class...`), or single
PNG or JPEG files (no labels: no accuracy). The preprocessing is chosen by the model's file name unless named. With
--out it writes DIR/MODEL.input.npy [N, 3, H, W], DIR/MODEL.logits.npy and, where known, DIR/MODEL.labels.npy. Prints
one line of JSON.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

from onnx_session import fixed_batch, logits, open_session

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def unit_scale(mean=(0, 0, 0), deviation=(1, 1, 1)):
    """RGB 0..255 to (x / 255 - mean) / deviation."""
    return lambda x: (x / 255 - np.array(mean)) / np.array(deviation)


def centre_crop(image, width, height):
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def short_side(size):
    """Bilinear resize of the short side, keeping the aspect ratio."""
    def resize(image):
        scale = size / min(image.size)
        wanted = [size if side == min(image.size) else int(side * scale) for side in image.size]
        return image.resize(wanted, Image.Resampling.BILINEAR)

    return resize


def inception_crop(image):
    """The central 87.5 %, then 224 x 224."""
    cropped = centre_crop(image, round(image.width * 0.875), round(image.height * 0.875))
    return cropped.resize((224, 224), Image.Resampling.BILINEAR)


# Name: (what happens to the image, what happens to RGB values 0..255, shift of the class index)
PREPROCESSING = {
    "imagenet": (lambda i: centre_crop(short_side(256)(i), 224, 224), unit_scale(*IMAGENET), 0),
    "cifar10": (None, unit_scale(*IMAGENET), 0),
    "cifar10-vit": (None, unit_scale(*CIFAR), 0),
    "unit": (None, unit_scale(), 0),
    "raw": (None, lambda x: x, 0),
    "squeezenet": (
        lambda i: centre_crop(i.resize((256, 256), Image.Resampling.BILINEAR), 227, 227),
        lambda x: x[..., ::-1] - np.array([104, 117, 123]), 0),
    "mobilenet": (inception_crop, lambda x: (x - 128) / 128, 1),
}

# The beginning of a model's file name, and its preprocessing; the first that fits.
BY_NAME = [
    ("cifar10_resnet", "cifar10"),
    ("cifar10_vit", "cifar10-vit"),
    ("vit_ibp", "cifar10-vit"),
    ("mlperf_tiny", "raw"),
    ("cifar10_", "unit"),
    ("nad_", "unit"),
    ("tinyvgg", "unit"),
    ("squeezenet", "squeezenet"),
    ("mobilenet", "mobilenet"),
    ("resnet", "imagenet"),
]


def preprocessing_for(model):
    for beginning, name in BY_NAME:
        if model.name.startswith(beginning):
            return name
    raise SystemExit(f"no preprocessing is known for {model.name}; name one with --preprocess")


def read_records(path):
    """CIFAR records: label byte, then 3072 planar RGB bytes."""
    records = np.fromfile(path, np.uint8)
    if len(records) == 0 or len(records) % 3073:
        raise SystemExit(f"{path}: {len(records)} bytes are no whole number of 3073-byte CIFAR records")
    for record in records.reshape(-1, 3073):
        yield Image.fromarray(record[1:].reshape(3, 32, 32).transpose(1, 2, 0).copy()), int(record[0])


def read_folder(path):
    tables = list(path.glob("*.csv"))
    if len(tables) != 1:
        raise SystemExit(f"{path}: expected one CSV file of labels, found {len(tables)}")
    with open(tables[0], newline="") as file:
        rows = list(csv.DictReader(file))
    column = next(c for c in rows[0] if c.startswith("class") and not c.endswith("name"))
    for row in rows:
        yield Image.open(path / row["file"]).convert("RGB"), int(row[column])


def read_images(paths):
    """(image, label or None) of everything named."""
    for path in paths:
        if path.is_dir():
            yield from read_folder(path)
        elif path.suffix == ".bin":
            yield from read_records(path)
        else:
            yield Image.open(path).convert("RGB"), None


def prepare(image, name):
    """One preprocessed image, [3, H, W]."""
    resize, scale, _ = PREPROCESSING[name]
    pixels = np.asarray(resize(image) if resize else image, np.float64)
    return scale(pixels).transpose(2, 0, 1).astype(np.float32)


def chosen(pairs, limit):
    """`limit` of the pairs, evenly spread, so that folders sorted by class give several classes."""
    if limit is None or limit >= len(pairs):
        return pairs
    return [pairs[i * len(pairs) // limit] for i in range(limit)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--preprocess", choices=PREPROCESSING)
    parser.add_argument("--limit", type=int, help="only this many images, evenly spread")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()

    name = arguments.preprocess or preprocessing_for(arguments.model)
    session = open_session(arguments.model)
    pairs = chosen(list(read_images(arguments.images)), arguments.limit)
    inputs, outputs = [], []
    chunk = fixed_batch(session) or 25
    for start in range(0, len(pairs), chunk):
        batch = np.stack([prepare(image, name) for image, _ in pairs[start : start + chunk]])
        outputs.append(logits(session, batch))
        if arguments.out:
            inputs.append(batch)
    outputs = np.concatenate(outputs)

    result = {"model": arguments.model.name, "preprocess": name, "images": len(pairs)}
    labels = [label for _, label in pairs]
    known = None not in labels
    if known:
        labels = np.array(labels) + PREPROCESSING[name][2]
        result["top1"] = float((outputs.argmax(1) == labels).mean())
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        np.save(arguments.out / f"{arguments.model.stem}.input.npy", np.concatenate(inputs))
        np.save(arguments.out / f"{arguments.model.stem}.logits.npy", outputs)
        if known:
            np.save(arguments.out / f"{arguments.model.stem}.labels.npy", labels)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
