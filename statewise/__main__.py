"""`python -m statewise` is the command line."""

from statewise.cli import main

main()
