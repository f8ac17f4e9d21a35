// Every kernel exists once per level of instructions; this file names them and picks one.
#pragma once

#include <stdint.h>

namespace statewise {

// What a call of a kernel does: part `part` of `parts` of the work, on thread `thread` of `threads`.
// Memory of its own is the thread's, which may do many parts.
struct Share {
  int part, parts;
  int thread, threads;
  // Of so many pieces of work, from the first of this part to the one after the last.
  int64_t begin(int64_t pieces) const { return pieces * part / parts; }
  int64_t end(int64_t pieces) const { return pieces * (part + 1) / parts; }
};

template <class Arguments>
using Kernel = void (*)(const Arguments&, Share share);

constexpr const char* level_names[] = {"portable", "avx2", "avx512"};
constexpr int level_count = 3;

bool level_built(int level);      // compiled into this module
bool level_supported(int level);  // compiled, and this processor has it
int level();                      // the one in use: the highest, or the one that was set
void set_level(int level);        // must be supported

}  // namespace statewise

// Declares a kernel at every level, and `table_of_NAME`, indexed by level.
#ifdef STATEWISE_X86_LEVELS
#define STATEWISE_KERNEL(name, Arguments)                                   \
  namespace portable { void name(const Arguments&, Share share); } \
  namespace avx2 { void name(const Arguments&, Share share); }     \
  namespace avx512 { void name(const Arguments&, Share share); }   \
  constexpr Kernel<Arguments> table_of_##name[] = {portable::name, avx2::name, avx512::name};
#else
#define STATEWISE_KERNEL(name, Arguments)                                   \
  namespace portable { void name(const Arguments&, Share share); } \
  constexpr Kernel<Arguments> table_of_##name[] = {portable::name, nullptr, nullptr};
#endif
