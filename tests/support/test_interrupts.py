from __future__ import annotations

import os
import signal

import pytest

from probact.support.interrupts import asked_to_stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_request_is_answered_at_once_and_the_second_is_obeyed(
    number: int, capfd: pytest.CaptureFixture[str]
) -> None:
    outside = signal.signal(number, signal.default_int_handler)  # which may ignore it, as under nohup
    try:
        with asked_to_stop("stopping") as asked:
            assert not asked
            os.kill(os.getpid(), number)
            assert asked
            assert capfd.readouterr().err == "\nstopping\n"
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
            assert not capfd.readouterr().err
        assert signal.getsignal(number) == signal.default_int_handler
    finally:
        signal.signal(number, outside)


def test_nohup_is_obeyed() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with asked_to_stop() as asked:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not asked
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
