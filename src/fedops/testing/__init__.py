"""Fakes and checks that ship with FedOps, for tests of ours and of whoever extends it."""

from fedops.scalize.adapter.conformance import check_adapter as check_adapter
from fedops.testing.fakes import FakeClock as FakeClock
from fedops.testing.fakes import FakeEngines as FakeEngines
from fedops.testing.in_memory_server import InMemoryServer as InMemoryServer
from fedops.testing.in_memory_work import Refused as Refused
from fedops.testing.in_memory_work import Work as Work
from fedops.testing.in_memory_work import trained_by as trained_by
from fedops.testing.light_deployments import LightDeployment as LightDeployment
