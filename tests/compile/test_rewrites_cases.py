"""Each part of each precondition: where the rewrite fires, and where it must not."""

from __future__ import annotations

import pytest

from archspec.compile.rewriting import find_all
from tests.compile.rewrite_cases import CASES, Case
from tests.compile.rewriting import assert_exact, stem

ALL = find_all()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rewrite}-{case.why}")
def test_case(case: Case) -> None:
    found = assert_exact(stem(case.steps, **case.size), [ALL[case.rewrite]])
    assert len(found.fired) == case.times


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rewrite}-{case.why}")
def test_with_all_others(case: Case) -> None:
    assert_exact(stem(case.steps, **case.size), list(ALL.values()))


@pytest.mark.parametrize("name", ALL)
def test_every_rewrite_has_cases_of_both_kinds(name: str) -> None:
    fires = {case.times > 0 for case in CASES if case.rewrite == name}
    assert fires == {True, False}


def test_no_case_is_named_twice() -> None:
    names = [(case.rewrite, case.why) for case in CASES]
    assert len(set(names)) == len(names)
