// libpng behind functions that never jump: libpng reports errors with longjmp, which must not cross Swift frames.
#ifndef CATENA_CPNG_H
#define CATENA_CPNG_H

#include <stddef.h>
#include <stdint.h>

// How reading ended.
enum {
  CATENA_PNG_OK = 0,
  // The data ends before the image is complete.
  CATENA_PNG_TRUNCATED = 1,
  // libpng refused the data: `message` says why.
  CATENA_PNG_MALFORMED = 2,
  // No memory.
  CATENA_PNG_OUT_OF_MEMORY = 3,
};

typedef struct {
  uint32_t width, height;
  // 1, 2, 4, 8 or 16, and the colour type as the file states them.
  uint8_t bit_depth, color_type;
  // Samples per pixel in the rows: 1 (grey or palette index), 2 (grey, alpha), 3 or 4.
  uint8_t channels;
  // Entries of the palette.
  uint16_t palette_count;
  // Red, green, blue of each entry.
  uint8_t palette[256][3];
  // What libpng said when it refused the data.
  char message[128];
} catena_png_info;

typedef struct catena_png_reader catena_png_reader;

// Starts reading the `count` bytes at `bytes`, which must stay until catena_png_reader_free. NULL without memory.
catena_png_reader *catena_png_reader_create(const uint8_t *bytes, size_t count);

// Reads all that stands before the pixels.
int catena_png_read_header(catena_png_reader *reader, catena_png_info *info);

// Reads the pixels into `rows` (`height` rows of `width` x `channels` samples; one byte per sample up to bit depth 8,
// else two, the high byte first; no gamma, no alpha, no palette applied, and samples below 8 bits are not scaled), then
// the chunks up to the end.
int catena_png_read_pixels(catena_png_reader *reader, catena_png_info *info, uint8_t *rows);

// The EXIF block and its length, NULL and 0 if there is none. It belongs to the reader. After catena_png_read_pixels.
const uint8_t *catena_png_exif(catena_png_reader *reader, size_t *count);

void catena_png_reader_free(catena_png_reader *reader);

// Encodes 8-bit pixels, `channels` (1: grey, 3: RGB) interleaved, without gaps between rows. The result has *count bytes
// and is freed with free(); NULL without memory.
uint8_t *catena_png_encode(const uint8_t *pixels, uint32_t width, uint32_t height, int channels, size_t *count);

#endif
