"""A test that is skipped for a reason that conftest.py does not list fails."""

import pytest
from conftest import judge


def report(outcome, reason):
    return pytest.TestReport("test_x.py::test_x", ("test_x.py", 3, "test_x"), {}, outcome, reason, "setup")


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("Skipped: PyTorch is not installed", "skipped"),
        ("Skipped: real images are not there: /x (set MRCNN_DATA to their folder)", "skipped"),
        ("Skipped: too slow", "failed"),
        ("Skipped: albumentations is not installed", "failed"),  # `pip install -e .[test]` does so
        ("Skipped: it needs PyTorch is not installed", "failed"),
    ],
)
def test_reasons(reason, outcome):
    judged = judge(report("skipped", ("test_x.py", 3, reason)))
    assert judged.outcome == outcome and (outcome == "skipped" or reason in judged.longrepr)


def test_others_are_left_alone():
    for outcome in ("passed", "failed"):
        assert judge(report(outcome, "why")).outcome == outcome and judge(report(outcome, "why")).longrepr == "why"
