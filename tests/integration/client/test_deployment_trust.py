"""Signed commits, with real keys and Git; and a trial of real code, in its own process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from deploying import write_app

from fedops.client.deployment.commits.places import Places
from fedops.client.deployment.commits.signatures import check_signature, require_pack
from fedops.client.deployment.trial import TrialOrder, Trials
from fedops.client.deployment.trial_messages import TrialAnswer
from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import DeviceConfig, Limits, load_device_config
from fedops.client.device.training_home import TrainingHome
from fedops.client.spool.child_output import Output
from fedops.client.supervision.training_program import AppPlace, TrainingPrograms
from fedops.client.work.reachability import Over
from fedops.core.contracts import BlobRef, DesiredDeployment
from fedops.core.errors import Invalid
from fedops.flower.app_package import build_bundle
from fedops.scalize.flow.project import Project
from fedops.storage.tensors import save

TINY = Path(__file__).parents[2] / "acceptance" / "apps" / "tiny"


# --- signatures --------------------------------------------------------------------------------


@dataclass
class Repository:
    """A repository with the light app in ``apps/light``, code beside it in ``lib``, and keys to sign with."""

    folder: Path

    def git(self, *words: str, stdin: bytes = b"") -> bytes:
        alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        names = [f"{who}={given}" for who, given in (("user.name", "Ada"), ("user.email", "ada@x"))]
        config = [word for name in names for word in ("-c", name)]
        return subprocess.run(
            ["git", *config, "-C", str(self.folder / "repository"), *words],
            input=stdin,
            check=True,
            capture_output=True,
            env={**os.environ, **alone},
        ).stdout

    def key(self, name: str) -> Path:
        path = self.folder / name
        made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
        subprocess.run(made, check=True)
        return path

    def commit(self, key: Path | None) -> str:
        sign = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={key}"] if key else []
        self.git(*sign, "commit", "-q", "--allow-empty", "-m", "new", *(["-S"] if key else []))
        return self.git("rev-parse", "HEAD").decode().strip()

    def pack(self, commit: str) -> Path:
        """The commit with its files, and nothing of what was before."""
        names = self.git("rev-list", "--objects", "--no-walk", commit)
        target = self.folder / f"{commit}.pack"
        target.write_bytes(self.git("pack-objects", "--stdout", "-q", stdin=names))
        return target


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("without ssh-keygen nothing can be signed")
    found = Repository(tmp_path)
    app = write_app(tmp_path / "repository/apps/light", "signed", tmp_path / "marks")
    (app / "big.py").write_text("x = 1\n" * 100)
    manifest = (app / "pyproject.toml").read_text()
    beside = manifest.replace("[tool.fedops]", '[tool.fedops]\npath = [".", "../../lib"]')
    (app / "pyproject.toml").write_text(beside)
    (tmp_path / "repository/lib").mkdir()
    (tmp_path / "repository/lib/util.py").write_text("y = 2\n")
    (tmp_path / "repository/.gitattributes").write_text("* text eol=crlf\n")
    subprocess.run(["git", "init", "-q", str(tmp_path / "repository")], check=True)
    found.git("add", "-A")
    return found


def test_only_what_an_allowed_key_signed_passes(repository: Repository, tmp_path: Path) -> None:
    ada, eve = repository.key("ada"), repository.key("eve")
    signers = tmp_path / "signers"
    signers.write_text(f'ada@x namespaces="git" {ada.with_suffix(".pub").read_text()}')
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(build_bundle(tmp_path / "repository/apps/light"))
    number = iter(range(10))

    def check(commit: str, pack: Path, allowed: Path = signers, file: Path = bundle) -> None:
        folder = tmp_path / f"check-{next(number)}"
        folder.mkdir()
        ref = BlobRef(sha256="0" * 64, size=1)
        wish = DesiredDeployment(
            task="mnist", commit=commit, bundle=ref, pack=ref, subfolder="apps/light"
        )
        check_signature(wish, file, pack, allowed, folder)

    signed = repository.commit(ada)
    pack = repository.pack(signed)
    check(signed, pack)

    changed = tmp_path / "changed.zip"
    (tmp_path / "repository/lib/util.py").write_text("import os\n")
    changed.write_bytes(build_bundle(tmp_path / "repository/apps/light"))
    with pytest.raises(Invalid, match=r"does not hold the files of the signed commit .*util\.py"):
        check(signed, pack, file=changed)

    stranger = repository.commit(eve)
    with pytest.raises(Invalid, match="is not signed by anybody in"):
        check(stranger, repository.pack(stranger))
    unsigned = repository.commit(None)
    with pytest.raises(Invalid, match=r"is not signed by anybody in .*git commit -S"):
        check(unsigned, repository.pack(unsigned))
    with pytest.raises(Invalid, match="does not hold it"):
        check(unsigned, pack)
    with pytest.raises(Invalid, match="there is no file"):
        check(signed, pack, allowed=tmp_path / "nowhere")
    no_pack = DesiredDeployment(
        task="mnist", commit=signed, bundle=BlobRef(sha256="0" * 64, size=1)
    )
    with pytest.raises(Invalid, match="comes from a plain folder"):
        require_pack(no_pack)


# --- trials ------------------------------------------------------------------------------------


@dataclass
class Place:
    root: Path
    seconds: float = 60.0

    def run(self, order: TrialOrder, over: Callable[[], bool] = lambda: False) -> TrialAnswer:
        home = DataDir(self.root / "home")
        home.create()
        config = load_device_config(home.device_config)
        training = TrainingHome(home, config.limits)
        places = Places.of(training, "mnist")
        places.prepare()
        programs = TrainingPrograms(
            home, config, training, ["x"], [], "127.0.0.1", 0, lambda: ("pi", "d1")
        )
        output = Output(self.root / "trial.log")
        answer = Trials(places, programs, output, self.seconds).run(order, over)
        assert not list(places.trials.iterdir()), "nothing of it stays"
        return answer


def test_a_trial_evaluates_the_newest_model_and_trains_a_batch(tmp_path: Path) -> None:
    app = tmp_path / "app"
    shutil.copytree(TINY, app)
    adapter = Project.open(app).make_adapter(3)
    model = tmp_path / "model.safetensors"
    save(adapter.get_tensors(), model)
    place = Place(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/device.toml").write_text("[limits]\nmax_batch_size = 4\nconfine = true\n")
    order = TrialOrder(AppPlace(app, Path(sys.executable)), model, named=["torch", "nothing"])
    found = place.run(order)
    if "cannot be confined" in found.problem:
        pytest.skip(found.problem)
    assert found.problem == ""
    assert found.fingerprint == adapter.contract.fingerprint
    assert 0 <= found.metrics["accuracy"] <= 1
    assert found.trained == 4, "within the limits of the owner"
    assert set(found.packages) == {"fedops", "torch"}
    rounds = tmp_path / "home/rounds"
    assert not rounds.exists() or not list(rounds.rglob("*.safetensors"))


def test_a_trial_that_hangs_or_is_not_wanted_any_more_is_ended(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", "slow", tmp_path / "marks", "import time; time.sleep(60)")
    order = TrialOrder(AppPlace(app))
    assert "within 1 s (FEDOPS_CLIENT_TRIAL_SECONDS)" in Place(tmp_path, 1.0).run(order).problem
    with pytest.raises(Over):
        Place(tmp_path).run(order, lambda: True)
    dies = write_app(tmp_path / "dies", "dies", tmp_path / "marks", "import os; os._exit(3)")
    assert "code 3" in Place(tmp_path).run(TrialOrder(AppPlace(dies))).problem


def test_a_trial_takes_no_more_memory_than_the_owner_allows(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", "large", tmp_path / "marks", "import time; time.sleep(60)")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/device.toml").write_text("[limits]\nmemory_mb = 20\n")
    assert (
        "device.toml allows memory_mb = 20"
        in Place(tmp_path).run(TrialOrder(AppPlace(app))).problem
    )


# --- the owner's config --------------------------------------------------------------------------


def test_what_the_owner_may_write(tmp_path: Path) -> None:
    file = tmp_path / "device.toml"
    assert DeviceConfig().deploy.source == "server"
    for wrong, said in (
        ('source = "local"', "belong together"),
        ('folder = "/app"', "belong together"),
        ('source = "local"\nfolder = "app"', "no absolute path"),
        ('allowed_signers = "keys"', "no absolute path"),
        ('source = "git"', "source"),
    ):
        file.write_text(f"[deploy]\n{wrong}\n")
        with pytest.raises(Invalid, match=said):
            load_device_config(file)
    assert Limits() == DeviceConfig().limits
