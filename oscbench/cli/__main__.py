"""`python -m oscbench.cli`, where no script is installed."""

from oscbench.cli import main

main()
