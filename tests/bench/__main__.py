"""``python -m tests.bench [NAME…]`` prints the table of docs/reference/performance.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.cli import main

raise SystemExit(main(sys.argv[1:]))
