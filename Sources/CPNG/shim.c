#include "CPNG.h"

#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

struct catena_png_reader {
  png_structp png;
  png_infop info;
  const uint8_t *bytes;
  size_t count, offset;
  int status;
  char message[128];
};

static void keep_error(png_structp png, png_const_charp message) {
  catena_png_reader *reader = png_get_error_ptr(png);
  if (reader->status == CATENA_PNG_OK) reader->status = CATENA_PNG_MALFORMED;
  strncpy(reader->message, message, sizeof reader->message - 1);
  png_longjmp(png, 1);
}

// A library does not print; libpng's own handler would.
static void ignore_warning(png_structp png, png_const_charp message) {
  (void)png;
  (void)message;
}

static void read_bytes(png_structp png, png_bytep target, size_t count) {
  catena_png_reader *reader = png_get_io_ptr(png);
  if (reader->count - reader->offset < count) {
    reader->status = CATENA_PNG_TRUNCATED;
    png_error(png, "the data ends before the image is complete");
  }
  memcpy(target, reader->bytes + reader->offset, count);
  reader->offset += count;
}

catena_png_reader *catena_png_reader_create(const uint8_t *bytes, size_t count) {
  catena_png_reader *reader = calloc(1, sizeof *reader);
  if (!reader) return NULL;
  reader->bytes = bytes;
  reader->count = count;
  // libpng catches its own errors inside these two and then returns NULL.
  reader->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, reader, keep_error, ignore_warning);
  if (reader->png) reader->info = png_create_info_struct(reader->png);
  if (!reader->info) {
    catena_png_reader_free(reader);
    return NULL;
  }
  png_set_read_fn(reader->png, reader, read_bytes);
  // The caller looks at the size before it allocates, and says more about it than libpng does.
  png_set_user_limits(reader->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  // No text, profile or other side chunk may take more than this; pixels are limited by the caller.
  png_set_chunk_malloc_max(reader->png, 16 << 20);
  png_set_chunk_cache_max(reader->png, 128);
  return reader;
}

static int failed(catena_png_reader *reader, catena_png_info *info) {
  memcpy(info->message, reader->message, sizeof info->message);
  return reader->status;
}

int catena_png_read_header(catena_png_reader *reader, catena_png_info *info) {
  memset(info, 0, sizeof *info);
  if (setjmp(png_jmpbuf(reader->png))) return failed(reader, info);
  png_read_info(reader->png, reader->info);
  info->width = png_get_image_width(reader->png, reader->info);
  info->height = png_get_image_height(reader->png, reader->info);
  info->bit_depth = png_get_bit_depth(reader->png, reader->info);
  info->color_type = png_get_color_type(reader->png, reader->info);
  info->channels = png_get_channels(reader->png, reader->info);
  png_colorp palette = NULL;
  int palette_count = 0;
  if (png_get_PLTE(reader->png, reader->info, &palette, &palette_count)) {
    info->palette_count = (uint16_t)(palette_count < 256 ? palette_count : 256);
    for (int i = 0; i < info->palette_count; i++) {
      info->palette[i][0] = palette[i].red;
      info->palette[i][1] = palette[i].green;
      info->palette[i][2] = palette[i].blue;
    }
  }
  return CATENA_PNG_OK;
}

int catena_png_read_pixels(catena_png_reader *reader, catena_png_info *info, uint8_t *rows) {
  if (setjmp(png_jmpbuf(reader->png))) return failed(reader, info);
  png_set_packing(reader->png);
  int passes = png_set_interlace_handling(reader->png);
  png_read_update_info(reader->png, reader->info);
  size_t row_bytes = png_get_rowbytes(reader->png, reader->info);
  for (int pass = 0; pass < passes; pass++)
    for (uint32_t y = 0; y < info->height; y++) png_read_row(reader->png, rows + y * row_bytes, NULL);
  png_read_end(reader->png, reader->info);
  return CATENA_PNG_OK;
}

const uint8_t *catena_png_exif(catena_png_reader *reader, size_t *count) {
  png_uint_32 length = 0;
  png_bytep bytes = NULL;
  *count = 0;
  if (!png_get_eXIf_1(reader->png, reader->info, &length, &bytes)) return NULL;
  *count = length;
  return bytes;
}

void catena_png_reader_free(catena_png_reader *reader) {
  if (!reader) return;
  if (reader->png) png_destroy_read_struct(&reader->png, &reader->info, NULL);
  free(reader);
}

typedef struct {
  uint8_t *bytes;
  size_t count, capacity;
} growing_buffer;

static void append_bytes(png_structp png, png_bytep bytes, size_t count) {
  growing_buffer *buffer = png_get_io_ptr(png);
  if (buffer->capacity - buffer->count < count) {
    size_t capacity = 2 * (buffer->count + count);
    uint8_t *larger = realloc(buffer->bytes, capacity);
    if (!larger) png_error(png, "no memory");
    buffer->bytes = larger;
    buffer->capacity = capacity;
  }
  memcpy(buffer->bytes + buffer->count, bytes, count);
  buffer->count += count;
}

static void jump(png_structp png, png_const_charp message) {
  (void)message;
  png_longjmp(png, 1);
}

static void flush_nothing(png_structp png) { (void)png; }

uint8_t *catena_png_encode(const uint8_t *pixels, uint32_t width, uint32_t height, int channels, size_t *count) {
  *count = 0;
  // On the heap, so that its fields are not in registers when libpng jumps.
  growing_buffer *buffer = calloc(1, sizeof *buffer);
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, jump, ignore_warning);
  png_infop info = png ? png_create_info_struct(png) : NULL;
  uint8_t *volatile result = NULL;
  if (buffer && info && !setjmp(png_jmpbuf(png))) {
    png_set_write_fn(png, buffer, append_bytes, flush_nothing);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    int color_type = channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB;
    png_set_IHDR(png, info, width, height, 8, color_type, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (uint32_t y = 0; y < height; y++) png_write_row(png, pixels + (size_t)y * width * channels);
    png_write_end(png, info);
    result = buffer->bytes;
    *count = buffer->count;
  }
  if (png) png_destroy_write_struct(&png, &info);
  if (buffer && !result) free(buffer->bytes);
  free(buffer);
  return result;
}
