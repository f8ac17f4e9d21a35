// A share of many numbers, a vector at a time.
//
// Included by kernels alone, as vector.h is.
#pragma once

#include "levels.h"
#include "vector.h"

namespace statewise {
namespace STATEWISE_LEVEL {

// Calls visit(begin, count) for every vector of a share of so many numbers, the last perhaps in part.
template <class Visit>
inline void for_vectors(int64_t numbers, Share share, Visit visit) {
  constexpr int64_t lanes = width<float>;
  const int64_t vectors = (numbers + lanes - 1) / lanes, end = share.end(vectors);
  for (int64_t i = share.begin(vectors); i < end; i++) {
    const int64_t rest = numbers - i * lanes;
    visit(i * lanes, rest < lanes ? rest : lanes);
  }
}

// The same for all of them.
template <class Visit>
inline void for_vectors(int64_t numbers, Visit visit) {
  for_vectors(numbers, {0, 1, 0, 1}, visit);
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
