#!/usr/bin/env python3
"""Makes the golden files of Tests/Goldens/Images and Tests/Goldens/TensorFiles with Pillow and numpy.

Each image file stands beside the raw RGB bytes that Pillow's exif_transpose and convert("RGB") give for it;
resampling and whole preprocessing have their results in the same way. manifest.json lists them with their sizes.
Usage: make_image_goldens.py [Tests/Goldens]
"""

import json
import pathlib
import struct
import sys
import zlib

import numpy as np
from PIL import Image, ImageOps, __version__ as pillow_version

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2] / "Tests" / "Goldens")
IMAGES = ROOT / "Images"
TENSORS = ROOT / "TensorFiles"
rng = np.random.default_rng(2022)
manifest = {"pillow": pillow_version, "decoded": [], "resized": [], "preprocessed": []}


def picture(width, height, channels=3):
    """Smooth gradients with edges and some noise: something for every frequency."""
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for channel in range(channels):
        wave = 127 + 90 * np.sin(x / (3 + channel) + y / 5.0) + 40 * ((x + channel * 2) % 11 > 5)
        planes.append(wave + rng.normal(0, 12, (height, width)))
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def keep_decoded(name):
    with Image.open(IMAGES / name) as opened:
        mode = opened.mode
        rgb = ImageOps.exif_transpose(opened).convert("RGB")
    (IMAGES / f"{name}.rgb").write_bytes(rgb.tobytes())
    manifest["decoded"].append({"file": name, "width": rgb.width, "height": rgb.height, "mode": mode})


def save(image, name, **options):
    image.save(IMAGES / name, **options)
    keep_decoded(name)


def png(name, width, height, depth, color_type, rows, extra=b"", interlace=0):
    """Writes the kinds of PNG that Pillow does not write, from packed rows."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, interlace)
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    (IMAGES / name).write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    keep_decoded(name)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(values, depth):
    bits = ((values[..., None] >> np.arange(depth - 1, -1, -1)) & 1).reshape(values.shape[0], -1).astype(np.uint8)
    return [row.tobytes() for row in np.packbits(bits, axis=1)]


def interlaced(pixels):
    """The rows of the seven Adam7 passes of 8-bit pixels."""
    for y0, x0, dy, dx in [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]:
        for row in pixels[y0::dy, x0::dx]:
            if row.size:
                yield row.tobytes()


def make_png():
    width, height = 23, 17
    rgb, grey = picture(width, height), picture(width, height, 1)[..., 0]
    save(Image.fromarray(rgb), "rgb8.png")
    save(Image.fromarray(grey), "grey8.png")
    save(Image.fromarray(np.dstack([rgb, grey])), "rgba8.png")
    save(Image.fromarray(np.dstack([grey, rgb[..., 0]]), "LA"), "grey_alpha8.png")
    save(Image.fromarray(rgb).quantize(64), "palette8.png")
    save(Image.fromarray(rgb).quantize(13), "palette4.png", bits=4)
    save(Image.fromarray(rgb).quantize(64), "palette_transparent.png", transparency=3)
    save(Image.fromarray(grey), "grey_transparent.png", transparency=100)
    for depth in (1, 2, 4):
        png(f"grey{depth}.png", width, height, depth, 0, packed(grey >> (8 - depth), depth))
        palette = chunk(b"PLTE", rng.integers(0, 256, 3 << depth, dtype=np.uint8).tobytes())
        png(f"palette_bits{depth}.png", width, height, depth, 3, packed(grey >> (8 - depth), depth), palette)
    # Indices beyond the palette.
    png("palette_short.png", width, height, 8, 3, packed(grey, 8), chunk(b"PLTE", bytes(range(30))))
    wide = rng.integers(0, 65536, (height, width, 4)).astype(">u2")
    small = rng.integers(0, 400, (height, width)).astype(">u2")
    png("grey16.png", width, height, 16, 0, [row.tobytes() for row in wide[..., 0]])
    png("grey16_dark.png", width, height, 16, 0, [row.tobytes() for row in small])
    png("grey_alpha16.png", width, height, 16, 4, [row.tobytes() for row in np.ascontiguousarray(wide[..., :2])])
    png("rgb16.png", width, height, 16, 2, [row.tobytes() for row in np.ascontiguousarray(wide[..., :3])])
    png("rgba16.png", width, height, 16, 6, [row.tobytes() for row in wide])
    gamma = chunk(b"gAMA", struct.pack(">I", 100000))
    png("gamma.png", width, height, 8, 2, [row.tobytes() for row in rgb], gamma)
    png("interlaced.png", width, height, 8, 2, list(interlaced(rgb)), interlace=1)
    png("interlaced_tiny.png", 3, 2, 8, 0, list(interlaced(grey[:2, :3])), interlace=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    save(Image.fromarray(rgb), "orientation6.png", exif=exif)


def make_jpeg():
    rgb, grey = Image.fromarray(picture(37, 26)), Image.fromarray(picture(37, 26, 1)[..., 0])
    save(grey, "grey.jpg", quality=90)
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        save(rgb, f"rgb{name}.jpg", quality=88, subsampling=sampling)
    save(rgb, "progressive.jpg", quality=80, progressive=True)
    save(rgb, "restart.jpg", quality=80, restart_marker_blocks=2)
    save(rgb, "keep_rgb.jpg", quality=85, keep_rgb=True)
    cmyk = Image.fromarray(picture(21, 19, 4), "CMYK")
    save(cmyk, "cmyk.jpg", quality=92)
    # The same file marked as YCCK in its Adobe segment.
    data = bytearray((IMAGES / "cmyk.jpg").read_bytes())
    data[data.index(b"Adobe") + 11] = 2
    (IMAGES / "ycck.jpg").write_bytes(data)
    keep_decoded("ycck.jpg")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(rgb.resize((19, 13)), f"orientation{orientation}.jpg", quality=90, exif=exif)
    # Big-endian EXIF with another entry before the orientation.
    tiff = b"MM\0*\0\0\0\x08\0\x02\x01\0\0\x03\0\0\0\x01\0\x13\0\0\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0"
    save(rgb.resize((19, 13)), "orientation8_big_endian.jpg", quality=90, exif=b"Exif\0\0" + tiff)


FILTERS = {
    "nearest": Image.Resampling.NEAREST, "box": Image.Resampling.BOX, "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS,
}


def make_resized():
    source = Image.fromarray(picture(41, 29))
    source.save(IMAGES / "source.png")
    for name, filter in FILTERS.items():
        for width, height in ((17, 11), (64, 50), (41, 13), (80, 29), (1, 1), (36, 3), (60, 20)):
            result = source.resize((width, height), filter)
            file = f"resized_{name}_{width}x{height}.rgb"
            (IMAGES / file).write_bytes(result.tobytes())
            manifest["resized"].append({"file": file, "resampling": name, "width": width, "height": height})


def short_side(image, size, filter=Image.Resampling.BILINEAR):
    """Torchvision's Resize with one number."""
    short, long = sorted(image.size)
    new_long = int(size * long / short)
    return image.resize((size, new_long) if image.width <= image.height else (new_long, size), filter)


def centre(image, width, height):
    """Torchvision's CenterCrop."""
    left, top = int(round((image.width - width) / 2.0)), int(round((image.height - height) / 2.0))
    return image.crop((left, top, left + width, top + height))


def normalised(image, divisor, mean, std, channels="RGB"):
    """Torchvision's ToTensor and Normalize: every step in single precision."""
    values = np.asarray(image).transpose(2, 0, 1).astype(np.float32) / np.float32(divisor)
    if channels == "BGR":
        values = values[::-1]
    column = lambda numbers: np.asarray(numbers, np.float32)[:, None, None]
    return np.ascontiguousarray((values - column(mean)) / column(std), dtype="<f4")


def make_preprocessed():
    images = [Image.fromarray(picture(*size)) for size in ((45, 38), (33, 64), (50, 50))]
    imagenet = dict(divisor=255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    for index, image in enumerate(images):
        file = f"preprocess{index}.png"
        image.save(IMAGES / file)
        jobs = {
            "short_side": (centre(short_side(image, 37), 32, 32), imagenet),
            "bgr": (centre(image.resize((72, 72), Image.Resampling.BICUBIC), 31, 31),
                    dict(divisor=1, mean=(104, 117, 123), std=(1, 1, 1), channels="BGR")),
            "crop_first": (centre(image, 29, 29).resize((32, 32), Image.Resampling.BILINEAR),
                           dict(divisor=1, mean=(128,) * 3, std=(128,) * 3)),
        }
        for name, (pixels, numbers) in jobs.items():
            values = normalised(pixels, **numbers)
            name_of_result = f"preprocess{index}_{name}.f32"
            (IMAGES / name_of_result).write_bytes(values.tobytes())
            manifest["preprocessed"].append(
                {"file": file, "job": name, "result": name_of_result, "shape": list(values.shape)})


def make_tensors():
    values = np.arange(24).reshape(2, 3, 4)
    for code in ("|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8"):
        np.save(TENSORS / f"c_{code[1:]}.npy", (values % 2 if code == "|b1" else values - 3 * ("u" not in code)).astype(code))
    for code in (">i2", ">f4", ">f8"):
        np.save(TENSORS / f"big_{code[1:]}.npy", (values - 3).astype(code))
    np.save(TENSORS / "fortran_f4.npy", np.asfortranarray((values - 3).astype("<f4")))
    np.save(TENSORS / "fortran_big_f8.npy", np.asfortranarray((values - 3).astype(">f8")))
    np.save(TENSORS / "scalar.npy", np.float32(2.5))
    np.save(TENSORS / "empty.npy", np.zeros((3, 0, 2), np.float32))
    with open(TENSORS / "version2.npy", "wb") as file:
        np.lib.format.write_array(file, (values - 3).astype("<f4"), version=(2, 0))
    np.savez(TENSORS / "stored.npz", first=(values - 3).astype("<f4"), second=np.arange(5, dtype="<i8"))
    np.savez_compressed(TENSORS / "deflated.npz", first=(values - 3).astype("<f4"), second=np.arange(5, dtype="<i8"))


for folder in (IMAGES, TENSORS):
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
make_png()
make_jpeg()
make_resized()
make_preprocessed()
make_tensors()
(IMAGES / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
