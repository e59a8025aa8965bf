import os

import pytest

from scarlet_tf.export.quiet import quiet


def test_quiet_holds_back_and_restores_also_after_errors(capfd):
    with pytest.raises(KeyError), quiet():
        os.write(1, b"native")
        print("python")
        raise KeyError
    print("after")
    os.write(2, b"native")
    assert capfd.readouterr() == ("after\n", "native")
