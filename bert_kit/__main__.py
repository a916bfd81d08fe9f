"""`python -m bert_kit JOB …`."""

import sys

from bert_kit.cli import main

if __name__ == "__main__":
    sys.exit(main())
