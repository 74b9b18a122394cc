"""Checks the Python of docs/python.md, one program, by pyright's strict rules.

It shows that the interface is typed as the documents use it: no argument, attribute or result
whose type a reader's editor would not know.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RULES = {
    "typeCheckingMode": "strict",
    "extraPaths": [str(ROOT)],
    "include": ["python.py"],
    "reportUnusedVariable": "none",
    "reportUnusedExpression": "none",  # a page shows what a surface has by naming it
}

text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
program = "\n".join(re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S))
with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "python.py").write_text(program, encoding="utf-8")
    (Path(folder) / "pyrightconfig.json").write_text(json.dumps(RULES), encoding="utf-8")
    words = ["pyright", "--pythonpath", sys.executable, "--project", folder]
    sys.exit(subprocess.run(words, check=False).returncode)
