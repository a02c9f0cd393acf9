"""The main job, as `make lab` runs it."""

import pytest

from xfrmctl.lab import demo

pytestmark = pytest.mark.lab

TRUE_STARTS = True


def test_every_check_of_the_report_holds(capfd: pytest.CaptureFixture[str]) -> None:
    status = demo.main()
    report = capfd.readouterr().out
    assert status == 0, report
    assert "0 in clear" in report
    assert "FAIL" not in report
