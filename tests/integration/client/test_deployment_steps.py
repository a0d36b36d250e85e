"""The steps of a deployment, one by one: a real disk, real threads, and what it is told on both sides."""

from __future__ import annotations

import errno
import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from deploying import write_app
from fake_manager import eventually
from small_disk import small_disk

from fedops.api_client import TryLater
from fedops.client.deployment.commits.deployment_state import (
    MOST_TRIALS,
    DeploymentState,
    StateFile,
)
from fedops.client.deployment.commits.downloads import Downloads
from fedops.client.deployment.commits.environments import SharedEnvironment, WheelEnvironments
from fedops.client.deployment.commits.fetching import Fetching
from fedops.client.deployment.commits.places import Places, remove_folder
from fedops.client.deployment.commits.preparing import Preparation
from fedops.client.deployment.keeper import Keeper, KeeperParts
from fedops.client.deployment.running import RunningApp
from fedops.client.deployment.switching import Switching
from fedops.client.deployment.trial import TrialOrder
from fedops.client.deployment.trial_messages import TrialAnswer
from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import Deploy, DeviceConfig, Limits
from fedops.client.device.training_home import TrainingHome
from fedops.client.supervision.process_run import Program
from fedops.client.supervision.training_program import TrainingPrograms
from fedops.client.work.model_cache import ModelCache
from fedops.client.work.reachability import Over, Reachability
from fedops.core.contracts import (
    BlobRef,
    DesiredDeployment,
    Packages,
    ProcessReport,
    WheelRef,
    Work,
)
from fedops.core.errors import Conflict, NotFound, Unavailable
from fedops.core.states import DeploymentStatus, Enrolment, ProcessStatus
from fedops.flower.app_package import build_bundle

D = DeploymentStatus


@dataclass
class Server:
    """Files and packages."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    packages: Packages = field(default_factory=lambda: Packages(status="ready"))
    #: The next download ends after so many bytes.
    cut: int | None = None
    #: While this is set, nothing comes.
    away: bool | Unavailable = False
    starts: list[int] = field(default_factory=list)

    def offer(self, data: bytes) -> BlobRef:
        ref = BlobRef(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        self.blobs[ref.sha256] = data
        return ref

    @contextmanager
    def download(self, sha256: str, *, start: int = 0, fresh: bool = False) -> Iterator[Any]:
        if self.away:
            raise (Unavailable("the server is away") if isinstance(self.away, bool) else self.away)
        if sha256 not in self.blobs:
            raise NotFound("there is no such file")
        data = self.blobs[sha256][start:]
        self.starts.append(start)
        if self.cut is not None:
            data, self.cut = data[: self.cut], None
        yield SimpleNamespace(start=start, blocks=lambda: iter([data]))


@dataclass
class Training:
    """A training client that starts, or does not."""

    fails: set[str] = field(default_factory=set)
    runs: list[str] = field(default_factory=list)
    hangs: bool = False

    def change(self, program: Program, reason: str) -> None:
        self.runs.append("" if program.idle else program.cwd.parent.name[0])

    def settled(self, program: Program, seconds: float) -> ProcessReport | None:
        if self.hangs:
            return None
        if program.cwd.parent.name[0] in self.fails:
            return ProcessReport(status=ProcessStatus.BACKOFF, reason="it ended with code 1")
        return ProcessReport(status=ProcessStatus.IDLE)


@dataclass
class Trials:
    """Says how each commit is, without running it."""

    problems: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    #: While this is set, a trial goes on and on.
    goes_on: threading.Event = field(default_factory=threading.Event)
    #: While this is set, a trial finds no room on the disk.
    full: bool = False

    def clear(self) -> None: ...

    def run(self, order: TrialOrder, over: Callable[[], bool]) -> TrialAnswer:
        name = order.app.app_dir.parent.name[0]
        self.begun.append(name)
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        while self.goes_on.is_set():
            if over():
                raise Over
        found = {"accuracy": self.metrics[name]} if name in self.metrics and order.model else {}
        return TrialAnswer(
            problem=self.problems.get(name, ""), metrics=found, fingerprint=f"model of {name}"
        )


@dataclass
class Turn:
    """The device's work."""

    busy: bool = False

    def reserve(self) -> bool:
        return not self.busy

    def release(self) -> None: ...


@dataclass
class Device:
    """All around one keeper at a time, of a task 'mnist'."""

    root: Path
    owner: Deploy = field(default_factory=Deploy)
    server: Server = field(default_factory=Server)
    training: Training = field(default_factory=Training)
    trials: Trials = field(default_factory=Trials)
    turn: Turn = field(default_factory=Turn)
    environments: Any = field(default_factory=SharedEnvironment)
    events: list[str] = field(default_factory=list)
    news: list[str] = field(default_factory=list)
    keepers: list[Keeper] = field(default_factory=list)

    @property
    def home(self) -> DataDir:
        return DataDir(self.root / "home")

    @property
    def places(self) -> Places:
        return Places(self.home.deployments, "mnist")

    def start(self) -> Keeper:
        self.home.create()
        home = TrainingHome(self.home, Limits())
        programs = TrainingPrograms(
            self.home, DeviceConfig(), home, ["x"], [], "127.0.0.1", 0, lambda: ("pi", "d1")
        )
        reach = Reachability("http://server")
        downloads = Downloads(self.server, reach)
        fetching = Fetching(
            self.places, downloads, ModelCache(self.home.models, 1 << 30), self.owner
        )
        preparation = Preparation(self.places, self.environments, downloads, reach)
        running = RunningApp(self.home, programs, self.training, 5.0)
        parts = KeeperParts(
            places=self.places,
            fetching=fetching,
            preparation=preparation,
            switching=Switching(self.places, fetching, preparation, self.trials, running),
            turn=self.turn,
            owner=self.owner,
            platform="3.11/any-any",
            news=lambda: self.news.append(""),
            event=lambda name, _: self.events.append(name),
            look_seconds=0.1,
        )
        self.keepers.append(Keeper(parts))
        self.keepers[-1].start()
        return self.keepers[-1]

    def want(self, keeper: Keeper, letter: str, **values: Any) -> DesiredDeployment:
        app = write_app(self.root / f"source-{letter}", letter, self.root / "marks")
        bundle = self.server.offer(build_bundle(app))
        wish = DesiredDeployment(task="mnist", commit=letter * 40, bundle=bundle, **values)
        keeper.take(told(wish))
        return wish


def told(*wishes: DesiredDeployment) -> Work:
    return Work(revision=1, enrolment=Enrolment.APPROVED, deployments=list(wishes))


def until(keeper: Keeper, status: DeploymentStatus, commit: str, reason: str = "") -> Any:
    def is_so() -> bool:
        report = keeper.reports()[0]
        known = (report.status, (report.commit or "")[:1]) == (status, commit)
        return known and reason in report.reason

    eventually(is_so, 10.0, lambda: f"not {status}: {keeper.reports()[0]}")
    return keeper.reports()[0]


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    found = Device(tmp_path)
    yield found
    for keeper in found.keepers:
        keeper.stop()


def test_it_waits_for_leave_and_for_the_work_in_hand(device: Device) -> None:
    keeper = device.start()
    wish = device.want(keeper, "a", hold="run 3 goes on with commit 1234567")
    until(keeper, D.WAITING, "a", "run 3 goes on")
    assert device.places.commit("a" * 40).app.is_dir(), "it is fetched and prepared all the same"
    device.turn.busy = True
    keeper.take(told(wish.model_copy(update={"hold": ""})))
    until(keeper, D.WAITING, "a", "until the work in hand is done")
    assert device.trials.begun == []
    device.turn.busy = False
    until(keeper, D.ACTIVE, "a")
    eventually(lambda: device.events == ["deployment_active"])


def test_the_newest_wish_wins_in_the_middle_of_a_trial(device: Device) -> None:
    keeper = device.start()
    device.trials.goes_on.set()
    device.want(keeper, "a")
    until(keeper, D.CHECKING, "a")
    eventually(lambda: device.trials.begun)
    device.want(keeper, "b")
    eventually(lambda: device.trials.begun[-1] == "b")
    device.trials.goes_on.clear()
    assert until(keeper, D.ACTIVE, "b").active == "b" * 40
    assert device.training.runs == ["", "b"]


def test_what_failed_is_tried_again_only_when_it_is_asked_for(device: Device) -> None:
    keeper = device.start()
    device.want(keeper, "a")
    until(keeper, D.ACTIVE, "a")
    device.trials.problems["b"] = "ValueError: bad shape"
    wish = device.want(keeper, "b")
    report = until(keeper, D.ROLLED_BACK, "b", "bad shape; commit aaaaaaaaaaaa runs on")
    assert (report.active, report.fingerprint) == ("a" * 40, "model of a")
    device.trials.problems.clear()
    keeper.stop()
    keeper = device.start()
    keeper.take(told(wish))
    until(keeper, D.ROLLED_BACK, "b")
    assert device.trials.begun == ["a", "b"]
    keeper.take(told(wish.model_copy(update={"attempt": 2})))
    assert until(keeper, D.ACTIVE, "b").attempt == 2


def test_where_nothing_ran_before_nothing_runs_after_a_failure(device: Device) -> None:
    keeper = device.start()
    device.training.fails.add("a")
    device.want(keeper, "a")
    report = until(
        keeper, D.ROLLED_BACK, "a", "did not start with it: it ended with code 1; no commit"
    )
    assert report.active is None
    assert device.training.runs == ["", "a", ""]
    assert device.places.linked() is None
    device.want(keeper, "b")
    assert until(keeper, D.ACTIVE, "b").active == "b" * 40


def test_one_that_does_not_start_gives_way_to_the_one_before(device: Device) -> None:
    keeper = device.start()
    device.want(keeper, "a")
    until(keeper, D.ACTIVE, "a")
    device.training.fails.add("b")
    device.want(keeper, "b")
    until(keeper, D.ROLLED_BACK, "b", "it ended with code 1")
    assert device.training.runs == ["", "a", "b", "a"]
    assert device.places.linked() == "a" * 40


def test_ended_in_good_order_while_it_switches_counts_for_nothing(device: Device) -> None:
    keeper = device.start()
    device.training.hangs = True
    for _ in range(3):
        wish = device.want(keeper, "a")
        eventually(lambda: device.training.runs[-1] == "a", what="it was not switched to")
        keeper.stop()
        assert StateFile(device.places.state).read().trying == "a" * 40
        keeper = device.start()
        assert device.training.runs[-1] == "", "what was never confirmed does not come back"
    device.training.hangs = False
    keeper.take(told(wish))
    until(keeper, D.ACTIVE, "a")


def test_a_disk_that_is_full_at_the_trial_is_waited_for(device: Device) -> None:
    keeper, device.trials.full = device.start(), True
    device.want(keeper, "a")
    assert until(keeper, D.CHECKING, "a", "disk is full").stalled
    eventually(lambda: len(device.trials.begun) > 2 * MOST_TRIALS)
    assert keeper.reports()[0].status is D.CHECKING
    device.trials.full = False
    until(keeper, D.ACTIVE, "a")


def test_a_trial_that_crashes_broke_off_again_and_again_is_given_up(device: Device) -> None:
    keeper = device.start()
    wish = device.want(keeper, "a", hold="not yet")
    until(keeper, D.WAITING, "a", "not yet")
    keeper.stop()
    left = StateFile(device.places.state).read()
    StateFile(device.places.state).write(left.model_copy(update={"trials": MOST_TRIALS}))
    keeper = device.start()
    keeper.take(told(wish.model_copy(update={"hold": ""})))
    until(keeper, D.ROLLED_BACK, "a", f"interrupted {MOST_TRIALS} times")
    assert device.trials.begun == []


def test_a_cut_download_goes_on_and_what_is_damaged_comes_again(device: Device) -> None:
    keeper = device.start()
    device.server.away = True
    wish = device.want(keeper, "a", after_seconds=0.3)
    until(keeper, D.WAITING, "a", "not all come at once")
    until(keeper, D.FETCHING, "a", "the server is away")
    part = device.places.commit(wish.commit).path / "bundle.zip.part"
    part.write_bytes(b"x" * 10)  # left by an earlier life, and damaged
    device.server.cut, device.server.away = 100, False
    until(keeper, D.ACTIVE, "a")
    assert device.server.starts == [10, 110, 0]


def test_a_download_that_a_power_cut_has_damaged_comes_again(device: Device) -> None:
    keeper = device.start()
    device.server.away = True
    wish = device.want(keeper, "a", model=device.server.offer(b"a model"))
    until(keeper, D.FETCHING, "a", "the server is away")
    device.places.commit(wish.commit).bundle.write_bytes(b"")
    assert wish.model is not None
    model = device.places.coming / f"{wish.model.sha256}.safetensors"
    model.write_bytes(b"")
    device.trials.problems["a"] = "stay"
    device.server.away = False
    until(keeper, D.ROLLED_BACK, "a", "stay")
    assert model.read_bytes() == b"a model"


def test_it_ends_at_once_while_the_server_lets_it_wait(device: Device) -> None:
    keeper, device.server.away = device.start(), TryLater("too busy", 60.0)
    device.want(keeper, "a")
    until(keeper, D.FETCHING, "a", "too busy")
    begin = time.monotonic()
    keeper.stop()
    assert time.monotonic() - begin < 3.0


def test_a_bundle_that_leads_out_is_refused(device: Device, tmp_path: Path) -> None:
    import io
    import zipfile

    keeper, stream = device.start(), io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("../../evil.py", "boom")
    bundle = device.server.offer(stream.getvalue())
    keeper.take(told(DesiredDeployment(task="mnist", commit="e" * 40, bundle=bundle)))
    until(keeper, D.ROLLED_BACK, "e", "a path that leads out of it")
    assert not list(tmp_path.rglob("evil.py"))


def test_what_names_no_file_of_ours_is_not_heeded(device: Device) -> None:
    keeper, fine = device.start(), BlobRef(sha256="0" * 64, size=1)
    for values in (
        {"commit": "../../home", "bundle": fine},
        {"commit": "a" * 40, "bundle": BlobRef(sha256="../x", size=1)},
        {"commit": "a" * 40, "bundle": fine, "subfolder": "/etc"},
    ):
        keeper.take(told(DesiredDeployment(task="mnist", **values)))
        assert keeper.status().desired is None


def test_a_wish_that_is_taken_back_is_forgotten(device: Device) -> None:
    keeper = device.start()
    device.server.away = True
    device.want(keeper, "a")
    until(keeper, D.FETCHING, "a", "the server is away")
    keeper.stop()
    keeper = device.start()
    assert keeper.reports()[0].status is D.FETCHING, "nothing was heard of the server yet"
    keeper.take(told())
    until(keeper, D.WAITING, "a", "does not name a commit for this device any more")


def test_what_was_measured_of_both_commits_is_reported(device: Device) -> None:
    keeper = device.start()
    device.want(keeper, "a")
    until(keeper, D.ACTIVE, "a")
    device.trials.metrics = {"a": 0.9, "b": 0.7}
    model = device.server.offer(b"a model")
    device.want(keeper, "b", model=model, metric="accuracy")
    report = until(keeper, D.ACTIVE, "b")
    assert (report.metrics, report.before) == ({"accuracy": 0.7}, {"accuracy": 0.9})
    assert device.trials.begun == ["a", "b", "a"]


def test_a_commit_that_is_damaged_on_this_disk_begins_anew(device: Device) -> None:
    keeper = device.start()
    wish = device.want(keeper, "a")
    until(keeper, D.ACTIVE, "a")
    keeper.stop()
    for file in sorted(device.places.commit(wish.commit).app.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    device.places.commit(wish.commit).app.rmdir()
    keeper = device.start()
    assert keeper.reports()[0].active is None
    keeper.take(told(wish))
    assert until(keeper, D.ACTIVE, "a").active == wish.commit


def test_commits_that_are_no_good_do_not_pile_up(device: Device) -> None:
    keeper = device.start()
    for letter in "abcd":
        device.trials.problems[letter] = "bad" if letter != "a" else ""
        device.want(keeper, letter)
        until(keeper, D.ACTIVE if letter == "a" else D.ROLLED_BACK, letter)
    assert {path.name[0] for path in device.places.commits.iterdir()} == {"a", "d"}


def test_where_no_links_can_be_made_a_commit_runs_all_the_same(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refused)
    keeper = device.start()
    device.want(keeper, "a")
    until(keeper, D.ACTIVE, "a")
    assert device.training.runs == ["", "a"]


def test_what_is_half_removed_is_not_taken_for_whole(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = device.start()
    place = device.places.commit(device.want(keeper, "a").commit)
    until(keeper, D.ACTIVE, "a")
    with monkeypatch.context() as patch:  # the machine dies before the first file is gone
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        remove_folder(place.path)
    assert not place.path.exists()
    (left,) = device.places.commits.iterdir()
    remove_folder(left)
    assert list(device.places.commits.iterdir()) == []


# --- environments ------------------------------------------------------------------------------


@dataclass
class Shelf:
    """Wheels, and environments as folders that name them."""

    folder: Path
    built: list[str] = field(default_factory=list)
    full: bool = False

    def path(self, ref: WheelRef) -> Path | None:
        found = self.folder / ref.sha256 / ref.name
        return found if found.exists() else None

    def add(self, file: Path, ref: WheelRef) -> Path:
        target = self.folder / ref.sha256 / ref.name
        target.parent.mkdir(parents=True)
        target.write_bytes(file.read_bytes())
        return target

    def free(self, keep: set[str]) -> None:
        for found in self.folder.iterdir() if self.folder.exists() else []:
            if found.name not in keep:
                (next(found.iterdir())).unlink()
                found.rmdir()

    def build_environment(
        self, target: Path, wheels: Sequence[Path], *, python: Path, cache: Path
    ) -> None:
        if self.full:
            raise Unavailable("the device's disk is full (/x): free some space")
        (target / "bin").mkdir(parents=True)
        (target / "bin" / "python").write_text("")
        self.built.append(" ".join(sorted(path.name for path in wheels)))

    def environment_python(self, target: Path) -> Path:
        return target / "bin" / "python"

    def is_complete(self, target: Path) -> bool:
        return self.environment_python(target).exists()

    def installed_packages(self, target: Path, names: Sequence[str]) -> dict[str, str]:
        return {name: "1.0" for name in names}


@pytest.fixture
def shelf(device: Device, tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path / "shelf")
    device.environments = WheelEnvironments(
        "3.11/x86_64-manylinux_2_36",
        lambda task, commit, platform: device.server.packages,
        shelf,
        shelf,
        tmp_path / "cache",
    )
    return shelf


def wheels(server: Server, *names: str) -> list[WheelRef]:
    refs = [server.offer(name.encode() * 50) for name in names]
    return [
        WheelRef(name=f"{name}-1.0-py3-none-any.whl", sha256=ref.sha256, size=ref.size)
        for name, ref in zip(names, refs, strict=True)
    ]


def test_an_environment_is_built_once_for_all_that_have_its_wheels(
    device: Device, shelf: Shelf
) -> None:
    server, keeper = device.server, device.start()
    server.packages = Packages(status="preparing", reason="the server locks the packages")
    wish = device.want(keeper, "a")
    until(keeper, D.PREPARING, "a", "the server locks")
    device.news.clear()
    asked = device.places.state.stat().st_mtime_ns
    time.sleep(0.5)
    assert device.news == [], "it looks again and again, and tells it once"
    assert device.places.state.stat().st_mtime_ns == asked
    both = wheels(server, "numpy", "pandas")
    server.packages = Packages(status="ready", wheels=both, named=["numpy"])
    keeper.take(told(wish.model_copy(update={"subject": "look again"})))
    assert until(keeper, D.ACTIVE, "a").packages == {"numpy": "1.0"}
    device.want(keeper, "b")
    until(keeper, D.ACTIVE, "b")
    assert len(shelf.built) == 1
    environment = device.places.commit("b" * 40).env.resolve()
    assert environment == device.places.commit("a" * 40).env.resolve()

    server.packages = Packages(status="ready", wheels=both[:1], named=["numpy"])
    for letter in ("c", "d"):
        device.want(keeper, letter)
        until(keeper, D.ACTIVE, letter)
        eventually(lambda one=letter: not (device.places.coming / one).exists())
    assert len(shelf.built) == 2
    eventually(lambda: not environment.exists(), what="no commit needs it any more")
    eventually(lambda: [one.name for one in shelf.folder.iterdir()] == [both[0].sha256])

    server.packages = Packages(status="refused", reason="pandas has no wheel for this platform")
    device.want(keeper, "e")
    until(keeper, D.ROLLED_BACK, "e", "pandas has no wheel for this platform")


def test_a_full_disk_is_said_and_waited_for(device: Device, shelf: Shelf) -> None:
    with small_disk(device.root / "home", 40 << 20):
        keeper = device.start()
        device.want(keeper, "a")
        until(keeper, D.ACTIVE, "a")
        ballast = device.root / "home" / "ballast"
        ballast.write_bytes(bytes(20 << 20))
        big = device.server.offer(bytes(6 << 20))
        wheel = WheelRef(name="big-1.0-py3-none-any.whl", sha256=big.sha256, size=big.size)
        device.server.packages = Packages(status="ready", wheels=[wheel])
        device.want(keeper, "b")
        report = until(keeper, D.PREPARING, "b", "31 MB are needed")
        assert (report.stalled, report.active) == (True, "a" * 40)
        assert "free some space" in report.reason
        ballast.unlink()
        until(keeper, D.PREPARING, "b", "needed")  # 31 MB and a little to spare: still too small
        small = device.server.offer(bytes(1 << 20))
        wheel = WheelRef(name="small-1.0-py3-none-any.whl", sha256=small.sha256, size=small.size)
        device.server.packages = Packages(status="ready", wheels=[wheel])
        assert not until(keeper, D.ACTIVE, "b").stalled
        shelf.full = True
        keeper.stop()


def test_a_builder_without_room_stalls(device: Device, shelf: Shelf) -> None:
    shelf.full, keeper = True, device.start()
    device.server.packages = Packages(status="ready", wheels=wheels(device.server, "numpy"))
    device.want(keeper, "a")
    assert until(keeper, D.PREPARING, "a", "is full").stalled
    shelf.full = False
    until(keeper, D.ACTIVE, "a")


def test_nothing_to_approve(device: Device) -> None:
    keeper = device.start()
    with pytest.raises(Conflict, match="no commit waits for approval"):
        keeper.approve("a" * 40)
    assert keeper.status().why == "the server has not named a commit for this device yet"
    assert StateFile(device.places.state).read() == DeploymentState()
