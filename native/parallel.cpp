#include "parallel.h"

#include <thread>

#ifdef _OPENMP
#include <omp.h>
#endif

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

void parallel_team(int parts, void (*body)(void*, int, int), void* context) {
  if (parts == 1) return body(context, 0, 1);
#ifdef _OPENMP
#pragma omp parallel num_threads(parts)
  body(context, omp_get_thread_num(), omp_get_num_threads());
#else
  body(context, 0, 1);
#endif
}

void yield_thread() { std::this_thread::yield(); }

}  // namespace statewise
