"""A runner whose files take what their content says: JSON with milliseconds and bytes."""

import json

from scarlet_tf.latency.timing import Measurement


def content(milliseconds, size=100):
    """A file that takes `milliseconds` under a FakeRunner."""
    return json.dumps({"ms": milliseconds}).encode().ljust(size)


class FakeRunner:
    """`slow` is added in every pass but a file's second; `stop_after` files it is interrupted."""

    def __init__(self, slow=0.0, stop_after=None, name="fake"):
        self.device = {"runtime": name}
        self.slow, self.stop_after = slow, stop_after
        self.seen = []

    def measure(self, contents):
        found = []
        for one in contents:
            if self.stop_after is not None and len(self.seen) >= self.stop_after:
                raise KeyboardInterrupt
            times = self.seen.count(one)
            self.seen.append(one)
            found.append(Measurement(json.loads(one)["ms"] + (self.slow if times != 1 else 0.0), 0.01, 7))
        return found
