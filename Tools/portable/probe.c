// One check of the OpenCL driver per run: probe NAME. Prints one line, "ok: ...", "FAILED: ..." or, where the device is
// not one for the check, "not tried: ...", and exits with 0, 1 or 2.
// The loader is opened at run time, so that the program starts where there is none. Every check is a process of its
// own: one that crashes or hangs takes no other with it.

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The calls that are used, looked up in the loader.
#define CALLS(X)                                                                                                  \
  X(clGetPlatformIDs) X(clGetPlatformInfo) X(clGetDeviceIDs) X(clGetDeviceInfo) X(clCreateContext)                \
  X(clCreateCommandQueue) X(clCreateProgramWithSource) X(clBuildProgram) X(clGetProgramBuildInfo)                 \
  X(clCreateKernel) X(clSetKernelArg) X(clCreateBuffer) X(clEnqueueWriteBuffer) X(clEnqueueReadBuffer)            \
  X(clEnqueueNDRangeKernel) X(clFinish)
#define DECLARE(call) static __typeof__(call) *p_##call;
CALLS(DECLARE)

typedef enum { OK, FAILED, NOT_TRIED } Verdict;

static void finish(Verdict verdict, const char *format, ...) {
  const char *const words[] = {"ok", "FAILED", "not tried"};
  va_list values;
  va_start(values, format);
  printf("%s: ", words[verdict]);
  vprintf(format, values);
  printf("\n");
  va_end(values);
  exit((int)verdict);
}

static void check(cl_int code, const char *what) {
  if (code != CL_SUCCESS) finish(FAILED, "%s returned %d", what, code);
}

static void open_loader(void) {
  void *loader = dlopen("libOpenCL.so.1", RTLD_NOW);
  if (!loader) finish(FAILED, "libOpenCL.so.1: %s", dlerror());
#define LOOK_UP(call)                                                                                             \
  p_##call = (__typeof__(call) *)dlsym(loader, #call);                                                            \
  if (!p_##call) finish(FAILED, "libOpenCL.so.1 lacks " #call);
  CALLS(LOOK_UP)
}

// The first GPU, else the first device; where there is none, `problem` says why.
static cl_device_id find(char *problem, size_t size) {
  open_loader();
  cl_platform_id platforms[16];
  cl_uint count = 0;
  const cl_int code = p_clGetPlatformIDs(16, platforms, &count);
  if (code != CL_SUCCESS || count == 0) {
    const char *named = getenv("OCL_ICD_VENDORS");
    snprintf(problem, size, "no platform (clGetPlatformIDs returned %d): OCL_ICD_VENDORS %s name a driver's library or a"
             " folder of .icd files that do", code, named && *named ? "is set, and must" : "is not set, and may");
    return NULL;
  }
  const cl_device_type types[] = {CL_DEVICE_TYPE_GPU, CL_DEVICE_TYPE_ALL};
  for (int type = 0; type < 2; ++type) {
    for (cl_uint i = 0; i < count && i < 16; ++i) {
      cl_device_id device;
      if (p_clGetDeviceIDs(platforms[i], types[type], 1, &device, NULL) == CL_SUCCESS) return device;
    }
  }
  snprintf(problem, size, "%u platform(s), no device", count);
  return NULL;
}

static cl_device_id choose(void) {
  char problem[300];
  const cl_device_id device = find(problem, sizeof problem);
  if (!device) finish(FAILED, "%s", problem);
  return device;
}

static int is_nvidia(cl_device_id device) {
  cl_uint vendor = 0;
  p_clGetDeviceInfo(device, CL_DEVICE_VENDOR_ID, sizeof vendor, &vendor, NULL);
  return vendor == 0x10de;
}

// For what other makers' devices do not have.
static void expect_nvidia(void) {
  if (!is_nvidia(choose())) finish(NOT_TRIED, "the device is not NVIDIA's");
}

typedef struct {
  cl_device_id device;
  cl_context context;
  cl_command_queue queue;
} Machine;

static Machine open_machine(void) {
  Machine machine = {.device = choose()};
  cl_int code;
  machine.context = p_clCreateContext(NULL, 1, &machine.device, NULL, NULL, &code);
  check(code, "clCreateContext");
  machine.queue = p_clCreateCommandQueue(machine.context, machine.device, 0, &code);
  check(code, "clCreateCommandQueue");
  return machine;
}

// The kernel `run` of a source text. Its arguments: words in, words out, and local memory where `local_bytes` > 0.
static void run(
    const char *source, size_t items, const unsigned *input, size_t input_words, unsigned *output, size_t output_words,
    size_t local_bytes) {
  const Machine machine = open_machine();
  cl_int code;
  cl_program program = p_clCreateProgramWithSource(machine.context, 1, &source, NULL, &code);
  check(code, "clCreateProgramWithSource");
  code = p_clBuildProgram(program, 1, &machine.device, "", NULL, NULL);
  if (code != CL_SUCCESS) {
    static char log[4000];
    p_clGetProgramBuildInfo(program, machine.device, CL_PROGRAM_BUILD_LOG, sizeof log - 1, log, NULL);
    for (char *c = log; *c; ++c) {
      if (*c == '\n') *c = ' ';
    }
    finish(FAILED, "clBuildProgram returned %d: %s", code, log[0] ? log : "the log is empty (is libnvidia-nvvm missing?)");
  }
  cl_kernel kernel = p_clCreateKernel(program, "run", &code);
  check(code, "clCreateKernel");
  cl_mem in = p_clCreateBuffer(machine.context, CL_MEM_READ_WRITE, input_words * 4, NULL, &code);
  check(code, "clCreateBuffer");
  cl_mem out = p_clCreateBuffer(machine.context, CL_MEM_READ_WRITE, output_words * 4, NULL, &code);
  check(code, "clCreateBuffer");
  check(p_clEnqueueWriteBuffer(machine.queue, in, CL_TRUE, 0, input_words * 4, input, 0, NULL, NULL), "the write");
  check(p_clSetKernelArg(kernel, 0, sizeof in, &in), "clSetKernelArg 0");
  check(p_clSetKernelArg(kernel, 1, sizeof out, &out), "clSetKernelArg 1");
  if (local_bytes > 0) check(p_clSetKernelArg(kernel, 2, local_bytes, NULL), "clSetKernelArg of local memory");
  check(p_clEnqueueNDRangeKernel(machine.queue, kernel, 1, NULL, &items, &items, 0, NULL, NULL), "the launch");
  check(p_clFinish(machine.queue), "clFinish");
  check(p_clEnqueueReadBuffer(machine.queue, out, CL_TRUE, 0, output_words * 4, output, 0, NULL, NULL), "the read");
}

static unsigned bits(float value) {
  unsigned result;
  memcpy(&result, &value, 4);
  return result;
}

// MARK: Checks

static void check_devices(void) {
  const cl_device_id device = choose();
  char name[200] = "", driver[200] = "", version[200] = "";
  cl_ulong memory = 0, largest = 0, local = 0;
  cl_uint units = 0, clock = 0, major = 0, minor = 0;
  p_clGetDeviceInfo(device, CL_DEVICE_NAME, sizeof name, name, NULL);
  p_clGetDeviceInfo(device, CL_DRIVER_VERSION, sizeof driver, driver, NULL);
  p_clGetDeviceInfo(device, CL_DEVICE_VERSION, sizeof version, version, NULL);
  p_clGetDeviceInfo(device, CL_DEVICE_GLOBAL_MEM_SIZE, 8, &memory, NULL);
  p_clGetDeviceInfo(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, 8, &largest, NULL);
  p_clGetDeviceInfo(device, CL_DEVICE_LOCAL_MEM_SIZE, 8, &local, NULL);
  p_clGetDeviceInfo(device, CL_DEVICE_MAX_COMPUTE_UNITS, 4, &units, NULL);
  p_clGetDeviceInfo(device, CL_DEVICE_MAX_CLOCK_FREQUENCY, 4, &clock, NULL);
  // cl_nv_device_attribute_query
  p_clGetDeviceInfo(device, 0x4000, 4, &major, NULL);
  p_clGetDeviceInfo(device, 0x4001, 4, &minor, NULL);
  finish(
      OK, "%s, %s, driver %s, %u units at %u MHz, compute capability %u.%u, %.1f GiB (%.1f GiB at once), %llu B local",
      name, version, driver, units, clock, major, minor, memory / 0x1p30, largest / 0x1p30, (unsigned long long)local);
}

// Ends well with the first of `names` that can be opened; else says why none can.
static void try_libraries(const char *const *names, char *problems, size_t size) {
  size_t length = 0;
  for (; *names; ++names) {
    if (dlopen(*names, RTLD_NOW)) finish(OK, "%s", *names);
    length += (size_t)snprintf(problems + length, size - length, "%s; ", dlerror());
    if (length >= size) return;
  }
}

static void check_loader(void) {
  const char *const names[] = {"libOpenCL.so.1", NULL};
  char problems[2000] = "";
  try_libraries(names, problems, sizeof problems);
  finish(FAILED, "%s", problems);
}

static void check_vendor(void) {
  const char *named = getenv("OCL_ICD_VENDORS");
  const char *const library[] = {named && strstr(named, ".so") ? named : NULL, NULL};
  const char *const known[] = {"libnvidia-opencl.so.1", "libamdocl64.so", "libigdrcl.so", "libpocl.so.2", NULL};
  char problems[2000] = "", none[300];
  try_libraries(library, problems, sizeof problems);
  if (!*problems) try_libraries(known, problems, sizeof problems);
  // The loader knows more names.
  const cl_device_id device = find(none, sizeof none);
  if (!device) finish(FAILED, "%s", problems);
  char vendor[200] = "";
  p_clGetDeviceInfo(device, CL_DEVICE_VENDOR, sizeof vendor, vendor, NULL);
  finish(OK, "%s's, by the loader", vendor);
}

static void check_nvvm(void) {
  const char *const names[] = {"libnvidia-nvvm.so.4", "libnvidia-nvvm.so", NULL};
  char problems[2000] = "", none[300];
  try_libraries(names, problems, sizeof problems);
  const cl_device_id device = find(none, sizeof none);
  if (device && !is_nvidia(device)) finish(NOT_TRIED, "the device is not NVIDIA's");
  finish(FAILED, "%s", problems);
}

static void check_kernel(void) {
  unsigned input[64], output[64];
  for (int i = 0; i < 64; ++i) input[i] = bits((float)i);
  run("kernel void run(global float *in, global float *out) {"
      "  out[get_global_id(0)] = 2.0f * in[get_global_id(0)]; }",
      64, input, 64, output, 64, 0);
  for (int i = 0; i < 64; ++i) {
    if (output[i] != bits(2.0f * i)) finish(FAILED, "a wrong result at %d", i);
  }
  finish(OK, "64 products are right");
}

static void check_ptx(void) {
  expect_nvidia();
  unsigned input[32] = {0}, output[32];
  run("kernel void run(global uint *in, global uint *out) {"
      "  uint lane; asm volatile(\"mov.u32 %0, %%laneid;\" : \"=r\"(lane)); out[get_global_id(0)] = lane; }",
      32, input, 32, output, 32, 0);
  for (unsigned i = 0; i < 32; ++i) {
    if (output[i] != i) finish(FAILED, "work-item %u is lane %u", i, output[i]);
  }
  finish(OK, "work-items are lanes in order");
}

// left (16 x depth) times right (depth x 8), of small integers; lanes hold the fragments as the PTX manual draws them.
static void check_mma(int is_bf16) {
  expect_nvidia();
  const int depth = is_bf16 ? 16 : 8;
  unsigned input[16 * 16 + 16 * 8], output[16 * 8];
  float left[16][16], right[16][8];
  for (int r = 0; r < 16; ++r) {
    for (int k = 0; k < depth; ++k) input[r * depth + k] = bits(left[r][k] = (float)((r * 5 + k * 3) % 7 - 3));
  }
  for (int k = 0; k < depth; ++k) {
    for (int c = 0; c < 8; ++c) input[16 * depth + k * 8 + c] = bits(right[k][c] = (float)((k * 4 + c * 9) % 11 - 5));
  }
  const char *head =
      "kernel void run(global uint *in, global float *out) {"
      "  int lane = get_local_id(0), g = lane / 4, t = lane % 4; float d0 = 0, d1 = 0, d2 = 0, d3 = 0;";
  const char *tf32 =
      "  global uint *a = in, *b = in + 128;"
      "  asm volatile(\"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9},"
      " {%0,%1,%2,%3};\" : \"+f\"(d0), \"+f\"(d1), \"+f\"(d2), \"+f\"(d3) : \"r\"(a[g * 8 + t]),"
      " \"r\"(a[(g + 8) * 8 + t]), \"r\"(a[g * 8 + t + 4]), \"r\"(a[(g + 8) * 8 + t + 4]), \"r\"(b[t * 8 + g]),"
      " \"r\"(b[(t + 4) * 8 + g]));";
  const char *bf16 =
      "  global uint *a = in, *b = in + 256; uint w[6];"
      "  for (int i = 0; i < 4; ++i) { int r = g + i % 2 * 8, k = 2 * t + i / 2 * 8;"
      "    w[i] = a[r * 16 + k] >> 16 | (a[r * 16 + k + 1] & 0xffff0000u); }"
      "  for (int i = 0; i < 2; ++i) { int k = 2 * t + i * 8;"
      "    w[4 + i] = b[k * 8 + g] >> 16 | (b[(k + 1) * 8 + g] & 0xffff0000u); }"
      "  asm volatile(\"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9},"
      " {%0,%1,%2,%3};\" : \"+f\"(d0), \"+f\"(d1), \"+f\"(d2), \"+f\"(d3) : \"r\"(w[0]), \"r\"(w[1]), \"r\"(w[2]),"
      " \"r\"(w[3]), \"r\"(w[4]), \"r\"(w[5]));";
  const char *tail =
      "  out[g * 8 + 2 * t] = d0; out[g * 8 + 2 * t + 1] = d1; out[(g + 8) * 8 + 2 * t] = d2;"
      "  out[(g + 8) * 8 + 2 * t + 1] = d3; }";
  char source[4000];
  snprintf(source, sizeof source, "%s%s%s", head, is_bf16 ? bf16 : tf32, tail);
  run(source, 32, input, 24 * (size_t)depth, output, 128, 0);
  for (int r = 0; r < 16; ++r) {
    for (int c = 0; c < 8; ++c) {
      float sum = 0;
      for (int k = 0; k < depth; ++k) sum += left[r][k] * right[k][c];
      if (output[r * 8 + c] != bits(sum)) finish(FAILED, "a wrong sum in row %d, column %d", r, c);
    }
  }
  finish(OK, "128 sums are exact");
}

static void check_ldmatrix(void) {
  expect_nvidia();
  unsigned input[128], output[128];
  for (unsigned i = 0; i < 128; ++i) input[i] = i * 3 + 1;
  run("kernel void run(global uint *in, global uint *out) {"
      "  local uint tile[128] __attribute__((aligned(16))); int lane = get_local_id(0);"
      "  for (int i = 0; i < 4; ++i) tile[i * 32 + lane] = in[i * 32 + lane]; barrier(CLK_LOCAL_MEM_FENCE);"
      "  uint r0, r1, r2, r3; uint address = (uint)(size_t)(tile + lane * 4);"
      "  asm volatile(\"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\" : \"=r\"(r0), \"=r\"(r1),"
      "   \"=r\"(r2), \"=r\"(r3) : \"r\"(address) : \"memory\");"
      "  out[lane] = r0; out[32 + lane] = r1; out[64 + lane] = r2; out[96 + lane] = r3; }",
      32, input, 128, output, 128, 0);
  for (int i = 0; i < 128; ++i) {
    if (output[i] != input[i]) finish(FAILED, "lane %d holds another word of matrix %d", i % 32, i / 32);
  }
  finish(OK, "four matrices are where the manual says");
}

static void check_cp_async(void) {
  expect_nvidia();
  unsigned input[256], output[256];
  for (unsigned i = 0; i < 256; ++i) input[i] = i * 7 + 2;
  run("kernel void run(global uint *in, global uint *out) {"
      "  local uint tile[256] __attribute__((aligned(16))); int item = get_local_id(0);"
      "  uint address = (uint)(size_t)(tile + item * 4); int bytes = item < 32 ? 16 : 0;"
      "  asm volatile(\"cp.async.cg.shared.global [%0], [%1], 16, %2;\" :: \"r\"(address), \"l\"(in + item * 4),"
      "   \"r\"(bytes) : \"memory\");"
      "  asm volatile(\"cp.async.commit_group;\" ::: \"memory\"); asm volatile(\"cp.async.wait_group 0;\" ::: \"memory\");"
      "  barrier(CLK_LOCAL_MEM_FENCE); for (int i = 0; i < 4; ++i) out[i * 64 + item] = tile[i * 64 + item]; }",
      64, input, 256, output, 256, 0);
  for (int i = 0; i < 256; ++i) {
    if (output[i] != (i < 128 ? input[i] : 0)) finish(FAILED, "a wrong word at %d", i);
  }
  finish(OK, "copied, and filled with zeros where asked");
}

static void check_local(int is_argument) {
  unsigned input[1] = {0}, output[64];
  run(is_argument
          ? "kernel void run(global uint *in, global uint *out, local uint *memory) { int i = get_local_id(0);"
            "  for (int k = i; k < 16384; k += 64) memory[k] = k; barrier(CLK_LOCAL_MEM_FENCE);"
            "  out[i] = memory[16383 - i]; }"
          : "kernel void run(global uint *in, global uint *out) { local uint memory[16384]; int i = get_local_id(0);"
            "  for (int k = i; k < 16384; k += 64) memory[k] = k; barrier(CLK_LOCAL_MEM_FENCE);"
            "  out[i] = memory[16383 - i]; }",
      64, input, 1, output, 64, is_argument ? 65536 : 0);
  for (unsigned i = 0; i < 64; ++i) {
    if (output[i] != 16383 - i) finish(FAILED, "a wrong word at %u", i);
  }
  finish(OK, "64 KiB of local memory can be used");
}

static void check_buffer(void) {
  const Machine machine = open_machine();
  const size_t bytes = (size_t)30 << 30;
  cl_ulong available = 0;
  p_clGetDeviceInfo(machine.device, CL_DEVICE_GLOBAL_MEM_SIZE, 8, &available, NULL);
  if (available < bytes) finish(NOT_TRIED, "the device has %.1f GiB", available / 0x1p30);
  cl_int code;
  cl_mem memory = p_clCreateBuffer(machine.context, CL_MEM_READ_WRITE, bytes, NULL, &code);
  check(code, "clCreateBuffer of 30 GiB");
  // Its end is what a wrong size would lose.
  const unsigned written = 0x12345678;
  unsigned found = 0;
  check(
      p_clEnqueueWriteBuffer(machine.queue, memory, CL_TRUE, bytes - 4, 4, &written, 0, NULL, NULL),
      "the write of the last word");
  check(
      p_clEnqueueReadBuffer(machine.queue, memory, CL_TRUE, bytes - 4, 4, &found, 0, NULL, NULL),
      "the read of the last word");
  finish(found == written ? OK : FAILED, "the last word of 30 GiB");
}

int main(int count, char **arguments) {
  const char *name = count == 2 ? arguments[1] : "";
  if (!strcmp(name, "loader")) check_loader();
  if (!strcmp(name, "vendor")) check_vendor();
  if (!strcmp(name, "nvvm")) check_nvvm();
  if (!strcmp(name, "device")) check_devices();
  if (!strcmp(name, "kernel")) check_kernel();
  if (!strcmp(name, "ptx")) check_ptx();
  if (!strcmp(name, "mma-tf32")) check_mma(0);
  if (!strcmp(name, "mma-bf16")) check_mma(1);
  if (!strcmp(name, "ldmatrix")) check_ldmatrix();
  if (!strcmp(name, "cp-async")) check_cp_async();
  if (!strcmp(name, "local-static")) check_local(0);
  if (!strcmp(name, "local-argument")) check_local(1);
  if (!strcmp(name, "buffer-30g")) check_buffer();
  finish(FAILED, "usage: probe loader|vendor|nvvm|device|kernel|ptx|mma-tf32|mma-bf16|ldmatrix|cp-async|local-static|"
            "local-argument|buffer-30g");
}
