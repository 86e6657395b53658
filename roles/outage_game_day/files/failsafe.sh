# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
#
# sh -c THIS FLAG SECONDS COMMAND...: run COMMAND after SECONDS, unless FLAG is gone before.
left="$1"
shift
while [ "$left" -gt 0 ]; do
    sleep 1
    [ -e "$0" ] || exit 0
    left=$((left - 1))
done
rm -f "$0"
exec "$@"
