"""What goes in and what comes out, and how it is scored; one file per task.

A task knows models by interface only.
"""
