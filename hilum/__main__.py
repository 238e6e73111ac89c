"""`python -m hilum` is `hilum`."""

from __future__ import annotations

from hilum.cli.app import main

main()
