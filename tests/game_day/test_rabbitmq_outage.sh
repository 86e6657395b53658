#!/usr/bin/env bash
# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Game day E, "RabbitMQ unavailable": stops the broker for OUTAGE_SECONDS (60), and finds out whether the site, the alert
# and the runbook's commands do what they promise. Exit status 0: they do.
#
#   tests/game_day/test_rabbitmq_outage.sh -i INVENTORY [what ansible-playbook takes]
#   LAB=DIRECTORY tests/game_day/test_rabbitmq_outage.sh [...]      a lab: with its load, and judged by its ledger too
#
# Staging or lab (veza_environment); for production see roles/outage_game_day/README.md. GAME_DAY_DIR gets the reports.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export LC_ALL="${LC_ALL:-C.UTF-8}" ANSIBLE_CONFIG="$PWD/ansible.cfg"
PATH="$PWD/.venv/bin:$PATH"

reports="$(realpath -m "${GAME_DAY_DIR:-.cache/game_days}")"
arguments=(-e "outage_game_day_seconds=${OUTAGE_SECONDS:-60}" -e "outage_game_day_dir=$reports" "$@")
if [[ -n "${LAB:-}" ]]; then
    recover=(-i "$LAB/inventory")
    run=(python -m tests.game_day.scenario_e "$LAB" "${arguments[@]}")
else
    recover=("$@")
    run=(ansible-playbook "${arguments[@]}" playbooks/game_day_rabbitmq.yml)
fi

# The playbook leaves this file when it does not come to its end. Then the broker may be down, and somebody must recover.
finish() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    if [[ -e "$reports/running" ]]; then
        echo "The game day was cut short: recovering." >&2
        rm -f "$reports/running"
        ansible-playbook "${recover[@]}" playbooks/recover_rabbitmq.yml -e outage_recover_start_stopped=true ||
            echo "The recovery failed too: see that the broker runs." >&2
        exit "$((status == 0 ? 1 : status))"
    fi
    exit "$status"
}

# A file that is there already is another game day's: the playbook refuses, and that one is not ours to end.
[[ -e "$reports/running" ]] || trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
"${run[@]}"
