"""Pure functions on tensors; one folder per recurrence, one file per backend.

`reference.py` is the definition, `torch.py` the parallel form for any device, `native.py` our C++;
the folder's `__init__.py` holds the table that chooses.
"""
