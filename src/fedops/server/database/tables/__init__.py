"""The tables, a module a domain; foreign keys cross them, so all are loaded together."""

from fedops.server.database.tables.access import TokenRow as TokenRow
from fedops.server.database.tables.access import UserRow as UserRow
from fedops.server.database.tables.assignments import AssignmentRow as AssignmentRow
from fedops.server.database.tables.assignments import BenchRow as BenchRow
from fedops.server.database.tables.assignments import InstructionRow as InstructionRow
from fedops.server.database.tables.base import Base as Base
from fedops.server.database.tables.delivery import CommitRow as CommitRow
from fedops.server.database.tables.delivery import DeploymentRow as DeploymentRow
from fedops.server.database.tables.delivery import DeviceUpgradeRow as DeviceUpgradeRow
from fedops.server.database.tables.delivery import HookRow as HookRow
from fedops.server.database.tables.delivery import PackagesRow as PackagesRow
from fedops.server.database.tables.delivery import RolloutRow as RolloutRow
from fedops.server.database.tables.delivery import SourceRow as SourceRow
from fedops.server.database.tables.delivery import UpgradeRow as UpgradeRow
from fedops.server.database.tables.devices import DeviceRow as DeviceRow
from fedops.server.database.tables.devices import MembershipRow as MembershipRow
from fedops.server.database.tables.devices import PresenceRow as PresenceRow
from fedops.server.database.tables.events import EventRow as EventRow
from fedops.server.database.tables.files import ArtifactRow as ArtifactRow
from fedops.server.database.tables.files import BundleRow as BundleRow
from fedops.server.database.tables.files import RemovalRow as RemovalRow
from fedops.server.database.tables.models import AliasMoveRow as AliasMoveRow
from fedops.server.database.tables.models import AliasRow as AliasRow
from fedops.server.database.tables.models import ModelVersionRow as ModelVersionRow
from fedops.server.database.tables.rounds import MetricRow as MetricRow
from fedops.server.database.tables.rounds import ParticipationRow as ParticipationRow
from fedops.server.database.tables.rounds import RoundPictureRow as RoundPictureRow
from fedops.server.database.tables.rounds import RoundRow as RoundRow
from fedops.server.database.tables.rounds import RoundScoresRow as RoundScoresRow
from fedops.server.database.tables.rounds import RunPlaceRow as RunPlaceRow
from fedops.server.database.tables.rounds import SelectionRow as SelectionRow
from fedops.server.database.tables.runs import AttemptRow as AttemptRow
from fedops.server.database.tables.runs import RunRow as RunRow
from fedops.server.database.tables.runs import StudyRow as StudyRow
from fedops.server.database.tables.schedules import DataRow as DataRow
from fedops.server.database.tables.schedules import FiringRow as FiringRow
from fedops.server.database.tables.schedules import ScheduleRow as ScheduleRow
from fedops.server.database.tables.server import LeaseRow as LeaseRow
from fedops.server.database.tables.server import MetaRow as MetaRow
from fedops.server.database.tables.server import (
    NotificationChannelRow as NotificationChannelRow,
)
from fedops.server.database.tables.server import NotificationRow as NotificationRow
from fedops.server.database.tables.server import OpenOccurrenceRow as OpenOccurrenceRow
from fedops.server.database.tables.server import UploadSlotRow as UploadSlotRow
from fedops.server.database.tables.serving import ServingRow as ServingRow
from fedops.server.database.tables.tasks import TaskRow as TaskRow
from fedops.server.database.tables.telemetry import LogBookRow as LogBookRow
from fedops.server.database.tables.telemetry import LogRow as LogRow
from fedops.server.database.tables.telemetry import RecordRow as RecordRow
