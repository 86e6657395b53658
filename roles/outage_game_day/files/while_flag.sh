# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
#
# sh -c THIS FLAG SECONDS COMMAND...: run COMMAND until FLAG is gone, and no longer than SECONDS.
left="$1"
shift
"$@" &
child=$!
while [ -e "$0" ] && [ "$left" -gt 0 ] && kill -0 "$child" 2>/dev/null; do
    sleep 1
    left=$((left - 1))
done
kill "$child" 2>/dev/null
wait "$child"
