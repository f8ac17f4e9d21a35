// Every kernel exists once per level of instructions; this file names them and picks one.
#pragma once

namespace statewise {

// A kernel does part `part` of `parts` of the work, on one thread.
template <class Arguments>
using Kernel = void (*)(const Arguments&, int part, int parts);

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
  namespace portable { void name(const Arguments&, int part, int parts); } \
  namespace avx2 { void name(const Arguments&, int part, int parts); }     \
  namespace avx512 { void name(const Arguments&, int part, int parts); }   \
  constexpr Kernel<Arguments> table_of_##name[] = {portable::name, avx2::name, avx512::name};
#else
#define STATEWISE_KERNEL(name, Arguments)                                   \
  namespace portable { void name(const Arguments&, int part, int parts); } \
  constexpr Kernel<Arguments> table_of_##name[] = {portable::name, nullptr, nullptr};
#endif
