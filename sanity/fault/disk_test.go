package fault_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/volume"
)

// disk is a disk that can be made to fail: a device-mapper device that is part of a blank disk. It does not
// begin where that does, for LVM would find what it writes there on both.
type disk struct {
	t       *testing.T
	name    string
	on      string // path of the blank disk
	sectors int64
	data    int64 // first sector of what LVM gives out; before it is what it keeps for itself
}

const firstSector = 2048

// newDisk makes such a disk until the test ends.
func newDisk(t *testing.T, name, on string, size volume.Size) *disk {
	t.Helper()
	d := &disk{t: t, name: name, on: on, sectors: int64(size / 512)}
	dmsetup(t, "create", name, "--table", d.linear(0, d.sectors))
	t.Cleanup(func() {
		d.heal()
		dmsetup(t, "remove", "--retry", name)
	})
	return d
}

func (d *disk) path() string { return "/dev/mapper/" + d.name }

// failure is a way to fail.
type failure struct {
	name  string
	table func(*disk) string
}

// gone is a disk that answers nothing.
var gone = failure{"all requests fail", func(d *disk) string { return fmt.Sprintf("0 %d error", d.sectors) }}

// failures are what happens to a disk: it is gone, or takes no writes, everywhere or in a part.
var failures = []failure{
	{"writes to data fail", func(d *disk) string { return d.linear(0, d.data) + "\n" + d.refusing(d.data, d.sectors) }},
	gone,
	{"writes fail", func(d *disk) string { return d.refusing(0, d.sectors) }},
	{"writes to metadata fail", func(d *disk) string { return d.refusing(0, d.data) + "\n" + d.linear(d.data, d.sectors) }},
}

func (d *disk) linear(from, to int64) string {
	return fmt.Sprintf("%d %d linear %s %d", from, to-from, d.on, firstSector+from)
}

// refusing is a part that can be read, and has each write fail (dm-flakey that is never up).
func (d *disk) refusing(from, to int64) string {
	return fmt.Sprintf("%d %d flakey %s %d 0 3600 1 error_writes", from, to-from, d.on, firstSector+from)
}

func (d *disk) fail(how failure) { d.t.Helper(); d.become(how.table(d)) }

func (d *disk) heal() { d.t.Helper(); d.become(d.linear(0, d.sectors)) }

// become exchanges what the device is, under whoever has it open. Nothing is flushed, since that may fail now.
func (d *disk) become(table string) {
	d.t.Helper()
	dmsetup(d.t, "suspend", "--noflush", "--nolockfs", d.name)
	load := exec.Command("dmsetup", "load", d.name)
	load.Stdin = strings.NewReader(table + "\n")
	if out, err := load.CombinedOutput(); err != nil {
		d.t.Errorf("dmsetup load %s of\n%s\n%v: %s", d.name, table, err, out)
	}
	dmsetup(d.t, "resume", d.name)
}

func dmsetup(t *testing.T, args ...string) {
	t.Helper()
	c := exec.Command("dmsetup", args...)
	c.Env = append(os.Environ(), "DM_DISABLE_UDEV=1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("dmsetup %s: %v: %s", strings.Join(args, " "), err, out)
	}
}
