import errno
import io
import logging
import sys

import pytest

from scarlet_tf.base import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_time_left_is_at_the_mean_speed_of_this_process_after_its_first_unit(clock):
    """The first unit of a training run traces its graph, which the others need not."""
    with progress.progress_bar("training", total=100, done=60) as bar:
        assert bar.seconds_left() is None
        clock[0] = 500.0
        bar.advance()
        assert bar.seconds_left() is None
        clock[0] = 518.0
        bar.advance(9)
        assert bar.seconds_left() == pytest.approx(60.0)


def test_lines_come_at_intervals_and_at_the_end(clock, caplog):
    caplog.set_level(logging.INFO, logger="scarlet_tf")
    with progress.progress_bar("training", total=100) as bar:
        for step in range(100):
            clock[0] = step + 1.0
            bar.advance(loss=0.5)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 7
    assert lines[0] == "training 15/100 loss 0.5, 1 min 25 s left"
    assert lines[-1] == "training 100/100 loss 0.5"


@pytest.mark.parametrize(
    ("seconds", "text"), [(9.4, "9 s"), (61, "1 min 1 s"), (3 * 3600 + 61, "3 h 1 min"), (59.7, "1 min 0 s")]
)
def test_durations_read_well(clock, caplog, monkeypatch, seconds, text):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    caplog.set_level(logging.INFO, logger="scarlet_tf")
    with progress.progress_bar("x", total=3) as bar:
        bar.advance()
        clock[0] = seconds
        bar.advance()
    assert caplog.records[-1].getMessage().endswith(f", {text} left")


class Terminal(io.StringIO):
    """What a bar is shown on; once `gone`, writing fails as it does on a terminal that was closed."""

    gone = False

    def isatty(self):
        return True

    def write(self, text):
        if self.gone:
            raise OSError(errno.EIO, "Input/output error")
        return super().write(text)


def on_a_terminal(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress.logger, "isEnabledFor", lambda level: True)
    return screen


def test_bar_on_a_terminal_takes_the_name_as_it_is(monkeypatch):
    """A folder may be called anything; rich would take [/b] for markup and fail."""
    terminal = on_a_terminal(monkeypatch)
    with progress.progress_bar("checking [/b]", total=2) as bar:
        bar.advance(2, loss=0.5)
    for text in ("checking [/b]", "2/2", "loss 0.5"):
        assert text in terminal.getvalue()


def test_a_bar_inside_another_shares_its_screen_and_leaves_nothing(monkeypatch):
    """rich knows one live display at a time."""
    terminal = on_a_terminal(monkeypatch)
    with progress.progress_bar("search", total=2) as outer:
        outer.advance()
        with progress.progress_bar("evaluation", total=4, transient=True) as inner:
            inner.advance(4)
            inner._live.refresh()  # which happens ten times a second
        outer.advance()
        seen = len(terminal.getvalue())
        outer.advance(0)
    for text in ("search", "2/2", "evaluation", "4/4"):
        assert text in terminal.getvalue()
    assert "evaluation" not in terminal.getvalue()[seen:]
    with progress.progress_bar("evaluation", total=1, transient=True) as alone:
        alone.advance()
    assert alone.done == 1


def test_a_transient_bar_has_no_line_at_its_end(clock, caplog):
    caplog.set_level(logging.INFO, logger="scarlet_tf")
    with progress.progress_bar("evaluation", total=20, transient=True) as bar:
        for step in range(20):
            clock[0] = step + 1.0
            bar.advance()
    assert [record.getMessage() for record in caplog.records] == ["evaluation 15/20, 5 s left"]


def test_terminal_that_goes_away_does_not_end_the_work(monkeypatch):
    terminal = on_a_terminal(monkeypatch)
    with progress.progress_bar("training", total=2) as bar:
        bar.advance()
        terminal.gone = True
        bar.advance()
    assert bar.done == 2
