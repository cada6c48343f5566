#!/bin/sh
# The first process of the guest. It runs /vm/command with the variables of /vm/env, sends the files that
# are named in /vm/get, says how it ended, and powers off. It speaks to the launcher through ports:
# 1 stdout, 2 stderr, 3 events (a line each), 4 files (a tar archive).
export PATH=/usr/sbin:/usr/bin HOME=/root TMPDIR=/scratch
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /run/lock/lvm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
# The last two have nodes in /dev that load them elsewhere.
modprobe -a virtio_pci virtio_console virtio_rng virtio_blk loop dm-mod
ifconfig lo up
hostname vm

# Ports and disks appear a moment after their drivers.
scratch=
tries=0
port=
while [ -z "$port" ] || [ -z "$scratch" ]; do
    for last in /dev/vport*p4; do
        if [ -e "$last" ]; then port=${last%4}; fi
    done
    for serial in /sys/block/vd*/serial; do
        if [ "$(cat "$serial" 2>/dev/null)" = scratch ]; then scratch=/dev/$(basename "${serial%/serial}"); fi
    done
    tries=$((tries + 1))
    if [ $tries = 1000 ]; then echo "vm: ports or disks did not appear" >/dev/kmsg; poweroff -f; fi
    usleep 10000
done
mount "$scratch" /scratch
chmod 1777 /scratch /tmp /var/tmp

exec 3>"${port}3"
echo start >&3
(
    . /vm/env
    exec sh /vm/command </dev/null >"${port}1" 2>"${port}2" 3>&-
)
code=$?
set --
while read -r file; do
    if [ -e "$file" ]; then set -- "$@" "${file#/}"; else echo "missing $file" >&3; fi
done </vm/get
if [ $# != 0 ] && ! tar -c -f "${port}4" -C / "$@"; then echo "missing $*" >&3; fi
sync
echo "exit $code" >&3
exec 3>&-
poweroff -f
