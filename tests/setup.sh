#!/usr/bin/env bash
# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Prepare a checkout: the servers and the virtual environment that the lab and the tests use.
#
#   tests/setup.sh lab          what `make demo` needs
#   tests/setup.sh test         what `make test` needs too
#   tests/setup.sh lab incus    what `make lab-up LAB=incus` needs; likewise `test incus` for `make test-incus`
#
# Says a line for each step that takes time, and nothing when all is there already. What the package managers said is
# in .cache/setup.log. As root it installs missing servers from Debian, and leaves the machine's services as they were.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tier=${1:-}
case ${2:-} in
    '' | incus) hosts=${2:-} ;;
    *) [ "$tier" = install-packages ] || tier='' ;;
esac
case $tier in
    lab) requirements=(requirements-lab.txt) inputs=(requirements.txt requirements-lab.txt constraints.txt) ;;
    test)
        requirements=(requirements-test.txt)
        inputs=(requirements.txt requirements-lab.txt requirements-test.txt tests/unit/requirements.txt constraints.txt)
        ;;
    install-packages) shift ;; # only from within, see install_packages
    *)
        echo "usage: tests/setup.sh lab|test [incus]" >&2
        exit 2
        ;;
esac

# Those that the ansible-core of requirements-lab.txt runs on.
pythons=(3.11 3.12 3.13)
log=.cache/setup.log
policy=/usr/sbin/policy-rc.d
export LC_ALL=C.UTF-8 PATH="$PATH:/usr/sbin:/sbin"

say() { printf 'setup: %s\n' "$*"; }

die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# Run a command with its output in the log; when it fails, show the end of that and stop.
quietly() {
    "$@" >>"$log" 2>&1 || {
        tail -n 15 "$log" >&2
        die "failed: $* (all of it is in $log)"
    }
}

python() { tests/tools/find_python.sh --with-venv "${pythons[@]}"; }

missing_packages() {
    [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || echo rabbitmq-server
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || echo postgresql
    # For promtool, which checks and tests the alert rules.
    [ "$tier" != test ] || command -v promtool >/dev/null || echo prometheus
    [ "$tier" != test ] || [ -x /usr/sbin/pgbouncer ] || echo pgbouncer
    [ "$tier" != test ] || command -v chromedriver >/dev/null || printf '%s\n' chromium chromium-driver
    usable_environment || python >/dev/null || printf '%s\n' python3 python3-venv
    [ -z "$hosts" ] || missing_for_hosts
}

# What a private Incus and its images are made with: program, package.
missing_for_hosts() {
    local program package
    while read -r program package; do
        command -v "$program" >/dev/null || [ -x "$program" ] || echo "$package"
    done <<-'TABLE'
		/usr/libexec/incus/incusd incus-base
		incus incus-client
		lxcfs lxcfs
		mkfs.btrfs btrfs-progs
		dnsmasq dnsmasq-base
		nft nftables
		mmdebstrap mmdebstrap
		zstd zstd
		ip iproute2
		ssh openssh-client
		java default-jre-headless
	TABLE
}

usable_environment() { .venv/bin/python -c 'import pip' >/dev/null 2>&1; }

# ---- packages -----------------------------------------------------------------------------------------------------

# Whatever would start at boot, or on a socket: links of systemd's and of the System V levels.
enabled_services() {
    {
        find /etc/systemd/system -type l \( -path '*.wants/*' -o -path '*.requires/*' \) 2>/dev/null || true
        find /etc/rc[2345S].d -type l -name 'S*' 2>/dev/null || true
    } | sort
}

database_clusters() { { find /etc/postgresql -mindepth 2 -maxdepth 2 -type d 2>/dev/null || true; } | sort; }

# policy-rc.d is how Debian's packages ask whether they may start a service. A person's own is put aside meanwhile.
forbid_service_starts() {
    if [ -e "$policy" ]; then
        mv "$policy" "$policy.veza-saved"
    fi
    printf '#!/bin/sh\n# Put here by tests/setup.sh of veza.rabbitmq while it installs packages.\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

# Also undoes what a run left that was killed half-way.
allow_service_starts() {
    if [ -e "$policy" ] && grep -q 'veza\.rabbitmq' "$policy"; then
        rm -f "$policy"
    fi
    if [ -e "$policy.veza-saved" ]; then
        mv "$policy.veza-saved" "$policy"
    fi
}

# Undo what the packages enabled (first list: before) and the database cluster that PostgreSQL's package made.
leave_services_as_they_were() {
    local services_before=$1 clusters_before=$2 link name version cluster
    while IFS= read -r link; do
        name=$(basename "$link")
        case $link in
            /etc/rc*) update-rc.d "${name#S[0-9][0-9]}" disable ;;
            *) if command -v systemctl >/dev/null; then systemctl disable "$name"; fi ;;
        esac
        # What these tools don't know (no systemctl, a generated unit) still must not start at boot.
        case $link in /etc/systemd/*) rm -f "$link" ;; esac
    done < <(comm -13 <(printf '%s\n' "$services_before") <(enabled_services))
    while IFS= read -r cluster; do
        version=$(basename "$(dirname "$cluster")")
        pg_dropcluster "$version" "$(basename "$cluster")"
    done < <(comm -13 <(printf '%s\n' "$clusters_before") <(database_clusters))
}

install_without_services() {
    local services_before clusters_before
    services_before=$(enabled_services)
    clusters_before=$(database_clusters)
    forbid_service_starts
    trap allow_service_starts EXIT
    dpkg --configure -a
    apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
    leave_services_as_they_were "$services_before" "$clusters_before"
}

# Debian 12 has Incus in its backports only. They are read beside the machine's own sources, from the same mirror, by
# lists of our own: what this machine installs and upgrades otherwise stays as it is.
add_backports() {
    local site release sources=$PWD/.cache/apt/sources
    [[ " $* " != *" incus-base "* ]] || [ -n "$(apt-cache madison incus-base)" ] || {
        read -r site release < <(apt-get indextargets --format "\$(REPO_URI) \$(CODENAME)" \
            'Created-By: Packages' 'Component: main' | grep -v -- '-security' | head -n 1)
        mkdir -p "$sources" .cache/apt/lists/partial
        rm -f "$sources"/*
        find /etc/apt/sources.list.d -maxdepth 1 \( -name '*.list' -o -name '*.sources' \) -exec ln -s {} "$sources" \;
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site ${release%%-*}-backports main" \
            >"$sources/veza-backports.list"
        printf 'Dir::Etc::SourceParts "%s";\nDir::State::Lists "%s";\n' "$sources" "$PWD/.cache/apt/lists" \
            >.cache/apt/apt.conf
        export APT_CONFIG=$PWD/.cache/apt/apt.conf
        quietly apt-get update
    }
}

# The installation itself runs to its end once it has begun: half-configured packages would be worse than the wait
# after Ctrl-C, so it gets a session that no terminal signals reach. (And a process of its own, because bash ignores
# `set -e` in functions whose status is looked at.)
install_packages() {
    local interrupted=""
    export DEBIAN_FRONTEND=noninteractive
    say "installing from Debian: $* (no service is started or enabled)"
    quietly apt-get update
    add_backports "$@"
    quietly apt-get install --yes --no-install-recommends --download-only -o DPkg::Lock::Timeout=300 "$@"
    trap 'interrupted=yes' INT TERM HUP
    quietly setsid --wait tests/setup.sh install-packages "$@"
    trap - INT TERM HUP
    [ -z "$interrupted" ] || exit 130
}

# ---- the virtual environment ---------------------------------------------------------------------------------------

install_environment() {
    local interpreter
    if ! usable_environment; then
        interpreter=$(python) || die "no Python of ${pythons[*]} can create virtual environments here"
        say "creating .venv with $interpreter"
        quietly "$interpreter" -m venv --clear .venv
    fi
    say "installing the pinned Python packages for \"$tier\" into .venv (a minute, the first time)"
    quietly .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
        "${requirements[@]/#/--requirement=}"
}

# ---- main ----------------------------------------------------------------------------------------------------------

if [ "$tier" = install-packages ]; then
    install_without_services "$@"
    exit
fi

mkdir -p .cache
# Two at once (make demo in two terminals): the second waits for the first.
exec 9>.cache/setup.lock
flock 9
[ "$(id -u)" != 0 ] || allow_service_starts

mapfile -t packages < <(missing_packages)
if [ "${#packages[@]}" -gt 0 ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        die "missing: ${packages[*]}. Please run, as root: apt-get install ${packages[*]}"
    fi
    : >"$log"
    install_packages "${packages[@]}"
    mapfile -t packages < <(missing_packages)
    [ "${#packages[@]}" -eq 0 ] || die "still missing after apt-get install: ${packages[*]} (see $log)"
fi

stamp=.venv/.veza-$tier
fingerprint=$(cat tests/setup.sh "${inputs[@]}" | sha256sum | cut -d' ' -f1)
if ! usable_environment || [ "$(cat "$stamp" 2>/dev/null)" != "$fingerprint" ]; then
    install_environment
    printf '%s\n' "$fingerprint" >"$stamp"
fi
