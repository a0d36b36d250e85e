"""What an operator may do."""

from __future__ import annotations

from fedops.api_client.operator_delivery import OperatorDelivery
from fedops.api_client.operator_devices import OperatorDevices
from fedops.api_client.operator_models import OperatorModels
from fedops.api_client.operator_runs import OperatorRuns, OperatorStudies
from fedops.api_client.operator_schedules import OperatorSchedules
from fedops.api_client.operator_tasks import OperatorTasks
from fedops.api_client.operator_users import OperatorNotifications, OperatorUsers
from fedops.core import contracts as c


class OperatorClient(
    OperatorDevices,
    OperatorTasks,
    OperatorDelivery,
    OperatorRuns,
    OperatorStudies,
    OperatorSchedules,
    OperatorModels,
    OperatorUsers,
    OperatorNotifications,
):
    """What a user may do, with a personal token: which calls, their role decides.

    Beside the errors that a method names, each raises ``Forbidden`` when the token does not allow the call,
    ``Unavailable`` when the server cannot be reached, and ``Invalid`` for a name that no task, device or
    version can have.

    In the examples ``operator`` is such a client and ``c`` is ``fedops.core.contracts``. On its server the
    devices ``pi`` and ``jetson`` take part in the tasks ``mnist`` and ``digits``. Of ``mnist``, the run
    ``finished`` made ``V1`` in one round, and the run ``stopped`` ended after one of three. Of ``digits``,
    the run ``active`` goes on and has one of its three rounds. The app of ``mnist`` is a commit, ``ccc...``.
    """

    def info(self) -> c.ServerInfo:
        """What the server is and how much it has to do.

        >>> found = operator.info()
        >>> found.devices, found.active_runs
        (3, 1)
        """
        return self._call(c.ServerInfo, "GET", "/info")
