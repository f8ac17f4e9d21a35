"""Other people's interfaces on our ops, so that code written for theirs runs with ours.

A module is imported by its own name, since each may need a library that others do not.
"""
