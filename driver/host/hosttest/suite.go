package hosttest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// NewDevice returns the path of a block device of the given size that reads as zeros, and sees to it
// that it is gone after the test.
type NewDevice func(t *testing.T, size volume.Size) string

// TestMachine is the contract of host.Machine as a suite. It needs the tools of ext4, xfs and btrfs.
func TestMachine(t *testing.T, newMachine func(t *testing.T) host.Machine, newDevice NewDevice) {
	groups := []struct {
		name  string
		tests []suiteTest
	}{
		{"device", deviceTests}, {"claim", claimTests}, {"probe", probeTests}, {"format", formatTests},
		{"mount", mountTests}, {"bind", bindTests}, {"grow", growTests},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, test := range g.tests {
				t.Run(test.name, func(t *testing.T) {
					test.run(&env{T: t, m: newMachine(t), newDevice: newDevice})
				})
			}
		})
	}
}

// suiteTest is one sentence of the contract.
type suiteTest struct {
	name string
	run  func(e *env)
}

// env is what a test works with. Its shorthand fails the test where the machine does not do what it
// should.
type env struct {
	*testing.T
	m         host.Machine
	newDevice NewDevice
	root      string
}

// small is a size that ext4 likes; least is one that every file system does.
const (
	small = 16 * volume.MiB
	least = 320 * volume.MiB
)

func (e *env) device(size volume.Size) string {
	path := e.newDevice(e.T, size)
	e.dir("") // so that the device is unmounted before it goes
	e.Cleanup(e.unmountAll)
	return path
}

// dir returns a new directory.
func (e *env) dir(name string) string {
	e.Helper()
	if e.root == "" {
		root, err := filepath.EvalSymlinks(e.TempDir())
		e.ok("resolve the directory of the test", err)
		e.root = root
	}
	path := filepath.Join(e.root, name)
	if name != "" {
		e.ok("make a directory", os.Mkdir(path, 0o750))
	}
	return path
}

// file returns a new empty file.
func (e *env) file(name string) string {
	e.Helper()
	path := filepath.Join(e.dir(""), name)
	e.ok("make a file", os.WriteFile(path, nil, 0o640))
	return path
}

func (e *env) unmountAll() {
	for tries := 0; tries < 100; tries++ {
		mounts := e.mounts()
		if len(mounts) == 0 {
			return
		}
		if err := e.m.Unmount(e.Context(), mounts[len(mounts)-1].Target); err != nil {
			e.Errorf("after the test: %v", err)
		}
	}
	e.Errorf("still mounted after the test: %v", e.mounts())
}

// mounts returns what is mounted in the directory of the test, by the path in it.
func (e *env) mounts() []host.Mount {
	e.Helper()
	table, err := e.m.Mounts()
	e.ok("Mounts", err)
	var mine []host.Mount
	for _, m := range table {
		if strings.HasPrefix(m.Target, e.root+"/") {
			mine = append(mine, m)
		}
	}
	return mine
}

// one fails the test unless exactly one thing is mounted at target, and returns it.
func (e *env) one(target string) host.Mount {
	e.Helper()
	var found []host.Mount
	for _, m := range e.mounts() {
		if m.Target == target {
			found = append(found, m)
		}
	}
	if len(found) != 1 {
		e.Fatalf("%d mounts at %s, want 1; mounted: %v", len(found), target, e.mounts())
	}
	return found[0]
}

func (e *env) none() {
	e.Helper()
	if mounts := e.mounts(); len(mounts) != 0 {
		e.Fatalf("mounted: %v, want nothing", mounts)
	}
}

func (e *env) format(device string, t volume.FSType) {
	e.Helper()
	e.ok("Format", e.m.Format(e.Context(), device, host.Format{Type: t}))
}

func (e *env) mount(device, target string, t volume.FSType, options ...string) {
	e.Helper()
	e.ok("Mount", e.m.Mount(e.Context(), device, target, t, options))
}

// setReadOnly makes a device refuse writes, or no longer.
func (e *env) setReadOnly(device string, readOnly bool) {
	e.Helper()
	if m, ok := e.m.(*Machine); ok {
		e.ok("SetReadOnly", m.SetReadOnly(device, readOnly))
		return
	}
	f, err := os.Open(device)
	e.ok("open", err)
	value := 0
	if readOnly {
		value = 1
	}
	e.ok("set the device read-only or writable", errors.Join(unix.IoctlSetPointerInt(int(f.Fd()), unix.BLKROSET, value), f.Close()))
}

func (e *env) unmount(target string) {
	e.Helper()
	e.ok("Unmount", e.m.Unmount(e.Context(), target))
}

func (e *env) bind(source, target string, readOnly bool) {
	e.Helper()
	e.ok("Bind", e.m.Bind(e.Context(), source, target, readOnly))
}

func (e *env) probe(device string) host.Signature {
	e.Helper()
	found, err := e.m.Probe(e.Context(), device)
	e.ok("Probe", err)
	return found
}

// hold keeps what is mounted at target busy.
func (e *env) hold(target string) (release func()) {
	e.Helper()
	if fake, ok := e.m.(interface{ Hold(string) func() }); ok {
		return fake.Hold(target)
	}
	f, err := os.Open(target)
	e.ok("open "+target, err)
	return func() { _ = f.Close() }
}

// write writes to a device and syncs it.
func (e *env) write(device string, at volume.Size, bytes []byte) {
	e.Helper()
	f, err := os.OpenFile(device, os.O_WRONLY, 0)
	e.ok("open "+device, err)
	_, err = f.WriteAt(bytes, int64(at))
	e.ok("write to "+device, errors.Join(err, f.Sync(), f.Close()))
}

// copy makes to begin with the bytes of from, as a restored volume does. It reads as zeros until then.
func (e *env) copy(from, to string) {
	e.Helper()
	source, err := os.Open(from)
	e.ok("open "+from, err)
	defer source.Close() //nolint:errcheck // only read
	target, err := os.OpenFile(to, os.O_WRONLY, 0)
	e.ok("open "+to, err)
	block, zeros := make([]byte, 1<<20), string(make([]byte, 1<<20))
	for at := int64(0); ; {
		n, err := io.ReadFull(source, block)
		if string(block[:n]) != zeros[:n] {
			_, err := target.WriteAt(block[:n], at)
			e.ok("write to "+to, err)
		}
		at += int64(n)
		if err != nil {
			break
		}
	}
	e.ok("sync "+to, errors.Join(target.Sync(), target.Close()))
}

func (e *env) ok(what string, err error) {
	e.Helper()
	if err != nil {
		e.Fatalf("%s: %v", what, err)
	}
}

// fails fails the test unless err is one, with a text.
func (e *env) fails(what string, err error) {
	e.Helper()
	if err == nil || err.Error() == "" {
		e.Fatalf("%s: got error %v, want one that says something", what, err)
	}
}

func (e *env) is(what string, err error, kind volume.Kind) {
	e.Helper()
	e.fails(what, err)
	if volume.KindOf(err) != kind {
		e.Fatalf("%s: got error %v of kind %s, want %s", what, err, volume.KindOf(err), kind)
	}
}

// gone reports that a path is not there, for tests that need one which is not.
func (e *env) gone(name string) string {
	e.Helper()
	path := filepath.Join(e.dir(""), name)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		e.Fatalf("%s is there: %v", path, err)
	}
	return path
}
