package scratch

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// disksVariable names the blank disks that tests may do with as they like, separated by blanks or commas.
const disksVariable = "LOAM_TEST_DISKS"

// Disks returns at least n blank disks, or skips the test.
func Disks(t testing.TB, n int) []string {
	t.Helper()
	disks := BlankDisks()
	if len(disks) < n {
		t.Skipf("%s names %d blank disks, and %d are needed: make test-lvm runs it", disksVariable, len(disks), n)
	}
	if out, err := exec.Command("dmsetup", "version").CombinedOutput(); err != nil { // loads the module
		t.Skipf("this machine has no device-mapper: %v %s", err, out)
	}
	return disks
}

// BlankDisks returns the blank disks that there are.
func BlankDisks() []string {
	return strings.FieldsFunc(os.Getenv(disksVariable), func(r rune) bool { return r == ' ' || r == ',' })
}

// withoutUdev are the settings with which LVM works on a machine that has no udev, and those with one.
const withoutUdev = "activation/udev_sync=0 activation/udev_rules=0 activation/monitoring=0 global/use_lvmpolld=0"

// LVM runs an lvm command and returns what it printed. What --config says among the arguments is added to what
// makes LVM do without udev.
func LVM(command string, args ...string) (string, error) {
	settings := withoutUdev
	if i := slices.Index(args, "--config"); i >= 0 {
		settings += " " + args[i+1]
		args = slices.Delete(slices.Clone(args), i, i+2)
	}
	args = append([]string{command, "--config", settings}, args...)
	c := exec.Command("lvm", args...)
	c.Env = append(os.Environ(), "LC_ALL=C", "DM_DISABLE_UDEV=1")
	var said strings.Builder
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		err = fmt.Errorf("lvm %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return strings.TrimSpace(string(out)), err
}

// VolumeGroup makes a volume group of disks, with extents of 1 MiB. It is there until remove is called.
func VolumeGroup(name string, disks ...string) (remove func() error, err error) {
	_, err = LVM("vgcreate", append([]string{"--yes", "--physicalextentsize", "1m", "--metadatasize", "16m", name}, disks...)...)
	return func() error { return RemoveVolumeGroup(name, disks...) }, err
}

// RemoveVolumeGroup removes a volume group with all that is in it, whole or not, and makes its disks blank.
func RemoveVolumeGroup(name string, disks ...string) error {
	_, err := LVM("vgremove", "--force", "--force", "--yes", name)
	for _, disk := range disks {
		err = errors.Join(err, Run("wipefs", "--all", "--force", "--quiet", disk), Run("blkdiscard", "--zeroout", disk))
	}
	return err
}
