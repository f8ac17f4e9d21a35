#include "large_product.h"

#include "matrix.h"

namespace statewise {
namespace STATEWISE_LEVEL {
namespace {

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

template <class W>
constexpr int64_t panel_columns = block_vectors * width<W>;

// b, in panels of as many columns as a block of sums has, the inner index outside.
template <class W>
void pack(const LargeProduct& p, Share share) {
  constexpr int64_t across = panel_columns<W>;
  const int64_t panels = (p.columns + across - 1) / across;
  const int64_t begin = share.begin(panels), end = share.end(panels);
  for (int64_t panel = begin; panel < end; panel++) {
    const int64_t there = smaller(across, p.columns - panel * across);
    W* const to = static_cast<W*>(p.packed) + panel * across * p.inner;
    const W* const from = static_cast<const W*>(p.b) + panel * across * p.b_column;
    if (p.b_row == 1 && there == across) {
      // What lies by columns is turned, a stretch at a time that stays in the first cache.
      for (int64_t k = 0; k < p.inner; k += large_product_depth)
        transpose(across, smaller(large_product_depth, p.inner - k), from + k, p.b_column,
                  to + k * across, across);
      continue;
    }
    for (int64_t k = 0; k < p.inner; k++) {
      W* row = to + k * across;
      if (p.b_column == 1 && there == across) memcpy(row, from + k * p.b_row, across * sizeof(W));
      else
        for (int64_t j = 0; j < across; j++)
          row[j] = j < there ? from[k * p.b_row + j * p.b_column] : 0;
    }
  }
}

// Some rows times one panel, over a stretch of the inner index. Element (r, k) of the rows is
// a[r * a_row + k * a_column].
template <int64_t rows, class W>
void block(const W* a, int64_t a_row, int64_t a_column, const W* panel, int64_t inner, W* c,
           int64_t c_row, int64_t there, const W* bias, bool first) {
  constexpr int64_t lanes = width<W>;
  const bool whole = there == panel_columns<W>;
  const auto count = [=](int64_t v) {
    const int64_t left = there - v * lanes;
    return left < 0 ? 0 : smaller(left, lanes);
  };
  Vector<W> sums[rows][block_vectors];
#pragma GCC unroll 8
  for (int64_t r = 0; r < rows; r++)
#pragma GCC unroll 8
    for (int64_t v = 0; v < block_vectors; v++) {
      const W* from = first ? bias ? bias + v * lanes : nullptr : c + r * c_row + v * lanes;
      sums[r][v] = !from ? Vector<W>{} : whole ? load(from) : load(from, count(v));
    }
  for (int64_t k = 0; k < inner; k++) {
    Vector<W> right[block_vectors];
#pragma GCC unroll 8
    for (int64_t v = 0; v < block_vectors; v++) right[v] = load(panel + v * lanes);
#pragma GCC unroll 8
    for (int64_t r = 0; r < rows; r++) {
      const Vector<W> left = a[r * a_row] - Vector<W>{};
#pragma GCC unroll 8
      for (int64_t v = 0; v < block_vectors; v++) sums[r][v] += left * right[v];
    }
    panel += panel_columns<W>;
    a += a_column;
  }
#pragma GCC unroll 8
  for (int64_t r = 0; r < rows; r++)
#pragma GCC unroll 8
    for (int64_t v = 0; v < block_vectors; v++) {
      W* to = c + r * c_row + v * lanes;
      if (whole) store(to, sums[r][v]);
      else if (count(v)) store(to, sums[r][v], count(v));
    }
}

// Asks for some of the rows that are turned next, a few between blocks: they lie a page or so apart,
// which processors do not foresee, and waiting for them was a sixth of the time.
template <class W>
void fetch(const W* next, int64_t stride, int64_t deep, int64_t high, int64_t turn, int64_t turns) {
  for (int64_t d = deep * turn / turns; d < deep * (turn + 1) / turns; d++)
    for (int64_t i = 0; i < high; i += line<W>) prefetch(next + d * stride + i);
}

template <class W>
using Block = void (*)(const W*, int64_t, int64_t, const W*, int64_t, W*, int64_t, int64_t,
                       const W*, bool);

template <class W>
void multiply(const LargeProduct& p, Share share) {
  static_assert(block_rows == 6, "a block for every number of rows");
  static constexpr Block<W> blocks[] = {nullptr,     block<1, W>, block<2, W>, block<3, W>,
                                        block<4, W>, block<5, W>, block<6, W>};
  constexpr int64_t across = panel_columns<W>, most = large_product_band / block_rows;
  const int64_t groups = (p.rows + block_rows - 1) / block_rows;
  const int64_t mine = share.end(groups) - share.begin(groups), bands = (mine + most - 1) / most;
  if (!bands) return;
  const int64_t begin = share.begin(groups) * block_rows;
  const int64_t end = smaller(share.end(groups) * block_rows, p.rows);
  // Equal bands: a panel is read from the cache beyond for each, be it of 96 rows or of 6.
  const int64_t band = (mine + bands - 1) / bands * block_rows;
  W turned[large_product_band * large_product_depth];
  for (int64_t row = begin; row < end; row += band) {
    const int64_t high = smaller(band, end - row);
    for (int64_t k = 0; k < p.inner || k == 0; k += large_product_depth) {
      const int64_t deep = smaller(large_product_depth, p.inner - k);
      const W* a = static_cast<const W*>(p.a) + row * p.a_row + k * p.a_column;
      int64_t group_stride = block_rows * p.a_row, a_row = p.a_row, a_column = p.a_column;
      const W* next = nullptr;
      if (a_column != 1) {
        if (a_row == 1 && k + deep < p.inner) next = a + deep * a_column;
        // Rows that are columns in memory: by groups, the inner index outside. Each line of memory
        // is read once and whole: the next inner index is a page or so away.
        for (int64_t d = 0; d < deep; d++) {
          const W* from = a + d * a_column;
          W* to = turned + d * block_rows;
          int64_t i = 0;
          for (; a_row == 1 && i + block_rows <= high; i += block_rows)
            memcpy(to + i * large_product_depth, from + i, block_rows * sizeof(W));
          for (; i < high; i++)
            to[i / block_rows * block_rows * large_product_depth + i % block_rows] = from[i * a_row];
        }
        a = turned, group_stride = block_rows * large_product_depth, a_row = 1, a_column = block_rows;
      }
      const int64_t ahead = smaller(large_product_depth, p.inner - k - deep);
      const int64_t turns = (high + block_rows - 1) / block_rows * ((p.columns + across - 1) / across);
      int64_t turn = 0;
      for (int64_t column = 0; column < p.columns; column += across) {
        const W* panel = static_cast<const W*>(p.packed) + column * p.inner + k * across;
        const W* bias = p.bias ? static_cast<const W*>(p.bias) + column : nullptr;
        const int64_t there = smaller(across, p.columns - column);
        for (int64_t i = 0; i < high; i += block_rows) {
          if (next) fetch(next, p.a_column, ahead, high, turn++, turns);
          blocks[smaller(block_rows, high - i)](
              a + i / block_rows * group_stride, a_row, a_column, panel, deep,
              static_cast<W*>(p.c) + (row + i) * p.c_row + column, p.c_row, there, bias,
              k == 0 && !p.add);
        }
      }
    }
  }
}

}  // namespace

void large_product_pack(const LargeProduct& p, Share share) {
  if (p.stored == Stored::float64) pack<double>(p, share);
  else pack<float>(p, share);
}

void large_product(const LargeProduct& p, Share share) {
  if (p.stored == Stored::float64) multiply<double>(p, share);
  else multiply<float>(p, share);
}

}  // namespace STATEWISE_LEVEL
}  // namespace statewise
