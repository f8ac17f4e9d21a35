// Kernels against plain loops, on memory that ends where the arrays do: for the sanitizers.
#include <cstdio>

#include "../levels.h"
#include "ops.h"

#define DECLARE(op) bool test_##op();
STATEWISE_OPS(DECLARE)

int main() {
  using namespace statewise;
  bool good = true;
  for (int level = 0; level < level_count; level++) {
    if (!level_supported(level)) continue;
    set_level(level);
#define RUN(op)                                                                                \
  {                                                                                            \
    const bool agrees = test_##op();                                                           \
    std::printf("%s: " #op " %s\n", level_names[level], agrees ? "agrees" : "DISAGREES");      \
    good = good && agrees;                                                                     \
  }
    STATEWISE_OPS(RUN)
  }
  return good ? 0 : 1;
}
