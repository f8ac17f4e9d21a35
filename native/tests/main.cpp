// Kernels against plain loops, on memory that ends where the arrays do: for the sanitizers.
#include <cstdio>

#include "../levels.h"

bool test_scan();

int main() {
  using namespace statewise;
  bool good = true;
  for (int level = 0; level < level_count; level++) {
    if (!level_supported(level)) continue;
    set_level(level);
    const bool scan = test_scan();
    std::printf("%s: scan %s\n", level_names[level], scan ? "agrees" : "DISAGREES");
    good = good && scan;
  }
  return good ? 0 : 1;
}
