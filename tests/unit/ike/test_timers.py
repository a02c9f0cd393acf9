"""The queue of deadlines against a model: a plain dictionary."""

from hypothesis import given
from hypothesis import strategies as st

from xfrmctl.ike.timers import Timer, TimerQueue

steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 3), st.sampled_from(list(Timer)), st.integers(0, 20)),
        st.tuples(st.just("cancel"), st.integers(0, 3), st.sampled_from(list(Timer)), st.just(0)),
        st.tuples(st.just("all"), st.integers(0, 3), st.just(Timer.RETRY), st.just(0)),
        st.tuples(st.just("expire"), st.just(0), st.just(Timer.RETRY), st.integers(0, 20)),
    ),
    max_size=40,
)


@given(steps)
def test_the_queue_behaves_like_a_dictionary_of_deadlines(actions: list[tuple[str, int, Timer, int]]) -> None:
    queue, model = TimerQueue(), dict[tuple[int, Timer], float]()
    for what, owner, timer, at in actions:
        if what == "set":
            queue.set(owner, timer, at)
            model[owner, timer] = at
        elif what == "cancel":
            queue.cancel(owner, timer)
            model.pop((owner, timer), None)
        elif what == "all":
            queue.cancel_all(owner)
            model = {k: v for k, v in model.items() if k[0] != owner}
        else:
            due = queue.expire(at)
            expected = {k for k, v in model.items() if v <= at}
            assert set(due) == expected
            assert [model[k] for k in due] == sorted(model[k] for k in due)  # type: ignore[index]
            model = {k: v for k, v in model.items() if k not in expected}
        assert queue.deadline() == min(model.values(), default=None)
