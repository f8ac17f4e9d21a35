#include "levels.h"

namespace statewise {
namespace {

int highest() {
  int best = 0;
  for (int level = 1; level < level_count; level++)
    if (level_supported(level)) best = level;
  return best;
}

int chosen = -1;

}  // namespace

bool level_built(int level) {
#ifdef STATEWISE_X86_LEVELS
  return level >= 0 && level < level_count;
#else
  return level == 0;
#endif
}

bool level_supported(int level) {
  if (!level_built(level)) return false;
#ifdef STATEWISE_X86_LEVELS
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  if (level == 1) return avx2;
  if (level == 2)
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
  return level == 0;
}

int level() {
  if (chosen < 0) chosen = highest();
  return chosen;
}

void set_level(int level) { chosen = level; }

}  // namespace statewise
