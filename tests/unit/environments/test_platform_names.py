"""Platforms by name, as uv, wheels and installers know them."""

from __future__ import annotations

import json
import re

import pytest
from packaging.tags import sys_tags

from fedops.core.errors import Invalid
from fedops.environments.platform_names import (
    named_tag,
    platform_name,
    uv_arguments,
    uv_variables,
    wheel_tags,
)
from fedops.environments.user_agents import platform_of_agent


def test_this_interpreter_takes_the_wheels_that_its_name_says() -> None:
    name = platform_name()
    assert re.fullmatch(r"3\.\d{1,2}/[a-z0-9_]+-[a-z0-9_.]+", name)
    ours = [str(tag) for tag in sys_tags()]
    assert [str(tag) for tag in wheel_tags(name)][:50] == ours[:50]


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("manylinux_2_36_x86_64", "x86_64-manylinux_2_36"),
        ("musllinux_1_2_aarch64", "aarch64-musllinux_1_2"),
        ("macosx_14_0_arm64", "arm64-macos_14.0"),
        ("win_amd64", "x86_64-windows"),
    ],
)
def test_the_best_tag_of_an_interpreter_names_its_platform(tag: str, name: str) -> None:
    assert named_tag(tag) == name
    assert f"cp312-cp312-{tag}" in {str(one) for one in wheel_tags(f"3.12/{name}")}


@pytest.mark.parametrize(
    ("name", "platform"),
    [
        ("3.11/x86_64-manylinux_2_36", "x86_64-manylinux_2_36"),
        ("3.11/x86_64-manylinux_2_35", "x86_64-manylinux_2_35"),
        ("3.11/aarch64-manylinux_2_29", "aarch64-manylinux_2_28"),
        ("3.11/x86_64-manylinux_2_99", "x86_64-manylinux_2_40"),
        ("3.12/arm64-macos_14.0", "aarch64-apple-darwin"),
        ("3.12/x86_64-windows", "x86_64-pc-windows-msvc"),
    ],
)
def test_uv_is_asked_for_no_newer_platform_than_there_is(name: str, platform: str) -> None:
    python = name.partition("/")[0]
    expected = ["--python-version", python, "--python-platform", platform]
    assert uv_arguments(name) == expected


def test_uv_hears_which_macos() -> None:
    assert uv_variables("3.12/arm64-macos_14.0") == {"MACOSX_DEPLOYMENT_TARGET": "14.0"}


@pytest.mark.parametrize(
    "name",
    [
        "3.11/armv7l-manylinux_2_36",
        "3.11/x86_64-manylinux_2_5",
        "3.11/x86_64-windows_2_3",
        "3.11/x86_64-plan9",
        "2.7/x86_64-windows",
        "3.11/x86_64-manylinux_2_36 --index-url x",
    ],
)
def test_what_is_no_platform_is_said(name: str) -> None:
    with pytest.raises(Invalid):
        uv_arguments(name)


def agent(**said: object) -> str:
    return "pip/23.2.1 " + json.dumps({"cpu": "x86_64", "python": "3.12.4", **said})


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (
            {
                "system": {"name": "Linux"},
                "distro": {"libc": {"lib": "glibc", "version": "2.35"}},
            },
            "3.12/x86_64-manylinux_2_35",
        ),
        ({"system": {"name": "Linux"}, "distro": {"id": "alpine"}}, "3.12/x86_64-musllinux_1_2"),
        (
            {"system": {"name": "Darwin"}, "cpu": "arm64", "distro": {"version": "14.4"}},
            "3.12/arm64-macos_14.4",
        ),
        ({"system": {"name": "Windows"}, "cpu": "AMD64"}, "3.12/x86_64-windows"),
        ({"system": {"name": "Linux"}, "cpu": "../../x"}, None),
        ({"system": ["Linux"]}, None),
        ({"python": "2.7.1", "system": {"name": "Windows"}}, None),
    ],
)
def test_an_installer_says_where_it_is(said: dict[str, object], name: str | None) -> None:
    assert platform_of_agent(agent(**said)) == name


@pytest.mark.parametrize("text", ["", "curl/8.1", "pip/23.2.1", "pip/23 {", "uv/0.9 [" * 900])
def test_what_says_nothing_is_no_platform(text: str) -> None:
    assert platform_of_agent(text) is None
