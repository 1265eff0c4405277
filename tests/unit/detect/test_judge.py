"""What each detector says, and that too little to judge by is never ok."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ddr.detect import shares
from ddr.domain import services, signals
from tests.unit.detect import specs

OK, BAD, UNKNOWN = signals.State.OK, signals.State.BAD, signals.State.UNKNOWN


@pytest.mark.parametrize(
    ("hits", "n", "state"),
    [(0, 300, OK), (6, 300, OK), (18, 300, OK), (25, 300, OK), (45, 300, BAD), (300, 300, BAD), (0, 5, OK)],
)
def test_share_against_its_limit(hits: int, n: int, state: signals.State) -> None:
    found = specs.judged(specs.spec("share", limit=0.06), specs.share(hits, n))
    assert found.state is state, found
    assert (found.n, found.value) == (n, hits / n)
    assert found.threshold is not None
    assert found.value is not None
    assert (found.value >= found.threshold) == (state is BAD)


def test_above_the_limit_by_chance_is_ok_and_says_so() -> None:
    found = specs.judged(specs.spec("share", limit=0.06), specs.share(25, 300))
    assert found.state is OK
    assert found.why == "25 of 300 above 6.0 %, p=0.06, which chance explains"


@pytest.mark.parametrize(
    ("live", "reference", "state"),
    [
        ((18, 600), (36, 1200), OK),
        ((30, 600), (36, 1200), OK),
        ((60, 600), (36, 1200), BAD),
        ((600, 600), (0, 1200), BAD),
        ((0, 600), (0, 1200), OK),
        ((600, 600), (1200, 1200), UNKNOWN),  # full already: it cannot rise
        ((0, 600), (1200, 1200), UNKNOWN),
        ((3, 600), (0, 1200), OK),  # 0.5 %: significant against zero, not against the floor
        ((10000, 100000), (9000, 100000), OK),  # significant and below +2 points
    ],
)
def test_shift_against_the_reference(live: tuple[int, int], reference: tuple[int, int], state: signals.State) -> None:
    found = specs.judged(specs.spec("shift"), specs.share(*live), specs.share(*reference))
    assert found.state is state, found


@pytest.mark.parametrize("detector", ["share", "shift"])
def test_the_threshold_is_where_bad_begins(detector: services.DetectorKind) -> None:
    spec, reference = specs.spec(detector, limit=0.06), specs.share(36, 1200)
    for n in (20, 100, 300, 1000):
        threshold = specs.judged(spec, specs.share(0, n), reference).threshold
        assert threshold is not None
        first = round(threshold * n)
        assert specs.judged(spec, specs.share(first, n), reference).state is BAD
        assert specs.judged(spec, specs.share(first - 1, n), reference).state is OK


@pytest.mark.parametrize(
    ("detector", "limit", "live", "state"),
    [
        ("ceiling", 2700.0, 2700.0, OK),
        ("ceiling", 2700.0, 2700.1, BAD),
        ("ceiling", 2700.0, math.inf, BAD),
        ("ceiling", 2700.0, math.nan, UNKNOWN),
        ("floor", 100.0, 100.0, OK),
        ("floor", 100.0, 0.0, BAD),
        ("floor", 100.0, -math.inf, BAD),
    ],
)
def test_bounds(detector: services.DetectorKind, limit: float, live: float, state: signals.State) -> None:
    found = specs.judged(specs.spec(detector, limit=limit), specs.reading(signals.Gauge(live, 120)))
    assert found.state is state, found


@pytest.mark.parametrize(
    ("expected", "found", "state"), [("a", "a", OK), ("a", "b", BAD), ("", "b", UNKNOWN), ("a", "", UNKNOWN)]
)
def test_identity(expected: str, found: str, state: signals.State) -> None:
    said = specs.judged(specs.spec("identity"), specs.reading(signals.Identity(expected, found)))
    assert said.state is state


def _columns(zeros: int, broken: int) -> dict[str, tuple[int, int]]:
    return {f"p{at:02d}": (120 if at < broken else zeros, 120) for at in range(64)}


def test_columns_name_the_worst() -> None:
    reference = {f"p{at:02d}": (60 + at, 1200) for at in range(64)}
    calm = specs.judged(specs.spec("columns"), specs.columns(_columns(9, 0)), specs.columns(reference))
    assert calm.state is OK
    one = specs.judged(specs.spec("columns"), specs.columns(_columns(9, 1)), specs.columns(reference))
    assert one.state is BAD
    assert one.why == "1 of 64 columns rose: p00 100.0 % (was 5.0 %)"
    assert (one.value, one.n) == (1.0, 120)
    many = specs.judged(specs.spec("columns"), specs.columns(_columns(9, 12)), specs.columns(reference))
    assert many.why.startswith("12 of 64 columns rose: p00 100.0 % (was 5.0 %), p01 ")


def test_a_column_that_is_always_zero_hides_no_other() -> None:
    """The border pixels of a scan are zero in every row: they cannot rise, and must not be what is shown."""
    reference = {"border": (1200, 1200), "middle": (60, 1200)}
    live = {"border": (120, 120), "middle": (5, 120)}
    found = specs.judged(specs.spec("columns"), specs.columns(live), specs.columns(reference))
    assert (found.state, found.value) == (OK, 5 / 120)
    assert found.why == "0 of 1 columns rose; 1 cannot be tested"
    live["middle"] = (80, 120)
    assert specs.judged(specs.spec("columns"), specs.columns(live), specs.columns(reference)).state is BAD


def test_columns_without_a_reference_are_told() -> None:
    found = specs.judged(specs.spec("columns"), specs.columns({"a": (1, 200)}), specs.columns({"b": (1, 200)}))
    assert (found.state, found.why) == (UNKNOWN, "live and reference share no column")


_SAMPLES: dict[services.DetectorKind, signals.Sample] = {
    "share": signals.Share(1, 50),
    "shift": signals.Share(1, 50),
    "distribution": signals.Values(tuple(range(50))),
    "columns": signals.ColumnShares({"a": signals.Share(1, 50), "b": signals.Share(1, 900)}),
    "ceiling": signals.Gauge(1.0, 50),
    "floor": signals.Gauge(1.0, 50),
    "identity": signals.Identity("a", "a", 50),
}


@pytest.mark.parametrize("detector", _SAMPLES)
def test_too_little_is_unknown_with_a_reason(detector: services.DetectorKind) -> None:
    sample = specs.reading(_SAMPLES[detector])
    enough = specs.spec(detector, limit=0.5, min_samples=50)
    assert specs.judged(enough, sample, sample).state is not UNKNOWN
    thin = specs.judged(specs.spec(detector, limit=0.5, min_samples=51), sample, sample)
    assert (thin.state, thin.n) == (UNKNOWN, 50)
    assert "50 live observations" in thin.why
    assert "51 are needed" in thin.why
    absent = specs.judged(enough, specs.reading(None, "the log is empty"), sample)
    assert absent.state is UNKNOWN
    assert "the log is empty" in absent.why


@pytest.mark.parametrize("detector", ["shift", "distribution", "columns"])
def test_no_reference_is_unknown(detector: services.DetectorKind) -> None:
    spec, sample = specs.spec(detector, min_samples=10), specs.reading(_SAMPLES[detector])
    assert "no release is recorded as known good" in specs.judged(spec, sample, None).why
    empty = specs.judged(spec, sample, specs.reading(None, "too long ago"))
    assert empty.state is UNKNOWN
    assert "reference" in empty.why
    assert "too long ago" in empty.why


@pytest.mark.parametrize("detector", ["share", "ceiling", "floor"])
def test_no_limit_is_unknown(detector: services.DetectorKind) -> None:
    assert specs.judged(specs.spec(detector), specs.reading(_SAMPLES[detector])).state is UNKNOWN


@pytest.mark.parametrize("detector", _SAMPLES)
@pytest.mark.parametrize("other", _SAMPLES)
def test_a_sample_of_another_kind_is_unknown(detector: services.DetectorKind, other: services.DetectorKind) -> None:
    live, reference = specs.reading(_SAMPLES[other]), specs.reading(_SAMPLES[detector])
    found = specs.judged(specs.spec(detector, limit=0.5), live, reference)
    if type(_SAMPLES[detector]) is not type(_SAMPLES[other]):
        assert found.state is UNKNOWN
        assert f"takes {type(_SAMPLES[detector]).__name__}" in found.why


@pytest.mark.parametrize(("hits", "n"), [(7, 5), (-1, 5)])
def test_impossible_counts_are_unknown(hits: int, n: int) -> None:
    assert "cannot be" in specs.judged(specs.spec("share", limit=0.1), specs.share(hits, n)).why
    found = specs.judged(specs.spec("columns"), specs.columns({"a": (hits, n)}), specs.columns({"a": (1, 5)}))
    assert found.state is UNKNOWN


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_to_ever_be_bad_is_unknown(n: int) -> None:
    assert specs.judged(specs.spec("share", limit=0.06), specs.share(0, n)).state is UNKNOWN
    assert specs.judged(specs.spec("shift"), specs.share(0, n), specs.share(100, 1000)).state is UNKNOWN


_shares = some.integers(1, 400).flatmap(lambda n: some.tuples(some.integers(0, n), some.just(n)))


@given(live=_shares, reference=_shares, detector=some.sampled_from(["share", "shift"]))
def test_more_hits_never_turn_bad_into_ok(
    live: tuple[int, int], reference: tuple[int, int], detector: services.DetectorKind
) -> None:
    spec, (hits, n) = specs.spec(detector, limit=0.05), live
    now = specs.judged(spec, specs.share(hits, n), specs.share(*reference))
    worse = specs.judged(spec, specs.share(min(hits + 1, n), n), specs.share(*reference))
    if now.state is BAD:
        assert worse.state is BAD
    assert (now.state is UNKNOWN) == (worse.state is UNKNOWN)


@given(live=some.dictionaries(some.sampled_from("abcdefgh"), _shares, min_size=1))
def test_a_table_against_itself_is_never_bad(live: dict[str, tuple[int, int]]) -> None:
    assert specs.judged(specs.spec("columns"), specs.columns(live), specs.columns(live)).state is not BAD


def test_benjamini_hochberg_by_hand() -> None:
    found, level = shares.rejected({"a": 0.0001, "b": 0.0004, "c": 0.0008, "d": 0.5}, alpha=0.001)
    assert found == {"a", "b"}
    assert level == pytest.approx(0.0005)
    assert shares.rejected({"a": 0.9}) == (frozenset(), shares.ALPHA)


def test_judging_imports_no_array_library() -> None:
    """`ddr status` waits for this import."""
    code = (
        "import sys; from ddr.detect import judge;"
        "assert not {'numpy', 'scipy', 'pandas'} & set(sys.modules), 'too slow to start'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
