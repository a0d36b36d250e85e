"""Findings as a JUnit file, which most CI systems show as tests."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as xml

from fedops.core.errors import Unavailable
from fedops.core.printable import printable
from fedops.flower.trial.ci_run import CiReport
from fedops.storage.atomic_files import write_atomic
from fedops.storage.shortages import why_not_written


def write_junit(report: CiReport, file: Path) -> None:
    """Write the report as two test cases: the check, and the simulation.

    Raises:
        Unavailable: the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, xml.tostring(_suites(report), encoding="utf-8", xml_declaration=True))
    except OSError as error:
        raise Unavailable(why_not_written(error, file, "this machine")) from None


def _suites(report: CiReport) -> xml.Element:
    check, simulation = report.check, report.simulation
    failed = [bool(check.problems), bool(simulation and simulation.problems)]
    counts = {
        "name": "fedops ci",
        "tests": "2",
        "failures": str(sum(failed)),
        "errors": "0",
        "skipped": str(int(simulation is None)),
        "time": f"{report.seconds:.2f}",
    }
    top = xml.Element("testsuites", counts)
    suite = xml.SubElement(top, "testsuite", counts)
    in_simulation = simulation.seconds if simulation else 0.0
    _case(suite, report, "check", report.seconds - in_simulation, check.problems)
    case = _case(
        suite, report, "simulation", in_simulation, simulation.problems if simulation else []
    )
    if simulation is None:
        xml.SubElement(case, "skipped", {"message": "the check failed"})
    return top


def _case(
    suite: xml.Element, report: CiReport, name: str, seconds: float, problems: list[str]
) -> xml.Element:
    named = {"classname": _text(report.app or "app"), "name": name, "time": f"{seconds:.2f}"}
    case = xml.SubElement(suite, "testcase", named)
    if problems:
        first = _text(problems[0].partition("\n")[0])
        failure = xml.SubElement(case, "failure", {"message": first, "type": name})
        failure.text = _text("\n".join(problems))
    return case


def _text(text: str) -> str:
    """XML has no way to write control characters."""
    return "\n".join(printable(line) for line in text.split("\n"))
