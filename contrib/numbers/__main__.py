"""``python -m contrib.numbers``."""

from contrib.numbers import main

main()
