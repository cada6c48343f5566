#!/bin/bash
# Runs the tests that need device-mapper, compiled, in the VM of sanity/vm; or on this machine, as root.
#
#   sanity/test-lvm.sh [TEST FLAG]...       a flag of the test binaries, such as -test.run=Thin
#
#   VM=no              on this machine, on loop devices of its own
#   PACKAGES="./a ./b" these packages, whole
#   DISKS=4 SIZE=4G    how many disks the tests have, and how large
#   TIMEOUT=30m        how long the VM may take, and each package
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/go/bin:/usr/sbin:/sbin
DISKS=${DISKS:-4} SIZE=${SIZE:-4G} TIMEOUT=${TIMEOUT:-30m}

if [ "${VM:-}" = no ]; then
    if [ "$(id -u)" != 0 ]; then echo "test-lvm: VM=no needs root, for loop devices and LVM" >&2; exit 1; fi
    modprobe dm-mod 2>/dev/null || true
    if ! grep -qw device-mapper /proc/misc; then
        echo "test-lvm: the kernel here has no device-mapper. Without VM=no the tests run in a VM, whose kernel has" >&2
        exit 1
    fi
fi

# Of the loop pool, the VM runs what depends on the kernel most; make test runs it whole.
skip_in_vm() {
    if [ -z "${PACKAGES:-}" ] && [ "${VM:-}" != no ] && [ "$1" = ./driver/pool/loop ]; then
        echo "-test.skip=^TestLoopPoolKeepsTheContract$/^(own|ext4|btrfs)|^TestGroupIsOfOneInstant$/^btrfs"
    fi
}

work=$(mktemp -d "${TMPDIR:-/var/tmp}/loam-test-lvm.XXXXXX")
loops=()
# remove_groups takes away what a failed test left on the loop devices, and looks at no other.
remove_groups() {
    local devices groups
    devices=$(IFS=,; echo "${loops[*]}")
    groups=$(lvm vgs --devices "$devices" --noheadings -o vg_name) || return 0
    for group in $groups; do lvm vgremove --devices "$devices" --yes --force --force "$group" || true; done
}
finish() {
    for job in $(jobs -p); do kill -- "-$job" && wait "$job" || true; done
    if [ ${#loops[@]} != 0 ]; then remove_groups; fi
    for loop in "${loops[@]}"; do losetup --detach "$loop"; done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# run.sh prints what go test -json would.
cat >"$work/run.sh" <<'end'
#!/bin/sh
cd "$(dirname "$0")" || exit
code=0
for package in [0-9]*; do
    (cd "$package" && exec sh ./run "$@") || code=1
done
exit $code
end
export CGO_ENABLED=0
go build -o "$work/test2json" cmd/test2json
number=10
for package in ${PACKAGES:-./driver/host ./driver/pool/loop ./driver/pool/lvm}; do
    number=$((number + 1))
    mkdir "$work/$number"
    go test -c -ldflags "-s -w" -o "$work/$number/test" "$package"
    if [ -d "$package/testdata" ]; then cp -r "$package/testdata" "$work/$number"; fi
    name=$(go list "$package")
    skip=$(skip_in_vm "$package")
    if [ -n "$skip" ]; then echo "test-lvm: $package with $skip; whole: make test-lvm PACKAGES=$package"; fi
    echo "exec ../test2json -t -p $name ./test -test.v=test2json -test.timeout=$TIMEOUT ${skip:+'$skip'} \"\$@\"" >"$work/$number/run"
done

command=(sh "$work/run.sh" "$@")
if [ "${VM:-}" = no ]; then
    for ((i = 0; i < DISKS; i++)); do
        truncate -s "$SIZE" "$work/disk$i"
        loops+=("$(losetup --find --show "$work/disk$i")")
    done
    export LOAM_TEST_DISKS=${loops[*]}
else
    go build -o .cache/vm/vm ./sanity/vm
    disks=()
    for ((i = 0; i < DISKS; i++)); do disks+=(-disk "$SIZE"); done
    command=(.cache/vm/vm "${disks[@]}" -timeout "$TIMEOUT" -file "$work" -- "${command[@]}")
fi
# A job of its own, so that an interrupt ends all of it at once.
set -m
("${command[@]}" | go run ./sanity/summary) &
wait $!
