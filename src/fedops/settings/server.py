"""The settings of a Server Manager."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedops.core.errors import Invalid
from fedops.processes.log_output import LogFormat
from fedops.server_urls import is_host, is_loopback, normal_url
from fedops.settings.common import COMMON, MIB, Place, build, home_of


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


class ServerSettings(BaseSettings):
    """Of one Server Manager. Environment: ``FEDOPS_SERVER_...`` and ``FEDOPS_DATABASE_URL``."""

    model_config = SettingsConfigDict(env_prefix="FEDOPS_SERVER_", **COMMON)

    #: Where everything is kept.
    home: Place = Field(default_factory=lambda: home_of("server"))
    #: The address to listen on.
    host: str = "127.0.0.1"
    #: The port to listen on; 0: any free one.
    port: int = Field(default=8600, ge=0, le=65_535)
    #: The address at which others reach the server, if it is not ``http://host:port``.
    public_url: str | None = None
    #: Further names under which the server is reached, with commas between them. A request under a name that
    #: is none of these, nor that of ``public_url`` or of loopback, is refused. Without ``public_url``, any
    #: address is taken too.
    names: str = ""
    #: The proxies before the server, whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` count: addresses or
    #: networks, with commas between them.
    trusted_proxies: str = ""
    #: Allow an address other than loopback without TLS: whoever is on the way reads everything.
    insecure: bool = False
    #: Whether the server speaks TLS: ``auto`` on any address but loopback, ``on``, ``off``; ``proxy`` when a
    #: proxy in front of it does, and the network between the two is safe.
    tls: Literal["auto", "on", "off", "proxy"] = "auto"
    #: A certificate of your own, with those between it and its authority (PEM). None: the server makes one.
    tls_cert: Place | None = None
    #: The private key of ``tls_cert`` (PEM, without a password).
    tls_key: Place | None = None
    #: The certificate of the authority behind your own certificate or your proxy's, if devices are to pin it;
    #: None: devices trust whom their system trusts.
    tls_ca: Place | None = None
    #: Further names and addresses of the server, for the certificate that it makes; separated by commas.
    tls_names: str = ""
    #: With TLS: the port of 127.0.0.1 at which the FL servers that this server starts reach it, without TLS;
    #: 0: any free one.
    engine_port: int = Field(default=0, ge=0, le=65_535)
    #: Whether a valid join token approves a device at once.
    approval: Literal["auto", "manual"] = "auto"
    #: How often a device reports that it is online, in seconds.
    heartbeat_seconds: float = Field(default=4.0, gt=0, le=3_600)
    #: How often a device measures its CPU, memory, disk and so on, in seconds.
    telemetry_seconds: float = Field(default=10.0, gt=0, le=3_600)
    #: The SQLAlchemy URL of a PostgreSQL database. None: SQLite in the home folder.
    database_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices(
            "database_url", "FEDOPS_DATABASE_URL", "FEDOPS_SERVER_DATABASE_URL"
        ),
    )
    #: Whether ``/metrics`` answers without a token.
    metrics_open: bool = Field(
        default=False,
        validation_alias=AliasChoices(
            "metrics_open", "FEDOPS_METRICS_OPEN", "FEDOPS_SERVER_METRICS_OPEN"
        ),
    )
    #: How the log is written: ``text`` for people, ``json`` for programs, one object a line.
    log_format: LogFormat = Field(
        default="text",
        validation_alias=AliasChoices(
            "log_format", "FEDOPS_LOG_FORMAT", "FEDOPS_SERVER_LOG_FORMAT"
        ),
    )
    #: The largest request that the server accepts.
    max_body_bytes: int = Field(default=8 * MIB, ge=1_024)
    #: How many calls a device may make in a minute.
    device_calls_per_minute: float = Field(default=12_000.0, gt=0)
    #: How many bytes a device may send in a minute, beside its files.
    device_bytes_per_minute: float = Field(default=64.0 * MIB, gt=0)
    #: How many log lines of a device are kept in a minute, ten minutes' worth at once; others are counted.
    device_log_lines_per_minute: float = Field(default=12_000.0, gt=0)
    #: How many names the metrics of a device may have in one run; those under further names are counted.
    device_metric_names: int = Field(default=1_000, ge=1)
    #: How many machines may join from one address in an hour.
    joins_per_hour: float = Field(default=2_000.0, gt=0)
    #: The largest app bundle.
    max_bundle_bytes: int = Field(default=64 * MIB, ge=1_024)
    #: How many devices may upload at a time, over all processes of a database; the others wait in line.
    upload_slots: int = Field(default=32, ge=1, le=1_024)
    #: Where files are kept, as ``s3://BUCKET/PREFIX``. None: in the home folder.
    blobs_url: str | None = Field(
        default=None, pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?$"
    )
    #: The address of the S3 server. None: Amazon's.
    s3_endpoint: str | None = None
    #: The region of the bucket.
    s3_region: str = "us-east-1"
    #: The access key; None: as the machine has it (environment, instance profile).
    s3_access_key_id: str | None = None
    #: The secret of the access key.
    s3_secret_access_key: str | None = Field(default=None, repr=False)
    #: Let devices fetch models from S3 itself, with URLs that anybody who has them can use for a minute.
    s3_presigned: bool = False
    #: How much of what is in S3 is kept in the home folder too.
    s3_cache_bytes: int = Field(default=16_384 * MIB, ge=MIB)
    #: The path under which nginx has the folder of the stored files (``deploy/nginx.conf``). nginx then sends
    #: the files, so all devices must come through it.
    accel_prefix: str | None = Field(default=None, pattern=r"^/[A-Za-z0-9._/-]*[A-Za-z0-9._-]$")
    #: How much is kept of the logs of each run, and of each device outside of runs; the oldest go first.
    log_bytes: int = Field(default=32 * MIB, ge=64 << 10)
    #: How many days of the devices' telemetry are kept.
    telemetry_days: float = Field(default=7.0, gt=0)
    #: How long the results that devices delivered are kept: ``rounds`` until two more rounds are committed,
    #: ``run`` until the task's next run has committed a round. No result is kept for longer than 30 days.
    retention_updates: Literal["rounds", "run"] = "rounds"
    #: The largest result of a device that the server accepts, if the run sets no limit.
    max_update_bytes: int = Field(default=4_096 * MIB, ge=1_024)
    #: How many of a run's newest round checkpoints are kept, beside the best one.
    keep_checkpoints: int = Field(default=3, ge=2)
    #: How long an app may be tried before a task or a run of it is made, to find what would be wrong on every
    #: device, in seconds; what is not found by then, the run finds. 0: it is not tried.
    check_seconds: float = Field(default=20.0, ge=0, le=25)
    #: How long the code of a commit may be tried before it may be deployed, in seconds.
    commit_check_seconds: float = Field(default=300.0, gt=0, le=3_600)
    #: A file of user names and passwords for Git hosts, as ``git credential-store`` writes it (a line such as
    #: ``https://user:token@host``), which nobody else may read. None: repositories are read without.
    git_credentials: Place | None = None
    #: A private key for repositories that are read over ssh, which nobody else may read. None: the keys and
    #: the agent of the user that the server runs as. The hosts must be in that user's ``known_hosts``.
    git_ssh_key: Place | None = None
    #: How long a repository may take to answer or to be fetched, in seconds.
    git_seconds: float = Field(default=600.0, gt=0)
    #: The largest repository that is mirrored.
    max_repository_bytes: int = Field(default=2_048 * MIB, ge=MIB)
    #: The largest pack of one commit that is kept for devices that check its signature.
    max_commit_bytes: int = Field(default=512 * MIB, ge=MIB)
    #: The user as whom the code of apps runs on the server (only root may switch). None: the server's own.
    engine_user: str | None = Field(default=None, pattern=r"^[a-z_][a-z0-9_-]{0,31}$")
    #: The folder in which the code of apps runs. None: the home folder, or with another user ``HOME-engine``
    #: beside it, which that user must get to.
    engine_home: Place | None = None
    #: Whether the code of apps is kept from the network and the server's files. ``auto``: as far as this
    #: system can, ``require``: wholly, or no run begins, ``off``: not at all.
    engine_confinement: Literal["auto", "require", "off"] = "auto"
    #: How long an attempt may take until it reports that it is up, in seconds.
    attempt_start_seconds: float = Field(default=90.0, gt=0)
    #: How long the FL server of an attempt may be silent before the attempt is given up, in seconds.
    attempt_silence_seconds: float = Field(default=30.0, gt=0)
    #: How long the FL server may prepare, aggregate, evaluate or commit before its attempt is given up,
    #: in seconds.
    attempt_work_seconds: float = Field(default=3_600.0, gt=0)
    #: How long a run waits for the engine before it fails, in seconds.
    engine_wait_seconds: float = Field(default=3_600.0, gt=0)
    #: How long a run may be paused before it fails, in seconds.
    paused_seconds: float = Field(default=2_592_000.0, gt=0)
    #: How long a stopping or pausing run waits for its devices to confirm, in seconds.
    stop_seconds: float = Field(default=10.0, gt=0)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, given: str) -> str:
        for one in _listed(given):
            ip_network(one, strict=False)
        return given

    @property
    def listed_names(self) -> list[str]:
        return _listed(self.names)

    @field_validator("public_url")
    @classmethod
    def _is_url(cls, given: str | None) -> str | None:
        if given is None:
            return None
        if "://" not in given or "#" in given:
            raise ValueError(f"'{given}' is no URL: it looks like https://fl.example.org:8600")
        try:
            return normal_url(given)
        except Invalid as error:
            raise ValueError(error.message) from None

    @field_validator("tls_names", "names")
    @classmethod
    def _are_names(cls, given: str) -> str:
        for one in _listed(given):
            if not is_host(one):
                raise ValueError(
                    f"'{one}' is no name of a host and no address (without scheme and port)"
                )
        return given

    @property
    def listed_proxies(self) -> list[str]:
        """As networks; those of IPv4 also as they look by a socket for both kinds of addresses."""
        found = [ip_network(one, strict=False) for one in _listed(self.trusted_proxies)]
        mapped = [
            f"::ffff:{one.network_address}/{96 + one.prefixlen}"
            for one in found
            if one.version == 4
        ]
        return [*map(str, found), *mapped]

    @property
    def url(self) -> str:
        """Where the server is reached."""
        return (self.public_url or self._url_at(self.host)).rstrip("/")

    @property
    def local_url(self) -> str:
        """Where people on this machine reach the server."""
        return self._url_at("127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host)

    @property
    def engine_url(self) -> str:
        """Where the FL servers that this server starts reach it."""
        return f"http://127.0.0.1:{self.engine_port}" if self.uses_tls else self.local_url

    def _url_at(self, host: str) -> str:
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"{'https' if self.uses_tls else 'http'}://{host}:{self.port}"

    @property
    def uses_tls(self) -> bool:
        """Whether this process itself speaks TLS."""
        if self.tls == "auto":
            exposed = not is_loopback(self.host) and not self.insecure
            return exposed or self.tls_cert is not None
        return self.tls == "on"

    @property
    def is_insecure(self) -> bool:
        """Whether others can reach it, and nobody encrypts."""
        return not (self.uses_tls or self.tls == "proxy" or is_loopback(self.host))

    @property
    def tls_folder(self) -> Path:
        return self.home / "tls"

    @property
    def tls_name_list(self) -> list[str]:
        return _listed(self.tls_names)

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{self.home / 'fedops.db'}"

    @property
    def engine_folder(self) -> Path:
        """Where the code of apps runs: the folders ``engine`` and ``spool`` are in it."""
        beside = self.home.with_name(f"{self.home.name}-engine")
        return self.engine_home or (beside if self.engine_user else self.home)

    @property
    def admin_token_file(self) -> Path:
        return self.home / "admin-token"

    @property
    def local_url_file(self) -> Path:
        """Where the server says at its start how people on this machine reach it."""
        return self.home / "local-url"

    def require_safe_binding(self) -> None:
        """Refuse to serve other machines without TLS unless that was asked for."""
        if (self.tls_cert is None) != (self.tls_key is None):
            raise Invalid(
                "FEDOPS_SERVER_TLS_CERT and FEDOPS_SERVER_TLS_KEY belong together: set both"
            )
        if not self.is_insecure or self.insecure:
            return
        raise Invalid(
            f"refusing to listen on {self.host} without TLS: tokens would travel in the clear; leave out "
            "FEDOPS_SERVER_TLS=off, listen on 127.0.0.1, set FEDOPS_SERVER_TLS=proxy if a proxy in front "
            "speaks TLS, or give --insecure on a network you trust"
        )


def server_settings(**given: Any) -> ServerSettings:
    """The server's settings; what is given (and not None) wins over the environment."""
    return build(ServerSettings, given)
