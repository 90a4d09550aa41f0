"""One view of a picture by Pillow, from the operations that torchvision composes for 8-bit pictures.

    python Tools/peers/augmented_view.py OUT.npy IN.npy SIZE LEFT TOP WIDTH HEIGHT FLIP BRIGHTNESS HUE HUE_FIRST

IN.npy is float32 [height, width, 3] of whole levels; OUT.npy is the view in the same form. Several groups of the last
eight arguments give several views, one after the other along the first axis.
"""

import sys

import numpy as np
from PIL import Image, ImageEnhance


def turned(image, hue):
    h, s, v = image.convert("HSV").split()
    levels = np.array(h, dtype=np.uint8)
    with np.errstate(over="ignore"):
        levels += np.int32(hue * 255).astype(np.uint8)
    return Image.merge("HSV", (Image.fromarray(levels, "L"), s, v)).convert("RGB")


def view(image, size, left, top, width, height, flip, brightness, hue, hue_first):
    image = image.crop((left, top, left + width, top + height)).resize((size, size), Image.BILINEAR)
    if flip:
        image = image.transpose(Image.FLIP_LEFT_RIGHT)
    if hue_first:
        return ImageEnhance.Brightness(turned(image, hue)).enhance(brightness)
    return turned(ImageEnhance.Brightness(image).enhance(brightness), hue)


def main(target, source, size, *numbers):
    image = Image.fromarray(np.load(source).astype(np.uint8), "RGB")
    views = []
    for start in range(0, len(numbers), 8):
        left, top, width, height, flip, brightness, hue, hue_first = numbers[start : start + 8]
        views.append(
            view(
                image, int(size), int(left), int(top), int(width), int(height), flip == "1", float(brightness),
                float(hue), hue_first == "1",
            )
        )
    np.save(target, np.concatenate([np.asarray(v) for v in views]).astype(np.float32))


if __name__ == "__main__":
    if len(sys.argv) < 12:
        sys.exit(__doc__)
    main(*sys.argv[1:])
