// Threads, and how work is divided among them.
#pragma once

#include <stdint.h>

#include "levels.h"

namespace statewise {

bool has_openmp();

// Calls body(context, part) for every part, each on a thread of its own where there are threads.
void parallel(int parts, void (*body)(void* context, int part), void* context);

// Calls body(context, part, parts) on threads that all run at the same time, so that they may wait
// for each other: on as many as asked for, or on fewer, or on the caller's alone.
void parallel_team(int parts, void (*body)(void* context, int part, int parts), void* context);

// Lets another thread have the processor.
void yield_thread();

// How many parts `work` elements deserve: waking a thread for fewer costs more than it saves.
inline int parts_for(int64_t work, int threads) {
  constexpr int64_t worth_a_thread = 16384;
  const int64_t useful = work / worth_a_thread;
  const int parts = useful < threads ? static_cast<int>(useful) : threads;
  return parts < 1 ? 1 : parts;
}

// Runs one kernel of a table, at the level in use, on all parts.
template <class Arguments>
void run(const Kernel<Arguments> (&table)[level_count], const Arguments& arguments, int64_t work,
         int threads) {
  struct Call {
    Kernel<Arguments> kernel;
    const Arguments& arguments;
    int parts;
  } call{table[level()], arguments, parts_for(work, threads)};
  parallel(
      call.parts,
      [](void* context, int part) {
        const Call& call = *static_cast<Call*>(context);
        call.kernel(call.arguments, part, call.parts);
      },
      &call);
}

// The same for kernels whose parts wait for each other.
template <class Arguments>
void run_team(const Kernel<Arguments> (&table)[level_count], const Arguments& arguments,
              int64_t work, int threads) {
  struct Call {
    Kernel<Arguments> kernel;
    const Arguments& arguments;
  } call{table[level()], arguments};
  parallel_team(
      parts_for(work, threads),
      [](void* context, int part, int parts) {
        const Call& call = *static_cast<Call*>(context);
        call.kernel(call.arguments, part, parts);
      },
      &call);
}

}  // namespace statewise
