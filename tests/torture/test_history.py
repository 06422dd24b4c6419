"""The judge of the torture test itself: it must notice each kind of loss."""
import pytest

from history import ABSENT, History, Lost, cut


def written(*changes, first=ABSENT):
    history = History(first)
    for value, asked, answered in changes:
        history.begin(value, asked)
        history.acknowledge(answered)
    return history


def test_an_acknowledged_write_must_be_there():
    history = written(("a", 1, 2), ("b", 3, 4))
    history.resolve("b", 9)
    for wrong in ["a", ABSENT, "c"]:
        with pytest.raises(Lost):
            history.resolve(wrong, 9)


def test_an_acknowledged_delete_must_not_come_back():
    with pytest.raises(Lost):
        written(("a", 1, 2), (ABSENT, 3, 4)).resolve("a", 9)


@pytest.mark.parametrize("happened", [True, False])
def test_a_change_without_answer_may_have_happened_but_not_halfway(happened):
    history = written(("a", 1, 2))
    history.begin("b", 3)
    history.resolve("b" if happened else "a", 9)
    assert history.open is None and history.value == ("b" if happened else "a")
    history.begin("c", 10)
    with pytest.raises(Lost):
        history.resolve("d", 19)


def test_a_commit_holds_what_was_acknowledged_before_it_was_asked_for():
    keys = {"k": written(("a", 1, 2), ("b", 3, 4))}
    assert cut({"k": "b"}, keys, 5, 6) == 5
    with pytest.raises(Lost):
        cut({"k": "a"}, keys, 5, 6)
    with pytest.raises(Lost):
        cut({}, keys, 5, 6)


def test_a_commit_may_hold_a_write_that_it_ran_beside_or_not():
    keys = {"k": written(("a", 1, 2), ("b", 5, 7))}
    assert cut({"k": "a"}, keys, 4, 6) == 4
    assert cut({"k": "b"}, keys, 4, 6) == 5
    with pytest.raises(Lost):
        cut({"k": "b"}, keys, 3, 4)


def test_a_commit_is_one_instant_for_all_keys():
    # The second key was written after the first write was acknowledged: a commit with the second holds the first.
    keys = {"first": written(("a", 2, 3)), "second": written(("b", 4, 5))}
    assert cut({}, keys, 1, 6) == 1
    assert cut({"first": "a"}, keys, 1, 6) == 2
    assert cut({"first": "a", "second": "b"}, keys, 1, 6) == 4
    with pytest.raises(Lost):
        cut({"second": "b"}, keys, 1, 6)


def test_a_value_that_comes_back_fits_either_time():
    keys = {"k": written(("a", 1, 2), (ABSENT, 3, 4), ("b", 5, 6), (ABSENT, 7, 8)), "o": written(("x", 6.5, 7))}
    assert cut({}, keys, 0, 5) == 0
    assert cut({"o": "x"}, keys, 0, 9) == 7
    with pytest.raises(Lost):
        cut({"k": "a", "o": "x"}, keys, 0, 9)


def test_what_nobody_wrote_is_noticed():
    with pytest.raises(Lost):
        cut({"stray": "x"}, {}, 0, 1)
