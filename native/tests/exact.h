// What the tests of kernels share: numbers, and arrays that end where they say.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <vector>

namespace statewise {

// bfloat16 as its upper bits, rounded here by way of float arithmetic alone.
struct Half {
  uint16_t bits;
  Half(double x = 0) {
    float f = static_cast<float>(x);
    uint32_t u;
    std::memcpy(&u, &f, 4);
    bits = static_cast<uint16_t>((u + 0x8000) >> 16);
  }
  operator double() const {
    const uint32_t u = static_cast<uint32_t>(bits) << 16;
    float f;
    std::memcpy(&f, &u, 4);
    return f;
  }
};

// Arrays of exactly their size, on the heap, so that a step beyond is seen; NaN until written.
// They begin with a line of the cache, or no kernel would write around the caches.
constexpr std::align_val_t cache_line{64};

template <class T>
struct Exact {
  struct Delete {
    void operator()(T* array) const { ::operator delete[](array, cache_line); }
  };
  std::unique_ptr<T[], Delete> data;
  int64_t size;
  explicit Exact(int64_t n) : data(new (cache_line) T[n]), size(n) {
    for (int64_t i = 0; i < n; i++) data[i] = T(NAN);
  }
  T& operator[](int64_t i) { return data[i]; }
};

inline std::mt19937 dice(0);

template <class T>
Exact<T> random(int64_t n, double low, double high) {
  std::uniform_real_distribution<double> number(low, high);
  Exact<T> made(n);
  for (int64_t i = 0; i < n; i++) made[i] = T(number(dice));
  return made;
}

template <class T>
bool close(Exact<T>& a, const std::vector<double>& b, double tolerance) {
  for (int64_t i = 0; i < a.size; i++)
    if (!(std::fabs(static_cast<double>(a[i]) - b[i]) <= tolerance * (1 + std::fabs(b[i]))))
      return false;
  return true;
}

}  // namespace statewise
