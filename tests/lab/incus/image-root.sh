#!/bin/sh
# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What mmdebstrap's tree lacks to be a host of the lab. The tree's directory is the only argument.
set -eu
root=$1

# Made at each start by the templates of the image (image.py); the build machine's would be copied otherwise.
rm -f "$root/etc/hostname" "$root/etc/resolv.conf" "$root/usr/sbin/policy-rc.d"
: >"$root/etc/machine-id"

# A host's own role enables what it needs.
for unit in rabbitmq-server postgresql docker.service docker.socket containerd prometheus prometheus-alertmanager \
    prometheus-node-exporter epmd.socket nftables; do
    systemctl --root="$root" disable "$unit" >/dev/null 2>&1 || true
done
# Not possible or not wanted in a container, and a failed unit would hide a real failure.
for unit in systemd-modules-load.service systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer \
    man-db.timer fstrim.timer e2scrub_all.timer dpkg-db-backup.timer systemd-resolved.service; do
    systemctl --root="$root" mask "$unit" >/dev/null 2>&1
done
systemctl --root="$root" enable systemd-networkd.service ssh.service >/dev/null 2>&1

mkdir -p "$root/etc/systemd/system.conf.d" "$root/etc/systemd/journald.conf.d"
printf '[Manager]\nDefaultTimeoutStopSec=20s\n' >"$root/etc/systemd/system.conf.d/veza.conf"
printf '[Journal]\nStorage=persistent\nSystemMaxUse=64M\n' >"$root/etc/systemd/journald.conf.d/veza.conf"

chroot "$root" useradd --create-home --shell /bin/bash ansible
printf 'ansible ALL=(ALL) NOPASSWD: ALL\n' >"$root/etc/sudoers.d/ansible"
chmod 440 "$root/etc/sudoers.d/ansible"
printf 'UseDNS no\nPasswordAuthentication no\n' >"$root/etc/ssh/sshd_config.d/veza.conf"
