bool test_cells() { return true; }
