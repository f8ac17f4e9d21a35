#include "parallel.h"

namespace statewise {

bool has_openmp() {
#ifdef _OPENMP
  return true;
#else
  return false;
#endif
}

void parallel(int parts, void (*body)(void*, int), void* context) {
  if (parts == 1) return body(context, 0);
#ifdef _OPENMP
#pragma omp parallel for num_threads(parts) schedule(static, 1)
#endif
  for (int part = 0; part < parts; part++) body(context, part);
}

}  // namespace statewise
