"""Fail when a test was skipped for any reason but a missing GPU: `python .ci/skips.py JUNIT_XML`."""

import sys
from pathlib import Path
from xml.etree import ElementTree


def unexcused(junit: Path) -> list[str]:
    """Return ``"test: reason"`` for every test skipped for another reason than the GPU; expected failures pass."""
    found = []
    for case in ElementTree.parse(junit).iter("testcase"):
        for skipped in case.iter("skipped"):
            reason = skipped.get("message", "no reason given")
            if skipped.get("type") != "pytest.xfail" and "GPU" not in reason:
                found.append(f"{case.get('classname', '')}::{case.get('name')}: {reason}")
    return found


if __name__ == "__main__":
    if skips := unexcused(Path(sys.argv[1])):
        sys.exit("\n".join(["Skipped, and not for want of a GPU:", *skips]))
