#!/bin/bash
# Runs the tests that need device-mapper, compiled, in VMs of sanity/vm; or on this machine, as root.
#
#   sanity/test-lvm.sh [TEST FLAG]...       a flag of the test binaries, such as -test.run=Thin
#
#   VM=no              on this machine, on loop devices of its own, without the power cuts
#   PACKAGES="./a ./b" these packages, whole, in one VM
#   FULL=yes           all of the faults, and longer runs
#   CUTS=8             how often the power is cut
#   DISKS=4 SIZE=4G    how many disks the tests have, and how large
#   TIMEOUT=60m        how long each VM may take, and each package
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/go/bin:/usr/sbin:/sbin
DISKS=${DISKS:-4} SIZE=${SIZE:-4G} TIMEOUT=${TIMEOUT:-60m} FULL=${FULL:-} CUTS=${CUTS:-8}
export FULL

# Two VMs work at once, with about as much to do.
first="./driver/pool/lvm ./driver/pool/lvm/vg"
second="./sanity/csi ./sanity/crash ./sanity/fault ./sanity/compat ./driver/pool/loop ./driver/host ./cmd/loam" # cut_power knows the place of sanity/crash
if [ -n "${PACKAGES:-}" ]; then first=$PACKAGES second=; fi

if [ "${VM:-}" = no ]; then
    first="$first $second" second=
    if [ "$(id -u)" != 0 ]; then echo "test-lvm: VM=no needs root, for loop devices and LVM" >&2; exit 1; fi
    modprobe dm-mod 2>/dev/null || true
    if ! grep -qw device-mapper /proc/misc; then
        echo "test-lvm: the kernel here has no device-mapper. Without VM=no the tests run in a VM, whose kernel has" >&2
        exit 1
    fi
fi

# flags_of gives the flags of a package that is not run whole: of what make test runs as well, only what needs
# device-mapper, or depends on the kernel most.
flags_of() {
    if [ -n "${PACKAGES:-}" ]; then return; fi
    case $1 in
    ./driver/pool/loop) if [ "${VM:-}" != no ]; then echo "-test.skip=^TestLoopPoolKeepsTheContract$/^(own|ext4|btrfs)|^TestGroupIsOfOneInstant$/^btrfs"; fi ;;
    ./cmd/loam | ./sanity/csi | ./sanity/crash | ./sanity/compat) echo "-test.run=LVM" ;;
    esac
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
    for job in $(jobs -p); do kill -- "-$job" 2>/dev/null && wait "$job" || true; done
    if [ ${#loops[@]} != 0 ]; then remove_groups; fi
    for loop in "${loops[@]}"; do losetup --detach "$loop"; done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# compile makes a folder in which ./run prints what go test -json would of the packages.
compile() {
    local folder=$work/$1 number=10 package flags
    shift
    mkdir "$folder"
    cp "$work/test2json" "$folder"
    cat >"$folder/run" <<'end'
#!/bin/sh
cd "$(dirname "$0")" || exit
code=0
for package in [0-9]*; do
    (cd "$package" && exec sh ./run "$@") || code=1
done
exit $code
end
    for package in "$@"; do
        number=$((number + 1))
        mkdir "$folder/$number"
        go test -c -ldflags "-s -w" -o "$folder/$number/test" "$package"
        if [ -d "$package/testdata" ]; then cp -r "$package/testdata" "$folder/$number"; fi
        # It starts the real loam, and there is no Go in a VM to build it.
        if [ "$package" = ./sanity/compat ]; then go build -ldflags "-s -w" -o "$folder/$number/loam" ./cmd/loam; fi
        flags=$(flags_of "$package")
        if [ -n "$flags" ]; then echo "test-lvm: $package with $flags; whole: make test-lvm PACKAGES=$package"; fi
        echo "exec ../test2json -t -p $(go list "$package") ./test -test.v=test2json -test.timeout=$TIMEOUT ${flags:+'$flags'} \"\$@\"" >"$folder/$number/run"
    done
}
export CGO_ENABLED=0
go build -o "$work/test2json" cmd/test2json
# shellcheck disable=SC2086 # lists
{
    compile first $first
    if [ -n "$second" ]; then compile second $second; fi
}

vm() {
    local folder=$1 disks=() code=0
    shift
    for ((i = 0; i < DISKS; i++)); do disks+=(-disk "$SIZE"); done
    .cache/vm/vm "${disks[@]}" -env "FULL=$FULL" -timeout "$TIMEOUT" -file "$folder" "$@" || code=$?
    if [ $code -gt 1 ]; then echo "test-lvm: a VM ended with $code" >&2; fi
    return $code
}

# cut_power runs one test over as many starts of a VM, killed at a random instant after it says that it is ready.
cut_power() {
    local cuts=()
    for ((i = 0; i < CUTS; i++)); do cuts+=(-cut "$((200 + RANDOM % 15000))ms"); done
    # shellcheck disable=SC2016 # for the shell of the guest
    vm "$work/second" -cut-from "ready for the power cut" "${cuts[@]}" -- \
        sh -c 'cd "$1" && shift && exec sh ./run "$@"' sh "$work/second/12" "-test.run=^TestPowerCut$" "$@"
}

# The second VM prints into a file, which is shown when the first has ended, so that their lines do not mix.
all() {
    local code=0 other
    if [ "${VM:-}" = no ]; then
        sh "$work/first/run" "$@"
        return
    fi
    if [ -n "$second" ]; then
        { vm "$work/second" -- sh "$work/second/run" "$@" || touch "$work/failed"; } >"$work/output" &
        other=$!
        LOAM_TEST_VM=yes go test -json -count=1 ./sanity/vm || code=1
    fi
    vm "$work/first" -- sh "$work/first/run" "$@" || code=1
    if [ -n "$second" ]; then
        if [ "$CUTS" != 0 ]; then cut_power "$@" || code=1; fi
        tail --pid "$other" --lines +1 --follow "$work/output"
        wait "$other" || code=1
        if [ -e "$work/failed" ]; then code=1; fi
    fi
    return $code
}

if [ "${VM:-}" = no ]; then
    for ((i = 0; i < DISKS; i++)); do
        truncate -s "$SIZE" "$work/disk$i"
        loops+=("$(losetup --find --show "$work/disk$i")")
    done
    export LOAM_TEST_DISKS=${loops[*]}
else
    go build -o .cache/vm/vm ./sanity/vm
fi
# A job of its own, so that an interrupt ends all of it at once.
set -m
(set +m; all "$@" | go run ./sanity/summary) &
wait $!
