#include <nanobind/stl/string.h>

#include <fstream>

#include "arrays.h"
#include "ops.h"

#if defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__linux__)
#include <sys/mman.h>
#endif

namespace statewise {

#define DECLARE(op) void bind_##op(nb::module_& module);
STATEWISE_OPS(DECLARE)

namespace {

// Bytes of one of the first processor's caches, where Linux says.
long long listed_cache(int index) {
  long long found = 0;
#if defined(__linux__)
  // Not sysconf: under virtual machines it has been seen to answer ten times the size.
  const std::string path =
      "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/size";
  std::ifstream file(path);
  if (file >> found) found *= 1024;  // the file says 32768K
#endif
  return found;
}

int64_t find_cache() {
  long long found = 0;
#if defined(__linux__)
  for (int index = 4; index >= 0 && found <= 0; index--) found = listed_cache(index);
#elif defined(__APPLE__)
  size_t size = sizeof found;
  if (sysctlbyname("hw.l2cachesize", &found, &size, nullptr, 0)) found = 0;
#endif
  return found > 0 ? found : 32LL << 20;  // a guess where the system does not say
}

int64_t cache = find_cache();

}  // namespace

Exchanged exchanged;

int64_t last_level_cache() { return cache; }

// The second level's cache is listed at 2.
int64_t cache_of_a_core() {
  static const int64_t found = listed_cache(2);
  return found > 0 ? found : 1 << 20;  // a guess that suits most
}

namespace {

// Memory fresh from the system costs a fault for every page that is touched first: for 32 MB in
// pages of 4 kB 15 ms have been measured under a virtual machine, in pages of 2 MB 1.5 ms.
void use_large_pages(const Array& array) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t page = 2 << 20;
  const uintptr_t at = reinterpret_cast<uintptr_t>(array.data());
  const uintptr_t begin = (at + page - 1) & ~(page - 1), end = (at + array.nbytes()) & ~(page - 1);
  // Refused where the system has no such pages; the memory is as good as before then.
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

bool read_directly(nb::object type) {
  const nb::object capsule = nb::getattr(type, "__dlpack_c_exchange_api__", nb::none());
  if (capsule.is_none()) return false;
  const void* found = PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api");
  if (!found) throw nb::python_error();
  const auto* table = static_cast<const Exchange*>(found);
  if (table->major != 1) return false;  // another layout
  exchanged = {reinterpret_cast<PyTypeObject*>(type.release().ptr()), table};
  return true;
}

std::string levels(bool (*which)(int)) {
  std::string text;
  for (int i = 0; i < level_count; i++)
    if (which(i)) text += (text.empty() ? "" : ", ") + std::string(level_names[i]);
  return text;
}

void set_level_by_name(const std::string& name) {
  for (int i = 0; i < level_count; i++) {
    if (name != level_names[i]) continue;
    if (!level_supported(i))
      throw nb::value_error(("the level " + name + " is " +
                             (level_built(i) ? "more than this processor has" : "not in this build") +
                             "; there are " + levels(level_supported))
                                .c_str());
    return set_level(i);
  }
  throw nb::value_error(
      ("there is no level of instructions " + name + "; there are " + levels(level_supported)).c_str());
}

const char* vendor() {
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
  __builtin_cpu_init();
  if (__builtin_cpu_is("intel")) return "intel";
  if (__builtin_cpu_is("amd")) return "amd";
#endif
  return "unknown";
}

nb::dict about() {
  nb::dict facts;
  facts["vendor"] = vendor();
  facts["level"] = level_names[level()];
  facts["levels"] = levels(level_supported);
  facts["openmp"] = has_openmp();
  facts["cache"] = last_level_cache();
#if defined(__clang__)
  facts["compiler"] = "clang " __clang_version__;
#elif defined(__GNUC__)
  facts["compiler"] = "gcc " __VERSION__;
#elif defined(_MSC_VER)
  facts["compiler"] = "msvc " + std::to_string(_MSC_VER);
#else
  facts["compiler"] = "unknown";
#endif
  return facts;
}

}  // namespace
}  // namespace statewise

NB_MODULE(_native, module) {
  using namespace statewise;
  using namespace nb::literals;
  module.doc() = "The C++ core: kernels that write into the arrays they are given.";
  module.def("about", &about,
             "Return who made the processor, the level in use, those there are, OpenMP or not, the "
             "cache, the compiler.");
  module.def("set_level", &set_level_by_name, "name"_a,
             "Use the kernels of one level of instructions.");
  module.def(
      "set_cache", [](int64_t bytes) { cache = bytes; }, "bytes"_a,
      "Take the last-level cache to be this large; tensors beyond it are written around it.");
  module.def("read_directly", &read_directly, "type"_a,
             "Read arrays of this type through its table of C functions from now on; return "
             "whether it has one.");
  module.def("use_large_pages", &use_large_pages, "array"_a,
             "Ask the system for large pages for fresh contiguous memory, where it has any.");
#define BIND(op) bind_##op(module);
  STATEWISE_OPS(BIND)
}
