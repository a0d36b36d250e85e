"""The reference says what the code does, and links lead somewhere."""

import importlib
import itertools
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REFERENCE)
        return importlib.import_module("generate")


@pytest.mark.parametrize(
    "name",
    ["cli.md", "config.md", "settings.md", "api.md", "permissions.md", "export.md", "answers.md"],
)
def test_the_page_is_what_the_code_gives(generate: ModuleType, name: str) -> None:
    assert (REFERENCE / name).read_text() == generate.page(name), "write it anew: make docs"


def test_every_config_key_and_setting_is_explained() -> None:
    bare = re.compile(r"^\| `[^|]*\|[^|]*\|[^|]*\|\s*\|$", re.MULTILINE)
    for name in ("config.md", "settings.md"):
        assert bare.findall((REFERENCE / name).read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_decision_is_in_the_list() -> None:
    listed = (ROOT / "docs" / "adr" / "README.md").read_text()
    for page in (ROOT / "docs" / "adr").glob("0*.md"):
        assert page.name in listed


#: Groups of entry points and files, which look like modules and are none.
NO_MODULES = {"fedops.adapters", "fedops.explainers", "fedops.conf", "fedops.db", "fedops.dump"}
NO_MODULES |= {"fedops.exe", "fedops.selectors"}
#: In output that a page shows, what logged a line.
LOGGER = re.compile(r"(?:INFO|WARNING|ERROR) +fedops[\w.]*")
MODULE = re.compile(r"(?<![\w./])fedops(?:\.[a-zA-Z_]\w*)+")
#: Decisions and the changelog speak of their own time, and one page of the modules of FedOps 1.
PAST = {"CHANGELOG.md", "coming-from-fedops-1.md"}
PRESENT = [page for page in PAGES if page.parent.name != "adr" and page.name not in PAST]


@pytest.mark.parametrize("page", PRESENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_a_page_names_exist(page: Path) -> None:
    text = LOGGER.sub("", page.read_text())
    for name in set(MODULE.findall(text)) - NO_MODULES:
        place = ROOT / "src" / "fedops"
        parts = name.split(".")[1:]
        while parts and ((place / parts[0]).is_dir() or (place / f"{parts[0]}.py").is_file()):
            place /= parts.pop(0)
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        assert parts == [] or (parts[0] in file.read_text() and len(parts) == 1), name


@pytest.mark.parametrize("page", PRESENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_a_page_shows_exist(page: Path) -> None:
    sections = re.split(r"^#{2,3} ", (REFERENCE / "cli.md").read_text(), flags=re.MULTILINE)
    about = {section.splitlines()[0]: section for section in sections}
    for block in re.findall(r"^```(?:console|bash)\n(.*?)^```", page.read_text(), re.S | re.M):
        for line in re.findall(r"^(?:\$ )?(fedops .*)", block.replace("\\\n", " "), re.M):
            words = line.split("#")[0].partition(" -- ")[0].split()  # behind it is another command
            command = " ".join(words[:2])
            for word in itertools.takewhile(lambda word: word[0] != "-", words[2:]):
                if any(other.startswith(f"{command} ") for other in about):
                    command = f"{command} {word}"
            assert command in about, line
            for option in (word.split("=")[0] for word in words if word.startswith("--")):
                assert f"`{option}" in about[command], line
