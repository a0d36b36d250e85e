"""What selectors see of the rounds before."""

from fedops.core.contracts import ParticipationReport, RoundCommit
from fedops.core.states import ParticipationStatus
from fedops.results.device_history import ROUNDS_AVERAGED, DeviceHistories, loss_of, usual_seconds


def commit(round_: int, **seconds: float | None) -> RoundCommit:
    return RoundCommit(
        round=round_,
        model="0" * 64,
        strategy_state=None,
        participations=[
            ParticipationReport(
                device=device,
                status=ParticipationStatus.DROPPED if took is None else ParticipationStatus.REPLIED,
                seconds=took,
                metrics={} if took is None else {"loss": 9.0, "train_loss": took / 10},
            )
            for device, took in seconds.items()
        ],
        seconds=35.0,
        overhead_seconds=0.1,
        timing={"waiting": 5.0},
    )


def test_the_usual_time_follows_the_newest_slowly() -> None:
    assert usual_seconds([]) is None
    assert usual_seconds([(2.0, True)]) == 2.0
    assert usual_seconds([(2.0, True), (4.0, True), (4.0, True)]) == 2.0 + 0.3 * 2.0 + 0.3 * 1.4


def test_a_round_without_a_reply_makes_the_usual_time_longer_and_never_shorter() -> None:
    assert usual_seconds([(30.0, False)]) == 30.0
    assert usual_seconds([(10.0, True), (30.0, False)]) == 10.0 + 0.3 * 20.0
    assert usual_seconds([(10.0, True), (3.0, False)]) == 10.0
    assert usual_seconds([(30.0, False), (10.0, True)]) == 30.0 - 0.3 * 20.0


def test_the_training_loss_comes_before_that_of_an_evaluation() -> None:
    assert loss_of({"loss": 2.0, "train_loss": 1.0}) == 1.0
    assert loss_of({"accuracy": 1.0}) is None


def test_who_was_invited_and_who_replied_are_counted_apart() -> None:
    histories = DeviceHistories()
    histories.note(commit(1, a=10.0, b=None))
    histories.note(commit(2, a=20.0))
    assert histories.of("a") == {
        "rounds_invited": 2,
        "last_invited": 2,
        "rounds_taken": 2,
        "last_round": 2,
        "last_seconds": 20.0,
        "last_loss": 2.0,
        "round_seconds": 13.0,
    }
    assert histories.of("b") == {
        "rounds_invited": 1,
        "last_invited": 1,
        "rounds_taken": 0,
        "round_seconds": 30.0,
    }, "as long as the round lasted, without what it waited for clients"
    assert histories.of("c") == {}


def test_only_the_last_rounds_count_in_the_mean() -> None:
    histories = DeviceHistories()
    histories.note(commit(1, a=1e9))
    for round_ in range(2, ROUNDS_AVERAGED + 2):
        histories.note(commit(round_, a=3.0))
    assert histories.of("a")["round_seconds"] == 3.0
