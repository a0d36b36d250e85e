"""Who this device is: its data dir, its device key, its token."""

from __future__ import annotations

import json
import logging
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedops.core.errors import Invalid, NotFound, Unavailable
from fedops.platforms.files import make_own
from fedops.storage.atomic_files import write_atomic

logger = logging.getLogger("fedops.client")


@dataclass(frozen=True)
class DataDir:
    """The data dir of one device: the names of all that lies in it."""

    path: Path

    def __post_init__(self) -> None:
        """A process that works in another folder, as a project may want, finds the same place."""
        object.__setattr__(self, "path", self.path.absolute())

    @property
    def identity(self) -> Path:
        return self.path / "device.json"

    @property
    def device_key(self) -> Path:
        return self.path / "node-key.pem"  # so it was called when devices were Flower nodes

    @property
    def authorities(self) -> Path:
        """The certificate authorities of the server, if the device pins them."""
        return self.path / "ca.pem"

    @property
    def device_config(self) -> Path:
        return self.path / "device.toml"

    @property
    def local_token(self) -> Path:
        return self.path / "local-token"

    @property
    def training_token(self) -> Path:
        """What the training client's local port asks for: an app may read it, and no more is behind it."""
        return self.path / "training-token"

    @property
    def local_api(self) -> Path:
        """Where the local API of the running Client Manager listens."""
        return self.path / "local-api.json"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def child_pid(self) -> Path:
        return self.path / "training-client.pid"

    @property
    def spool(self) -> Path:
        return self.path / "spool.db"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def rounds(self) -> Path:
        return self.path / "rounds"

    @property
    def refusal(self) -> Path:
        """The last work that it could not do, until that is gone."""
        return self.path / "last-refusal.json"

    @property
    def work(self) -> Path:
        """What the device holds: a folder for each assignment."""
        return self.path / "work"

    @property
    def epochs(self) -> Path:
        """Trainings that are not done yet."""
        return self.path / "epochs"

    @property
    def looks(self) -> Path:
        """What is kept of looks at the data, by task. It never leaves the device."""
        return self.path / "looks"

    @property
    def states(self) -> Path:
        """``context.state`` of apps, by run."""
        return self.path / "states"

    @property
    def app(self) -> Path:
        """Which app the Client Manager ran last."""
        return self.path / "app.json"

    @property
    def deployments(self) -> Path:
        """The code of tasks as the server sends it, with its environments."""
        return self.path / "deployments"

    @property
    def evaluations(self) -> Path:
        """Reports on models that the device's owner evaluated here. They are never sent."""
        return self.path / "evaluations"

    @property
    def models(self) -> Path:
        """Models that need not be fetched again."""
        return self.path / "models"

    @property
    def serving(self) -> Path:
        """What is remembered of the model that is served, and what is on its way."""
        return self.path / "serving"

    def create(self) -> None:
        """Make the directory, for this user only. ``Invalid``: it cannot be."""
        try:
            if make_own(self.path):
                logger.warning("%s could be read by other users; now it is yours alone", self.path)
        except OSError as error:
            raise Invalid(
                f"cannot use {self.path} as the device's folder: {error.strerror}; "
                "give another one with --home"
            ) from None

    def make_local_token(self) -> str:
        """The secret that the Client Manager's local port asks for; made once."""
        return _made_once(self.local_token)

    def make_training_token(self) -> str:
        """The secret of the training client's own port; made once."""
        return _made_once(self.training_token)


@dataclass(frozen=True)
class Identity:
    """What enrolment gave this device."""

    server: str
    device_id: str
    name: str
    token: str
    #: Since when it has the token, in POSIX seconds by its own clock. None: since before this was noted.
    token_since: float | None = None
    #: A token that is to replace it, and may not be confirmed yet.
    next_token: str | None = None
    #: The token before: a server that was restored from a backup may know only that.
    former_token: str | None = None

    def save(self, home: DataDir) -> None:
        write_secret(home.identity, json.dumps(asdict(self), indent=2) + "\n")


def load_identity(home: DataDir) -> Identity:
    """The identity of a device that has joined.

    Raises:
        NotFound: it has not joined yet.
        Invalid: the file was damaged.
        Unavailable: it cannot be read.
    """
    try:
        return Identity(**json.loads(home.identity.read_text()))
    except FileNotFoundError:
        raise NotFound(
            f"this device has not joined a server yet: there is no {home.identity}; "
            "join it with the line that 'fedops token create' shows ('fedops join URL')"
        ) from None
    except OSError as error:
        raise Unavailable(f"cannot read {home.identity}: {error.strerror}") from None
    except (ValueError, TypeError) as error:
        raise Invalid(f"{home.identity} is damaged: {error}; remove it and join again") from None


#: The systemd credential (``LoadCredential=``) that holds what ``device.json`` would hold.
CREDENTIAL = "fedops-device"


def provided_identity(credentials: Path | None) -> Identity | None:
    """The identity that systemd hands in, if it does. ``Invalid``: it cannot be read."""
    file = credentials / CREDENTIAL if credentials else None
    if file is None or not file.exists():
        return None
    try:
        return Identity(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise Invalid(f"the systemd credential '{CREDENTIAL}' is no device.json: {error}") from None


def _made_once(path: Path) -> str:
    if not path.exists():
        write_secret(path, secrets.token_urlsafe(32))
    return path.read_text().strip()


def write_secret(path: Path, text: str) -> None:
    """Replace a file that only this user may read."""
    write_atomic(path, text.encode(), mode=0o600)


# --- the device key ----------------------------------------------------------------------------


def load_or_make_key(home: DataDir) -> ec.EllipticCurvePrivateKey:
    """The device key (EC P-384). Made before enrolment, so that a repeated join presents the same."""
    if not home.device_key.exists():
        key = ec.generate_private_key(ec.SECP384R1())
        write_secret(home.device_key, _as_pem(key))
    return load_key(home.device_key)


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a device key.

    Raises:
        Invalid: there is none, or it is no EC key.
    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise Invalid(f"cannot read the device key {path}: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Invalid(f"the device key {path} is no elliptic curve key")
    return key


def public_openssh(key: ec.EllipticCurvePrivateKey) -> str:
    """The public half as it is handed to the server."""
    encoded = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return encoded.decode()


def _as_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
