"""For each rule of the core's paper tests: an edit that takes the rule away, and the test that must then fail.

`tests/pbft/core/test_paper.py` runs them. A rule that scenarios play without is here too: a paper test is the smallest
thing that shows it.
"""

from dataclasses import dataclass, field
from typing import Any

from scenarios.edits import Edit

from ledger import configuration
from pbft.core import (
    checkpoints,
    message_log,
    new_view,
    ordering,
    requests,
    restart,
    state_transfer,
    status,
    timers,
    view_change,
)


@dataclass(frozen=True, kw_only=True)
class Removal:
    """One rule's absence. `test` is `module.function` of tests/pbft/core/test_paper_<module>.py."""

    rules: str
    test: str
    edits: tuple[Edit, ...]
    arguments: dict[str, Any] = field(default_factory=dict)  # of a parametrised test


def without(rules: str, test: str, *pieces: Any, **arguments: Any) -> Removal:
    """A row of the table: function, old piece, new piece, and again."""
    edits = tuple(
        Edit(function=function, old=old, new=new)
        for function, old, new in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True)
    )
    return Removal(rules=rules, test=test, edits=edits, arguments=arguments)


# fmt: off
NORMAL_CASE = [
    without("M1, D1", "normal_case.test_quorum_sizes",
            configuration.quorum_size, "(n + faults_tolerated(n) + 2) // 2", "2 * faults_tolerated(n) + 1",
            n=5, quorum=4),
    without("M2", "normal_case.test_m2_the_primary_sends_no_prepare",
            ordering.process_prepare, "sender == state.primary", "False"),
    without("M3", "normal_case.test_m3_votes_are_counted_by_member",
            ordering._is_new_vote, "earlier is not None and", "False and"),
    without("M8", "normal_case.test_m8_only_the_primary_of_the_active_view_proposes",
            ordering.process_pre_prepare, "sender != state.configuration.primary(message.view)", "False"),
    without("M8, M17", "normal_case.test_m8_one_digest_per_view_and_height",
            ordering.process_pre_prepare, "slot.digest is not None", "False"),
    without("M8", "normal_case.test_m8_the_height_lies_between_the_watermarks",
            ordering.is_current, "height > max(state.high_watermark, state.reproposed_top)", "False"),
    without("M9, D43", "normal_case.test_m9_a_request_may_be_proposed_twice",
            requests.validate_batch, "    if not batch.requests:\n",
            "    if state.executed_height:\n        raise InvalidMessage('executed')\n    if not batch.requests:\n"),
    without("M10", "normal_case.test_m10_prepared_needs_q_minus_1_backups",
            ordering.process_slot, "quorums.quorum - 1", "quorums.quorum - 2"),
    without("M10", "normal_case.test_m10_committed_needs_q_commits",
            ordering.process_committed, "quorums.quorum)", "quorums.quorum - 1)"),
    without("M12", "normal_case.test_m12_execution_follows_heights",
            ordering.process_execution, "height = state.executed_height + 1",
            "height = min((k for k in state.slots if k > state.executed_height), default=0)",
            ordering.process_executed, " or height != state.executed_height + 1", ""),
    without("M13, D28", "normal_case.test_m13_commits_of_another_view_prove_a_commit",
            ordering.process_commit, "    slot = state.slot(message.height)\n",
            "    if message.view != state.view:\n        return\n    slot = state.slot(message.height)\n"),
    without("M11, M14, D30", "normal_case.test_m14_m11_the_primary_stops_at_half_the_window_and_keeps_its_queue",
            ordering.compute_proposal_limit, "min(limit, state.reproposed_top + UNCERTIFIED_SLOTS_MAX)", "limit"),
    without("D30, M11", "normal_case.test_d30_the_primary_uses_half_of_the_window",
            ordering.compute_proposal_limit, "state.configuration.window // 2", "state.configuration.window"),
    without("M15", "normal_case.test_m15_a_partial_batch_waits_for_what_is_under_way",
            ordering.process_proposals, "(requests and is_idle)", "requests"),
    without("M16", "normal_case.test_m16_no_prepare_without_the_body",
            ordering.may_promise, "not process_find_body(state, slot, slot.digest)", "False",
            ordering.promise, "and slot.is_complete(slot.digest)", ""),
    without("M41, D29", "normal_case.test_m41_null_is_ordered_like_a_batch",
            message_log.Slot.is_complete, "digest == NULL_DIGEST or ", ""),
]
REQUESTS = [
    without("M18", "requests.test_section_4_1_a_backup_passes_requests_on",
            requests.process_forwarding, "in _relays(waiting)", "in _relays([])"),
    without("D42", "requests.test_d42_a_proposal_is_judged_by_its_bytes",
            requests.validate_batch, "request.expiry_height < height", "False"),
    without("D42", "requests.test_d42_a_proposal_is_judged_by_its_bytes",
            requests.validate_batch, "request.nonce <= latest.get(request.client, -1)", "False"),
    without("D42", "requests.test_d42_the_primary_orders_a_clients_nonces",
            requests.compute_ascending, "tuple(next(sorted_by_client[request.client]) for request in requests)",
            "tuple(requests)"),
    without("D56", "requests.test_d56_relay_to_all_at_half_and_suspicion_at_t",
            requests.process_relay_to_all, "    if due:\n", "    if False:\n"),
    without("D56, M22", "requests.test_d56_relay_to_all_at_half_and_suspicion_at_t",
            timers.process_request_timer, "start_view_change(state, state.view + 1)", "pass"),
    without("D56", "requests.test_d56_no_suspicion_while_a_certificate_is_above_e",
            timers.process_request_timer,
            "state.is_primary or (state.target is not None and state.target.height > state.executed_height)",
            "state.is_primary"),
    without("M21", "requests.test_m21_the_timer_stops_with_execution_and_runs_for_the_next",
            requests.process_finished, "        state.head_since = state.clock\n", "        pass\n"),
    without("M24", "requests.test_m24_requests_are_proposed_again_in_the_new_view",
            requests.process_requeue, "for tx_id, pending in state.pending.items()", "for tx_id, pending in ()"),
    without("M24", "requests.test_m24_requests_of_a_lost_proposal_are_proposed_again",
            requests.process_requeue, "for tx_id, pending in state.pending.items()", "for tx_id, pending in ()"),
    without("M55, M56", "requests.test_m55_pending_requests_are_bounded",
            requests.has_room, "len(state.pending) < PENDING_REQUESTS_MAX", "True"),
]
RESTART = [
    without("M25", "restart.test_m25_promises_are_journaled_with_what_sends_them",
            ordering.promise, "state.actions.append(Persist(key=pre_prepared_key(slot.height, slot.digest), "
            "value=encode_pre_prepared(state.view)))", "pass"),
    without("D36, M27", "restart.test_d36_a_restarted_replica_says_again_what_it_said",
            restart.process_resume, "        _resend_slots(state)\n", ""),
    without("D36, M25", "restart.test_d36_a_pending_view_change_is_resent_as_it_was_signed",
            restart.process_resume, "state.actions.append(Publish(message=state.own_view_change))", "pass"),
    without("D35", "restart.test_d35_executed_below_the_journals_h_refuses_to_start",
            restart.compute_state, "ledger.height < restored.certified_height", "False"),
    without("D34", "restart.test_d34_another_header_than_the_one_voted_for_halts",
            checkpoints.process_executed_header, "recorded is not None and recorded != own", "False"),
]
CHECKPOINTS = [
    without("D24", "checkpoints.test_d24_which_heights_are_voted_on",
            checkpoints.process_fixed_vote, "height % state.configuration.stride == 0", "False"),
    without("D24", "checkpoints.test_d24_which_heights_are_voted_on",
            checkpoints.process_idle_vote, "not under_way and", "False and"),
    without("D24", "checkpoints.test_d24_which_heights_are_voted_on",
            checkpoints.process_header_vote, "process_vote(state, vote.height)", "pass"),
    without("D24", "checkpoints.test_d24_which_heights_are_voted_on",
            status.process_status, "process_vote(state, status.executed_height)", "pass"),
    without("D25, M44", "checkpoints.test_d25_h_moves_on_certificate_and_own_block",
            checkpoints._move_low_watermark, "    _forget_below(state, height)\n", ""),
    without("D25", "checkpoints.test_d25_a_certificate_above_e_moves_nothing",
            checkpoints.process_certificate, "height > state.executed_height", "False"),
    without("D26, M45", "checkpoints.test_d26_w_equal_votes_against_the_own_header_halt",
            checkpoints.process_votes_at, "count >= quorums.weak", "False"),
    without("D28", "checkpoints.test_d28_old_messages_are_answered_with_the_newest_certificate",
            checkpoints.answer_with_certificate, "state.ticks - notes.certificate_sent_tick >= ANSWER_TICKS", "False"),
    without("M50", "checkpoints.test_d28_old_messages_are_answered_with_the_newest_certificate",
            checkpoints.answer_with_certificate, "state.ticks - notes.certificate_sent_tick >= ANSWER_TICKS", "True"),
    without("D28", "checkpoints.test_d28_w_equal_votes_are_enough_to_adopt_blocks",
            state_transfer.compute_trusted, "quorums.weak", "quorums.quorum"),
    without("M46", "checkpoints.test_d28_w_equal_votes_are_enough_to_adopt_blocks",
            state_transfer.compute_trusted, "count >= state.configuration.quorums.weak", "count"),
    without("M46", "checkpoints.test_m46_a_source_that_lies_is_left_for_the_next",
            state_transfer.process_blocks, "sender != state.fetch_source", "False"),
    without("D28, M46", "checkpoints.test_m46_a_source_that_lies_is_left_for_the_next",
            state_transfer._process_adoption, "state.fetched[height].header_hash != trusted[height]", "False"),
    without("M50", "checkpoints.test_m50_status_is_answered_with_what_is_missing",
            status._compute_slot_envelopes, "if shares_view and may_serve and height not in pre_prepared and",
            "if"),
    without("D5", "checkpoints.test_d5_a_certificate_is_q_signatures_over_one_header",
            checkpoints.process_votes_at, "count >= quorums.quorum", "count >= quorums.weak"),
]
VIEW_CHANGE = [
    without("M29", "view_change.test_m29_a_left_view_is_left",
            ordering.is_current, "    if view < state.view:\n        return False  # left: M29\n", "",
            ordering.process_slot, "not state.active or ", ""),
    without("M30", "view_change.test_m30_the_view_timer_starts_with_q_view_changes",
            view_change.process_view_changes_held, "len(at_least) >= state.configuration.quorums.quorum and", ""),
    without("M31, D57", "view_change.test_m31_timers_double_up_to_32",
            view_change.start_view_change, "min(TIMER_DOUBLINGS_MAX, state.doublings + view - state.view)",
            "state.doublings + view - state.view"),
    without("M33", "view_change.test_m33_own_view_change_is_repeated",
            timers.process_repetition, "not state.active and", "False and"),
    without("M33", "view_change.test_m33_own_view_change_is_repeated",
            status._compute_view_envelopes, "for member in sorted(lacking)", "for member in ()"),
    without("M35", "view_change.test_m35_w_replicas_in_higher_views_take_along",
            view_change._process_join, "len(higher) >= state.configuration.quorums.weak", "False"),
    without("M35", "view_change.test_m35_w_replicas_in_higher_views_take_along",
            view_change._process_join, "len(higher) >= state.configuration.quorums.weak", "higher"),
    without("M34", "view_change.test_m34_one_view_change_of_each_member_is_kept",
            view_change.process_view_change, "known.view >= message.view", "False"),
    without("M35", "view_change.test_m35_the_primary_giving_up_is_followed",
            view_change._process_join, "sender == state.primary and", "False and"),
    without("M37, D27", "view_change.test_m37_view_change_reports_p_and_q",
            view_change.compute_own_view_change,
            "tuple(state.prepared[height] for height in sorted(state.prepared))", "()"),
    without("M38", "view_change.test_m38_a_contradictory_view_change_is_ignored",
            new_view.validate_view_change,
            "len({entry.height for entry in message.prepared}) != len(message.prepared)", "False"),
    without("M43", "view_change.test_m43_a_new_view_is_recomputed",
            new_view.verify_new_view, "decision.choices != message.choices", "False"),
    without("M43, M35", "view_change.test_m43_an_invalid_new_view_of_a_far_view_carries_nobody",
            view_change.process_new_view, "if message.view == state.view:  # one", "if True:  # one"),
    without("M43", "view_change.test_m43_executed_slots_are_prepared_again_and_not_executed_again",
            view_change.enter_view, "if choice.height > state.certified_height]",
            "if choice.height > state.executed_height]"),
    without("M43", "view_change.test_m43_another_choice_than_the_committed_one_halts",
            view_change._install_choice, "slot.committed is not None and slot.committed != digest", "False"),
    without("M49", "view_change.test_m49_a_new_view_is_learned_from_any_holder",
            status._compute_view_envelopes, "[state.new_view] if state.new_view is not None else []", "[]"),
    without("M13, M36", "view_change.test_m13_votes_of_the_next_view_wait_for_it",
            ordering.is_current, "peer_notes(state, sender).keep_early(envelope)", "pass"),
    without("D27, M8", "view_change.test_d27_choices_above_the_own_window_wait_for_catch_up",
            ordering.may_promise, "slot.height > state.high_watermark", "False"),
    without("M42, D60", "view_change.test_m42_a_choice_of_the_new_view_is_not_refused_by_the_clock",
            ordering.may_promise, "slot.is_reproposed or state.is_primary", "state.is_primary", offset_ms=-3_600_000),
    without("M48", "view_change.test_m48_a_replica_that_catches_up_takes_part_in_the_view_change",
            ordering.process_execution, "state.executing is not None or",
            "state.executing is not None or not state.active or"),
]
TIME = [
    without("D58, M23", "time.test_d58_own_slowness_is_not_held_against_the_primary",
            timers.process_tick, "is_paused(state) and", "False and"),
    without("D58, M23", "time.test_d58_own_slowness_is_not_held_against_the_primary",
            timers.process_tick, "state.paused_ticks < PAUSE_TIMERS_MAX * state.timer_ticks", "True"),
    without("D58", "time.test_d58_prepare_waits_for_unexecuted_gas_below",
            ordering.may_promise, "unexecuted <= state.configuration.window_gas", "True"),
    without("D60", "time.test_d60_the_time_of_a_fresh_batch",
            ordering._is_time_plausible, "-CLOCK_BEHIND_MAX_MS <= ahead_ms <= CLOCK_AHEAD_MAX_MS", "True",
            offset_ms=2_100, prepared=0),
    without("D60", "time.test_d60_the_time_of_a_fresh_batch",
            ordering.may_promise, "prepared_elsewhere < state.configuration.quorums.weak", "True",
            offset_ms=2_100, prepared=0),
    without("D63", "time.test_d63_an_overdue_call_is_timed_by_backups",
            timers.process_due_timer, "start_view_change(state, state.view + 1)", "pass"),
    without("D64", "time.test_d64_empty_batches_only_for_a_due_call",
            requests.validate_batch, "    if not batch.requests:\n", "    if False:\n"),
    without("D64", "time.test_d64_empty_batches_only_for_a_due_call",
            ordering.process_proposals, " or is_due)", ")"),
    without("D57", "time.test_d57_doubled_timers_are_halved_by_certified_heights",
            checkpoints._move_low_watermark, "height - state.halving_height >= HALVING_HEIGHTS", "True"),
    without("M32", "time.test_m32_a_timer_that_is_stopped_never_fires",
            timers.process_view_timer, "state.active and _is_new_view_done(state)", "False"),
    without("D59, M32", "time.test_d59_a_jump_of_the_wall_clock_fires_no_timer",
            timers.process_tick, "    state.wall_ms = wall_ms\n",
            "    late = wall_ms - (state.wall_ms or wall_ms)\n    state.wall_ms = wall_ms\n",
            timers.process_tick, "state.clock += 1", "state.clock += max(1, late // 50)"),
]
# fmt: on
REMOVALS = [*NORMAL_CASE, *REQUESTS, *RESTART, *CHECKPOINTS, *VIEW_CHANGE, *TIME]
