"""`python -m scarlet_tf`, the same as the command `scarlet`."""

import sys

from scarlet_tf.cli import main

if __name__ == "__main__":
    sys.exit(main())
