"""Tables of aliases and tokens."""

from rich.table import Table

from fedops.console.model_tables import aliases_table
from fedops.console.tasks import tokens_table
from fedops.core import contracts as c


def moves(*versions: tuple[int, bool]) -> list[c.AliasMoveRead]:
    return [
        c.AliasMoveRead(version=version, who="operator", at=1.0, undone_at=2.0 if undone else None)
        for version, undone in versions
    ]


def before(alias: c.AliasRead) -> str:
    table = aliases_table([alias])
    assert isinstance(table, Table)
    return str(next(iter(table.columns[3].cells)))


def test_before_is_where_it_pointed_and_what_of_that_was_rolled_back() -> None:
    alias = c.AliasRead(name="serving", version=1, moved_at=3.0, moves=moves((2, True), (1, False)))
    assert before(alias) == "V2 (rolled back)"
    again = alias.model_copy(
        update={"version": 3, "moves": moves((3, False), (2, True), (1, False))}
    )
    assert before(again) == "V2 (rolled back), V1"


def test_a_token_that_is_of_no_use_any_more_says_so() -> None:
    def state(**changed: object) -> str:
        given = {"id": 1, "kind": "join", "note": "", "created_at": 0.0, "revoked": False}
        token = c.TokenRead.model_validate({"expires_at": 4e9, "uses_left": 1, **given, **changed})
        table = tokens_table([token])
        assert isinstance(table, Table)
        return str(next(iter(table.columns[4].cells)))

    assert state() == "valid"
    assert state(uses_left=0) == "used up"
    assert state(expires_at=1.0) == "expired"
    assert state(revoked=True, uses_left=0) == "revoked"
