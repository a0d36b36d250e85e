"""Before anything imports numpy: sums in one order, and no more threads than there are cores for."""

import gc
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


#: On PostgreSQL these say little that others do not: they run there with 'make test-long'.
LONG_ON_POSTGRES = (
    "test_commits.py",
    "test_device_upgrades.py",
    "test_packages.py",
    "test_rollout_routes.py",
    "test_rollouts.py",
    "test_schedules.py",
    "test_sources.py",
)

#: Of these, what follows runs on PostgreSQL in 'make test' too: the reads and writes of their tables once,
#: and what databases do differently. The others are about rules, files and answers: one database will do.
ONCE_ON_POSTGRES = {
    "test_api_bad_input.py": (
        "test_paths_and_queries",
        "test_numbers_that_are_none_never_get_in",
        "test_records_that_carry_bad_data_are_refused_as_a_whole",
        "test_polls_with_extreme_numbers_are_answered",
    ),
    "test_api_bad_uploads.py": ("test_a_repeated_result_counts_once",),
    "test_api_control.py": (
        "test_a_run_is_paused_once_engine_and_devices_are_quiet_and_goes_on_later",
        "test_the_last_round_may_win_the_race_against_a_pause",
        "test_extending_goes_on_from_the_final_version_with_the_momenta",
        "test_retrying_does_the_rest_and_so_does_retrying_that",
        "test_a_new_app_is_taken_when_asked_for",
    ),
    "test_api_device_rights.py": (
        "test_no_route_with_an_id_gives_one_device_what_is_anothers",
        "test_the_old_credential_is_good_until_a_while_after_the_new_one_is_confirmed",
    ),
    "test_api_models.py": (
        "test_promote_and_roll_back_are_events_with_a_past",
        "test_the_lineage_tells_where_a_model_comes_from",
    ),
    "test_api_runs.py": (
        "test_a_run_from_start_to_a_new_model",
        "test_rounds_show_their_clients_and_the_metrics_of_the_model_they_made",
        "test_one_active_run_per_task_also_when_starts_race",
        "test_candidates_carry_their_history",
        "test_the_seconds_that_selectors_see_are_those_from_the_offer_to_the_delivery",
        "test_events_tell_the_story_in_order",
    ),
    "test_api_studies.py": (
        "test_each_seed_has_a_run_with_an_initial_model_of_its_own",
        "test_a_forecast_knows_what_earlier_runs_have_shown",
        "test_metrics_come_in_pages",
    ),
    "test_bench_routes.py": (
        "test_each_device_that_is_ready_is_asked_and_the_others_are_named",
        "test_what_a_device_measured_becomes_an_estimate",
        "test_a_benchmark_ends_with_the_device_the_task_and_its_time",
        "test_selections_know_the_estimate_until_a_round_was_measured",
    ),
    "test_checkpoints.py": (
        "test_the_newest_and_the_best_are_kept",
        "test_content_that_was_removed_can_be_uploaded_again",
    ),
    "test_device_models.py": ("test_a_member_gets_the_model_and_what_it_needs_to_evaluate_it",),
    "test_hooks.py": ("test_a_signed_push_has_the_source_looked_at_once",),
    "test_quarantined_devices.py": (
        "test_what_its_updates_are_in_is_named_and_quarantined_with_all_that_came_from_it",
        "test_what_a_device_has_left_that_was_removed_is_put_aside_by_its_id",
    ),
    "test_quarantined_models.py": (
        "test_a_version_whose_metric_collapses_is_kept_and_nothing_goes_on_from_it",
        "test_what_starts_from_a_version_that_is_quarantined_meanwhile_is_quarantined_too",
    ),
    "test_readiness_on_server.py": (
        "test_a_device_that_is_not_ready_is_no_candidate_until_it_is",
        "test_what_was_found_right_is_not_examined_again",
    ),
    "test_rebuild.py": (
        "test_the_last_round_is_aggregated_again_without_it_and_nobody_trains",
        "test_an_attempt_that_dies_is_followed_by_one_that_does_the_same",
    ),
    "test_stored_contributions.py": (
        "test_scores_are_read_by_round_and_over_all",
        "test_the_next_attempt_is_told_what_is_known_and_what_is_left",
        "test_every_decision_of_a_round_is_kept_by_its_try",
        "test_scores_follow_a_device_to_another_name",
    ),
    "test_work_states.py": (
        "test_a_round_is_offered_accepted_delivered_and_checked",
        "test_late_work_expires_and_who_uploads_has_a_little_longer",
        "test_the_same_offer_makes_the_same_assignment",
        "test_of_a_delivery_and_an_end_at_the_same_moment_one_counts",
    ),
    "test_work_files.py": (
        "test_a_device_reads_what_its_work_names_and_uploads_the_result",
        "test_results_are_removed_two_rounds_later_and_files_that_nobody_wants_after_an_hour",
    ),
}


def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "Scheduling | None":
    from file_schedule import FileSchedule

    return FileSchedule(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_handlecrashitem(crashitem: str) -> None:
    """At once: the summary may never be reached."""
    print(f"\ntests: a process died in {crashitem}", flush=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "postgresql" in item.name and _is_long_on_postgresql(item):
            item.add_marker(pytest.mark.long)


def _is_long_on_postgresql(item: pytest.Item) -> bool:
    kept = ONCE_ON_POSTGRES.get(item.path.name)
    left_out = kept is not None and item.name.partition("[")[0] not in kept
    return left_out or item.path.name in LONG_ON_POSTGRES


def pytest_collection() -> None:
    """What is imported and collected stays to the end: no search for garbage has to look at it."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def nothing_is_missing() -> None:
    """What another test met a moment ago, such as a full disk, is not this one's."""
    from fedops.storage.shortages import shortages

    shortages.forget()
