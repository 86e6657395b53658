#!/bin/sh
# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Process 1 of a lab's own mount, network and PID namespaces: mounts, lxcfs, the Incus daemon. When it is killed the
# kernel kills and frees all of them: processes, mounts, loop devices, bridges, nft tables.
set -eu
state=$1
cgroup=$2

mount --make-rprivate /

# LXC puts the hosts' cgroups below the one of process 1: one of our own, so that they can be found and removed.
# (With cgroup v1. A cgroup v2 with processes in it could pass no limits on to those below: there it stays in its own.)
if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then
    for hierarchy in /sys/fs/cgroup/*/; do
        [ -e "$hierarchy/cgroup.procs" ] || continue
        mkdir -p "$hierarchy/$cgroup"
        for setting in cpuset.cpus cpuset.mems; do
            [ ! -e "$hierarchy/$setting" ] || cat "$hierarchy/$setting" >"$hierarchy/$cgroup/$setting"
        done
        echo 0 >"$hierarchy/$cgroup/cgroup.procs"
    done
fi

# /sys shows the network devices of the namespace in which it was mounted.
mkdir -p "$state/cgroup"
mount --rbind /sys/fs/cgroup "$state/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$state/cgroup" /sys/fs/cgroup

mount -t tmpfs -o mode=755 tmpfs /run
resolv_conf=$(readlink -m /etc/resolv.conf)
mkdir -p "$(dirname "$resolv_conf")"
[ -e "$resolv_conf" ] || : >"$resolv_conf"
mount --bind "$state/resolv.conf" "$resolv_conf"
# Users of its own, see daemon.first_id.
for file in /etc/subuid /etc/subgid; do
    [ ! -e "$file" ] || mount --bind "$state/subid" "$file"
done
ip link set lo up

# Without lxcfs a host would see the whole machine's memory as its own.
mkdir -p /var/lib/lxcfs
lxcfs /var/lib/lxcfs &
export INCUS_DIR="$state/incus"
/usr/libexec/incus/incusd --group root --logfile "$state/logs/incusd.log" &

# Collect whatever the hosts' processes leave behind.
while :; do
    wait
    sleep 1
done
