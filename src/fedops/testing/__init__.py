"""Fakes and checks that ship with FedOps, for tests of ours and of whoever extends it."""

from fedops.scalize.adapter.conformance import check_adapter as check_adapter
from fedops.testing.fakes import FakeClock as FakeClock
from fedops.testing.fakes import FakeEngines as FakeEngines
