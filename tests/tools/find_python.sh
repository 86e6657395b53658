#!/usr/bin/env bash
# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Print the path of a Python interpreter, or exit 1 without a word.
#
#   tests/tools/find_python.sh [--with-venv] VERSION...        the first of these versions (3.11) that is there
#
# Only interpreters that really start count: the launchers of version managers (pyenv's "shims") exist for versions that
# are not enabled and hide the machine's own Python, so their real interpreters are looked up instead, after the PATH.
# With --with-venv the interpreter can also create virtual environments (Debian has that in a package of its own).
set -euo pipefail

modules="sys"
if [ "${1:-}" = "--with-venv" ]; then
    modules="ensurepip, sys, venv"
    shift
fi

directories() {
    local version=$1 directory
    local -a path
    IFS=: read -ra path <<<"$PATH:/usr/local/bin:/usr/bin"
    for directory in "${path[@]}"; do
        case $directory in
            '' | */shims) ;;
            *) printf '%s\n' "$directory" ;;
        esac
    done
    for directory in "${PYENV_ROOT:-}/shims" "${path[@]}"; do
        case $directory in
            */shims) compgen -G "${directory%/shims}/versions/$version*/bin" || true ;;
        esac
    done
}

works() {
    "$1" -c "
import $modules
# One that belongs to a virtual environment would tie ours to it.
sys.exit('%d.%d' % sys.version_info[:2] != '$2' or sys.prefix != sys.base_prefix)" >/dev/null 2>&1
}

for version in "$@"; do
    while IFS= read -r directory; do
        if [ -x "$directory/python$version" ] && works "$directory/python$version" "$version"; then
            printf '%s\n' "$directory/python$version"
            exit 0
        fi
    done < <(directories "$version")
done
exit 1
