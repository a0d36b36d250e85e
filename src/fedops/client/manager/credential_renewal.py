"""The device's credential, replaced now and then: kept on disk first, then confirmed, then used alone."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fedops.api_client import DeviceClient
from fedops.client.device.data_dir import DataDir, Identity, load_identity
from fedops.client.work.reachability import Reachability
from fedops.core.errors import Conflict, FedOpsError, Forbidden, NotFound
from fedops.failpoints import reached

logger = logging.getLogger("fedops.client")

#: How often it is looked whether it is time, and how much sooner at most that is. Seconds, and a part.
LOOK_SECONDS = 60.0
DAY_SECONDS = 86_400.0
_SOONER = 0.1


class CredentialRenewal:
    """One thread. ``use``: call with this token from now on.

    ``client`` has a connection of its own, so that a call with one token never waits behind another. Whatever
    dies in between, the device has a token that is good: the old one is good until the new one is confirmed,
    and the new one is on disk before it is.
    """

    def __init__(
        self,
        home: DataDir,
        identity: Identity,
        client: DeviceClient,
        reach: Reachability,
        use: Callable[[str], None],
        seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home = home
        self._identity = identity
        self._client = client
        self._reach = reach
        self._use = use
        self._seconds = seconds * (1.0 - random.uniform(0.0, _SOONER))
        self._clock = clock
        self._stopped = threading.Event()
        self._look = threading.Event()
        #: Whose calls ``client`` makes: of the thread, or of who was refused.
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="credential", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end. It is not waited for."""
        self._stopped.set()
        self._look.set()

    @property
    def is_open(self) -> bool:
        """Whether a renewal was begun whose end is not known: a refused call may have had the wrong token."""
        return self._identity.next_token is not None

    def look_now(self) -> None:
        """The server refused a token."""
        self._look.set()

    def settle(self) -> None:
        """Finish a renewal that was begun, maybe in an earlier life. Raises what is wrong with the server."""
        token = self._identity.next_token
        if token is None:
            return
        self._client.use_token(token)
        try:
            self._client.confirm_credential()
        except (Forbidden, Conflict) as error:  # it was never confirmed, and has ended
            logger.info("the new credential was not taken (%s): the old one stays", error.message)
            self._client.use_token(self._identity.token)
            self._keep(next_token=None)
            return
        reached("manager.credential.confirmed")
        self._use(token)
        former = self._identity.token
        self._keep(token=token, token_since=self._clock(), next_token=None, former_token=former)
        logger.info("the credential of this device was renewed")

    def renew(self) -> None:
        """Ask for a new one, keep it, confirm it, forget the old one."""
        made = self._client.renew_credential()
        reached("manager.credential.made")
        self._keep(next_token=made.token)
        reached("manager.credential.kept")
        self.settle()

    def go_back(self) -> bool:
        """Use the credential before the last one, if that is the one that the server knows; whether it is.

        A server that was restored from a backup may be of before the renewal.
        """
        with self._turn:
            return self._go_back()

    def _go_back(self) -> bool:
        former = self._identity.former_token
        if former is None or not self._is_refused(self._identity.token):
            return False
        if self._is_refused(former) is not False:
            self._client.use_token(self._identity.token)
            return False
        self._use(former)
        self._keep(token=former, token_since=None, former_token=None)
        logger.warning(
            "the server knows only the credential before the last one (was it restored from a backup?):"
            " it is used again"
        )
        return True

    def _is_refused(self, token: str) -> bool | None:
        """Whether the server does not know a token. None: it does not say."""
        self._client.use_token(token)
        try:
            self._client.me()
        except Forbidden:
            return True
        except FedOpsError:
            return None
        return False

    def _keep(self, **changes: Any) -> None:
        """Only what is ours: 'fedops join' may have changed the rest of the file meanwhile."""
        try:
            on_disk = load_identity(self._home)
        except FedOpsError:
            on_disk = self._identity
        self._identity = replace(on_disk, **changes)
        self._identity.save(self._home)

    def _is_due(self) -> bool:
        identity = self._identity
        if identity.token_since is None:
            return True
        return not 0.0 <= self._clock() - identity.token_since < self._seconds

    def _take_turn(self) -> None:
        if self.is_open:
            self.settle()
        elif self._is_due() and self._reach.reach.reachable:
            self.renew()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._look.clear()
            try:
                with self._turn:
                    self._take_turn()
            except NotFound:
                logger.debug("the server is older than this device: the credential stays")
                return
            except (FedOpsError, OSError) as error:
                logger.warning("the credential of this device was not renewed yet: %s", error)
            self._look.wait(min(LOOK_SECONDS, self._seconds / 10))
