// Threads, and how work is divided among them.
#pragma once

#include <stdint.h>

#include "levels.h"

namespace statewise {

bool has_openmp();

// Calls body(context, share) for every part, on so many threads. Each has its own parts to begin
// with, the same ones in call after call; whoever is done takes what others have not begun.
void parallel(int parts, int threads, void (*body)(void* context, Share share), void* context);

// Calls body(context, share) on threads that all run at the same time, so that they may wait
// for each other: on as many as asked for, or on fewer, or on the caller's alone.
void parallel_team(int threads, void (*body)(void* context, Share share), void* context);

// Lets another thread have the processor.
void yield_thread();

// How many threads `work` elements deserve: waking one for fewer costs more than it saves.
inline int threads_for(int64_t work, int threads) {
  constexpr int64_t worth_a_thread = 16384;
  const int64_t useful = work / worth_a_thread;
  const int fewer = useful < threads ? static_cast<int>(useful) : threads;
  return fewer < 1 ? 1 : fewer;
}

// Pieces of work that may be done in any order, each worth a call of the kernel. Threads take them
// a few at a time, since processors that share a machine are seldom equally fast: of two, one did
// the same arithmetic in 1.0 ms where the other needed 1.6, and they changed places within seconds.
// One piece: every thread does an equal part, as what memory bounds does best.
struct Pieces {
  int64_t count = 1;
  int parts(int threads) const {
    if (threads == 1) return 1;
    constexpr int64_t each = 8;  // parts a thread: the last one ends an eighth of a share late
    const int64_t share = (count + threads - 1) / threads;
    return threads * static_cast<int>(share < 1 ? 1 : share < each ? share : each);
  }
};

// One kernel of a table, at the level in use, with what it is called on.
template <class Arguments>
struct Call {
  Kernel<Arguments> kernel;
  const Arguments& arguments;
  static void body(void* context, Share share) {
    const Call& call = *static_cast<Call*>(context);
    call.kernel(call.arguments, share);
  }
};

template <class Arguments>
void run(const Kernel<Arguments> (&table)[level_count], const Arguments& arguments, int64_t work,
         int threads, Pieces pieces = {}) {
  Call<Arguments> call{table[level()], arguments};
  const int useful = threads_for(work, threads);
  parallel(pieces.parts(useful), useful, call.body, &call);
}

// The same for kernels whose threads wait for each other.
template <class Arguments>
void run_team(const Kernel<Arguments> (&table)[level_count], const Arguments& arguments,
              int64_t work, int threads) {
  Call<Arguments> call{table[level()], arguments};
  parallel_team(threads_for(work, threads), call.body, &call);
}

}  // namespace statewise
