#!/bin/sh
# Makes the root directory of the image from Debian packages, as the sources of apt on this machine have them.
# Nothing of a package is run.
#
#   deploy/image/root.sh DIRECTORY
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$1
packages=$(sed '/^#/d;/^$/d' "$here/packages")
mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64" "$root/etc/lvm" "$root/tmp" "$root/dev" "$root/proc" "$root/sys" "$root/run"
root=$(cd "$root" && pwd)
chmod 1777 "$root/tmp"
for directory in bin sbin lib lib64; do ln -sfn "usr/$directory" "$root/$directory"; done

debs=$(mktemp -d)
trap 'rm -rf "$debs"' EXIT
chmod 755 "$debs" # apt fetches as a user of its own
# shellcheck disable=SC2086 # a list
download() { (cd "$debs" && apt-get download $packages >"$debs/log" 2>&1); }
# What apt knows may be of a package that is not there any more.
download || { apt-get update >"$debs/update" 2>&1 && download; } || { cat "$debs/log" >&2; exit 1; }
for deb in "$debs"/*.deb; do
    # Only what runs. Directories of Debian are links here, and stay so.
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --keep-directory-symlink --no-same-owner \
        --exclude='./usr/share' --exclude='./var' --exclude='./etc/init.d' --exclude='./etc/cron*' --exclude='./lib/systemd' --exclude='./lib/udev' \
        --exclude='*/libasan*' --exclude='*/gconv/*' --exclude='./usr/sbin/xfs_scrub*' --exclude='./lib/x86_64-linux-gnu/libicu*'
done
# Sets nothing that loam does not say itself (--config), and keeps no state.
printf 'backup { backup = 0 archive = 0 }\n' >"$root/etc/lvm/lvm.conf"
printf 'root:x:0:0:root:/:/sbin/nologin\nloam:x:65532:65532:loam:/:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nloam:x:65532:\n' >"$root/etc/group"

# The commands that loam starts, itself or through lvm, and those that an administrator needs to repair a volume. All
# others go, and the right to be somebody else with them.
commands="lvm dmsetup thin_check mkfs.ext4 e2fsck resize2fs mkfs.xfs xfs_growfs xfs_repair mkfs.btrfs btrfs mount umount blkid"
kept=$(for command in $commands; do
    for file in "$root/usr/sbin/$command" "$root/usr/bin/$command"; do
        if [ -e "$file" ]; then echo "$file" && readlink -f "$file"; fi
    done
done)
for file in "$root"/usr/bin/* "$root"/usr/sbin/*; do
    echo "$kept" | grep -qxF "$file" || rm -r "$file"
done
find "$root" -type f -perm /6000 -exec chmod a-s {} +

# Each must be a program, for there is no shell, and find its libraries in the image.
enter=chroot
[ "$(id -u)" = 0 ] || enter="unshare --map-root-user chroot"
for command in $commands; do
    [ -e "$root/usr/sbin/$command" ] || [ -e "$root/usr/bin/$command" ] || { echo "root.sh: the packages have no $command" >&2; exit 1; }
    file="$root/usr/sbin/$command"
    [ -e "$file" ] || file="$root/usr/bin/$command"
    # shellcheck disable=SC2086 # a command and its arguments
    missing=$($enter "$root" "$(echo "$root"/usr/lib64/ld-linux-*.so.* | sed "s|^$root||")" --list "${file#"$root"}" 2>&1 | grep -E 'not found|cannot open|invalid ELF header' || true)
    if [ -n "$missing" ]; then echo "root.sh: $command: $missing" >&2; exit 1; fi
done
du -sm "$root" | sed 's/\t.*/ MiB in the root of the image/'
