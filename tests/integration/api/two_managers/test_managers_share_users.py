"""What one Server Manager decides about a user holds at the other."""

from __future__ import annotations

from manager_pair import Manager, eventually, needs_postgres
from people import user_token

from fedops.api_client import OperatorClient
from fedops.core import contracts as c
from fedops.core.errors import Forbidden, NotFound
from fedops.core.states import Role

pytestmark = needs_postgres


def _refused(client: OperatorClient) -> str:
    """Why, if it is."""
    try:
        client.task("mnist")
    except (Forbidden, NotFound) as error:
        return error.message
    return ""


def test_a_token_a_role_and_a_user_end_at_both(two: tuple[Manager, Manager]) -> None:
    lead, other = two
    lead.task()
    tokens = [user_token(lead, Role.OPERATOR) for _ in range(2)]
    revoked, kept = (other.with_token(token) for token in tokens)
    assert not _refused(revoked)
    assert not _refused(kept)
    lead.operator.revoke_user_token(revoked.whoami().token_id, "the-operator")
    eventually(lambda: "was revoked" in _refused(revoked))
    assert not _refused(kept)
    lead.operator.update_user("the-operator", c.UserUpdate(tasks=["digits"]))
    eventually(lambda: "among yours" in _refused(kept))
    lead.operator.update_user("the-operator", c.UserUpdate(all_tasks=True))
    eventually(lambda: not _refused(kept))
    lead.operator.update_user("the-operator", c.UserUpdate(disabled=True))
    eventually(lambda: "was disabled" in _refused(kept))


def test_each_has_an_admin_token_of_its_own(two: tuple[Manager, Manager]) -> None:
    lead, other = two
    first, second = lead.operator.whoami(), other.operator.whoami()
    assert first.user == second.user == "admin"
    assert first.token_id != second.token_id
