"""python -m segcgan."""

from segcgan.cli import main

raise SystemExit(main())
