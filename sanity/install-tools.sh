#!/bin/sh
# Sees to it that the commands that a make target needs are there. As root on a Debian it installs the
# packages that are missing; else it says which they are.
#
#   sanity/install-tools.sh run|test|test-lvm|kubernetes|bench|build|lint
set -eu
PATH=$PATH:/usr/local/go/bin:/usr/sbin:/sbin
cd "$(dirname "$0")/.."

file_systems="mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs mount:mount blkid:util-linux"
case "${1:-}" in
build | lint) needed="" ;;
run) needed=$file_systems ;;
test) needed="gcc:gcc $file_systems fio:fio" ;; # the race detector needs gcc
test-lvm | bench-lvm) needed="$file_systems dmsetup:dmsetup lvm:lvm2 thin_check:thin-provisioning-tools losetup:mount" ;;
kubernetes) needed="$file_systems runc:runc iptables:iptables conntrack:conntrack busybox:busybox-static /usr/lib/cni/bridge:containernetworking-plugins ip:iproute2 ipset:ipset socat:socat openssl:openssl ssh-keygen:openssh-client losetup:mount pgrep:procps nsenter:util-linux" ;;
bench) needed="$file_systems losetup:mount fallocate:util-linux fio:fio" ;;
*) sed -n 's/^#   \(sanity.*\)/usage: \1/p' "$0" >&2; exit 2 ;;
esac
# Without root nothing can be mounted, and the tests that would are skipped.
if [ "$1" = test ] && [ "$(id -u)" != 0 ]; then needed="gcc:gcc"; fi
if [ "$1" = bench-lvm ]; then needed="$needed fio:fio"; fi
# The VM's kernel is fetched and unpacked, and not installed.
if { [ "$1" = test-lvm ] && [ "${VM:-}" != no ]; } || [ "$1" = bench-lvm ]; then
    needed="$needed qemu-system-x86_64:qemu-system-x86 busybox:busybox-static lz4:lz4 dpkg-deb:dpkg"
fi

missing=""
packages=""
for one in $needed; do
    if ! command -v "${one%%:*}" >/dev/null 2>&1; then
        missing="$missing ${one%%:*}"
        packages="$packages ${one##*:}"
    fi
done
case "$packages" in *gcc*) packages="$packages libc6-dev" ;; esac
# The Go modules come over TLS.
if [ ! -e /etc/ssl/certs/ca-certificates.crt ] && [ -e /etc/debian_version ]; then packages="$packages ca-certificates"; fi

if [ -n "$packages" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "make $1: missing here:$missing. As root: apt-get install$packages" >&2
        exit 1
    fi
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "make $1: missing here:$missing, and there is no apt-get to install it with. Debian has it in:$packages" >&2
        exit 1
    fi
    echo "make $1: installing$packages"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # a list
    if ! { apt-get update -q && apt-get install -q -y --no-install-recommends $packages; } >/tmp/loam-apt.$$ 2>&1; then
        tail -n 20 /tmp/loam-apt.$$ >&2
        rm -f /tmp/loam-apt.$$
        echo "make $1: could not install$packages" >&2
        exit 1
    fi
    rm -f /tmp/loam-apt.$$
fi

want=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' go.mod)
if ! command -v go >/dev/null 2>&1; then
    echo "make $1: Go is missing. Install Go $want or later, from https://go.dev/dl or a package that is as new, and put it in PATH" >&2
    exit 1
fi
# A Go since 1.21 fetches the Go that go.mod asks for. What it then is, it says itself.
if ! said=$(go version 2>&1); then
    echo "make $1: Go $want or later is needed: $said" >&2
    exit 1
fi
have=$(echo "$said" | sed -n 's/.* go\([0-9]*\.[0-9]*\).*/\1/p')
if [ -n "$have" ] && [ "$(printf '%s\n%s\n' "$want" "$have" | sort -V | head -n 1)" != "$want" ]; then
    echo "make $1: Go $want or later is needed, and this is Go $have: see https://go.dev/dl" >&2
    exit 1
fi
