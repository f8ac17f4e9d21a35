#include "../large_product.h"

#include "../parallel.h"
#include "exact.h"

using namespace statewise;

namespace {

template <class W>
bool agrees(Stored stored, int64_t rows, int64_t columns, int64_t inner, bool a_turned,
            bool b_turned, bool add, bool biased, int threads, double tolerance) {
  auto a = random<W>(rows * inner, -1, 1), b = random<W>(inner * columns, -1, 1);
  auto c = random<W>(rows * columns, -1, 1), bias = random<W>(columns, -1, 1);
  Exact<char> packed(large_product_workspace(columns, inner, sizeof(W)));
  const int64_t a_row = a_turned ? 1 : inner, a_column = a_turned ? rows : 1;
  const int64_t b_row = b_turned ? 1 : columns, b_column = b_turned ? inner : 1;
  std::vector<double> wanted(rows * columns);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j++) {
      double sum = add ? c[i * columns + j] : biased ? bias[j] : 0;
      for (int64_t k = 0; k < inner; k++)
        sum += static_cast<double>(a[i * a_row + k * a_column]) * b[k * b_row + j * b_column];
      wanted[i * columns + j] = sum;
    }
  const LargeProduct p{stored,         rows,  columns, inner, a.data.get(), a_row, a_column,
                   b.data.get(), b_row, b_column, c.data.get(), columns,
                   biased ? bias.data.get() : nullptr, add, packed.data.get()};
  run(table_of_large_product_pack, p, 1 << 20, threads);
  run(table_of_large_product, p, 1 << 20, threads);
  return close(c, wanted, tolerance);
}

}  // namespace

bool test_large_product() {
  bool good = true;
  for (int64_t rows : {0, 1, 7, 101})
    for (int64_t columns : {1, 64, 75})
      for (int64_t inner : {0, 1, 130})
        for (int turned = 0; turned < 4; turned++)
          for (int into = 0; into < 3; into++)
            for (int threads : {1, 3})
              good = good &&
                     agrees<float>(Stored::float32, rows, columns, inner, turned & 1, turned & 2,
                                   into == 1, into == 2, threads, 1e-4) &&
                     agrees<double>(Stored::float64, rows, columns, inner, turned & 1, turned & 2,
                                    into == 1, into == 2, threads, 1e-12);
  return good;
}
