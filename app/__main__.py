"""`python -m app` is `ragan`."""

from app.cli import main

main()
