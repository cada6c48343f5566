package lvm_test

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

const (
	node     = "n1"
	poolName = "fast"
	vg       = "loamtest"
)

// disksVariable names the blank disks that tests may do with as they like, separated by blanks or commas.
const disksVariable = "LOAM_TEST_DISKS"

// kindsVariable names the kinds of pools that the whole contract is tested with, separated by blanks.
// Unless told otherwise it is the first four, or all with FULL=yes; the others take minutes more.
const kindsVariable = "LOAM_TEST_KINDS"

func allDisks() []string {
	return strings.FieldsFunc(os.Getenv(disksVariable), func(r rune) bool { return r == ' ' || r == ',' })
}

// testDisks returns at least n disks, or skips the test.
func testDisks(t *testing.T, n int) []string {
	t.Helper()
	disks := allDisks()
	if len(disks) < n {
		t.Skipf("SKIPPED: %s names %d blank disks, and %d are needed (make test-lvm gives them)", disksVariable, len(disks), n)
	}
	if out, err := exec.Command("dmsetup", "version").CombinedOutput(); err != nil { // loads the module
		t.Skipf("SKIPPED: this machine has no device-mapper: %v %s", err, out)
	}
	return disks
}

// run runs a command and fails the test where that does.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "LVM_") || strings.HasPrefix(v, "DM_") }) // hostileMachine
	cmd.Env = append(cmd.Env, "LC_ALL=C", "DM_DISABLE_UDEV=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

const settings = "activation/udev_sync=0 activation/udev_rules=0 activation/monitoring=0 global/use_lvmpolld=0 backup/backup=0 backup/archive=0"

func runLVM(t testing.TB, args ...string) string {
	t.Helper()
	return run(t, "lvm", append([]string{args[0], "--config", settings}, args[1:]...)...)
}

// volumeGroup makes a volume group of n disks until the test ends.
func volumeGroup(t *testing.T, n int) {
	t.Helper()
	disks := testDisks(t, n)[:n]
	runLVM(t, append([]string{"vgcreate", "--yes", "--physicalextentsize", "1m", vg}, disks...)...)
	t.Cleanup(func() {
		runLVM(t, "vgremove", "--force", vg)
		runLVM(t, append([]string{"pvremove", "--yes"}, disks...)...)
	})
}

// smallGroup is volumeGroup with so much of each disk, so that all of it can be written.
func smallGroup(t *testing.T, n int, each string) {
	t.Helper()
	disks := testDisks(t, n)[:n]
	runLVM(t, append([]string{"pvcreate", "--yes", "--setphysicalvolumesize", each}, disks...)...)
	volumeGroup(t, n)
}

// wipedAfter leaves nothing of a volume group that the test itself makes, also where it failed half way.
func wipedAfter(t *testing.T, disks ...string) {
	t.Cleanup(func() {
		_ = exec.Command("lvm", "vgremove", "--config", settings, "--force", "--force", "--yes", vg).Run()
		_ = exec.Command("wipefs", append([]string{"--all", "--force"}, disks...)...).Run()
	})
}

// kind is one configuration that has to keep the contract.
type kind struct {
	name   string
	config lvm.Config
	disks  int
	each   string // of each disk: a little more than pooltest.Room together
}

func kinds() []kind {
	return []kind{
		{"linear", lvm.Config{VolumeGroup: vg}, 2, "120m"},
		{"thin", lvm.Config{VolumeGroup: vg, ThinPool: "tp"}, 2, "140m"},
		{"striped", lvm.Config{VolumeGroup: vg, Type: lvm.Striped, Stripes: 2}, 2, "120m"},
		{"raid1", lvm.Config{VolumeGroup: vg, Type: lvm.RAID1}, 2, "220m"},
		{"raid5", lvm.Config{VolumeGroup: vg, Type: lvm.RAID5}, 3, "120m"},
		{"raid6", lvm.Config{VolumeGroup: vg, Type: lvm.RAID6, Stripes: 4}, 6, "75m"}, // with three, no size of the contract is one of its own
		{"raid10", lvm.Config{VolumeGroup: vg, Type: lvm.RAID10}, 4, "120m"},
	}
}

// prepare makes the volume group of a kind, and its thin pool.
func (k kind) prepare(t *testing.T) {
	t.Helper()
	smallGroup(t, k.disks, k.each)
	if k.config.ThinPool != "" {
		runLVM(t, "lvcreate", "--yes", "--type", "thin-pool", "--size", "240m", "--chunksize", "64k", "--poolmetadatasize", "8m", "--name", k.config.ThinPool, vg)
	}
}

func open(t *testing.T, c lvm.Config, r host.Runner) pool.Pool {
	t.Helper()
	p, err := lvm.Open(t.Context(), poolName, node, c, host.New(r), r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// empty closes the pool and removes all that is in it, after a look whether what is read from the disks is what LVM says.
func empty(t *testing.T, p pool.Pool) {
	stored, reported, err := lvm.StoredAndReported(context.Background(), p)
	if err != nil || stored != reported {
		t.Errorf("%v: on the disks is\n%s\nand LVM reports\n%s", err, stored, reported)
	}
	_ = p.Close() // a test may have done it
	runLVM(t, "lvremove", "--force", "--select", `lv_name=~"^loam"`, vg)
}

func id(name string) volume.ID { return volume.ID{Node: node, Pool: poolName, Name: name} }

func spec(name string, bytes volume.Size) volume.Spec {
	return volume.Spec{ID: id(name), Size: volume.Range{RequiredBytes: bytes}}
}

// counting counts the lvm commands that go through it.
type counting struct {
	host.Runner
	mu       sync.Mutex
	commands []string
}

func (c *counting) Run(ctx context.Context, command host.Command) ([]byte, error) {
	if command.Name == "lvm" {
		c.mu.Lock()
		c.commands = append(c.commands, command.Args[0])
		c.mu.Unlock()
	}
	return c.Runner.Run(ctx, command)
}

// taken returns the commands since it was last called.
func (c *counting) taken() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	commands := c.commands
	c.commands = nil
	return commands
}
