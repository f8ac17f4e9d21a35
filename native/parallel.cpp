#include "parallel.h"

#include <atomic>
#include <memory>
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

#ifdef _OPENMP
namespace {

// What a thread does first: its own stretch of the parts, whose memory its cache may still have
// from the call before. Then it helps the others.
struct alignas(64) Stretch {
  std::atomic<int> next;
  int end;
};

}  // namespace
#endif

void parallel(int parts, int threads, void (*body)(void*, Share), void* context) {
#ifdef _OPENMP
  if (threads > 1) {
    const std::unique_ptr<Stretch[]> stretches(new Stretch[threads]);
    for (int i = 0; i < threads; i++) {
      stretches[i].next = static_cast<int>(static_cast<int64_t>(parts) * i / threads);
      stretches[i].end = static_cast<int>(static_cast<int64_t>(parts) * (i + 1) / threads);
    }
#pragma omp parallel num_threads(threads)
    {
      const int thread = omp_get_thread_num();
      for (int i = 0; i < threads; i++) {
        Stretch& stretch = stretches[(thread + i) % threads];
        for (int part; (part = stretch.next++) < stretch.end;)
          body(context, {part, parts, thread, threads});
      }
    }
    return;
  }
#endif
  for (int part = 0; part < parts; part++) body(context, {part, parts, 0, 1});
}

void parallel_team(int threads, void (*body)(void*, Share), void* context) {
#ifdef _OPENMP
  if (threads > 1) {
#pragma omp parallel num_threads(threads)
    {
      const int thread = omp_get_thread_num(), all = omp_get_num_threads();
      body(context, {thread, all, thread, all});
    }
    return;
  }
#endif
  body(context, {0, 1, 0, 1});
}

void yield_thread() { std::this_thread::yield(); }

}  // namespace statewise
