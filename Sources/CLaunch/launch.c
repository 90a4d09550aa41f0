// How long threads of a team spin before they sleep, which libgomp reads from the environment when it is loaded.
//
// By itself it lets them spin for milliseconds at the end of every kernel. On a machine with nothing else to do that is as
// good as 5,000 rounds; beside other work, when two threads share a processor, each kernel waits until the spinning one has
// used up its time: traces took five times as long, some twenty. A program may decide that for its own process, a library
// may not, so this is no part of the library.
#include "CLaunch.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

#define SPIN "GOMP_SPINCOUNT="

static int begins_with(const char *text, const char *beginning) {
  return strncmp(text, beginning, strlen(beginning)) == 0;
}

// Starts the program again with the variable, unless it or the policy was set. It costs the dynamic loader's two
// milliseconds. Where it is not possible, libgomp waits as it does.
static void limit_spinning(int argument_count, char **arguments, char **environment) {
  (void)argument_count;
  size_t count = 0;
  for (; environment[count] != NULL; count++) {
    if (begins_with(environment[count], SPIN) || begins_with(environment[count], "OMP_WAIT_POLICY=")) return;
  }
  char program[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", program, sizeof program);
  if (length <= 0 || length == sizeof program) return;
  program[length] = '\0';
  // The loader, where it was asked to run the program, which is then not known by its own name.
  const char *name = strrchr(program, '/');
  if (name == NULL || begins_with(name, "/ld-")) return;
  char *with_limit[count + 2];
  memcpy(with_limit, environment, count * sizeof *environment);
  with_limit[count] = SPIN "5000";
  with_limit[count + 1] = NULL;
  execve(program, arguments, with_limit);
}

// The C library has not read the environment yet, and libraries have not run.
__attribute__((section(".preinit_array"), used))
static void (*const before_everything)(int, char **, char **) = limit_spinning;
