// Package hosttest is a machine for tests that need no root, and the suite that it and the real one
// both pass.
//
// It behaves like the machine and is not scripted. Its block devices are files with bytes in them: the
// memory pool's, or any other. The real tools look at them and make file systems on them. Mounts are
// only remembered, in a table that obeys the kernel's rules; nothing can be seen at a mount point, and
// the directory there stays as empty as it was.
package hosttest

import (
	"context"
	"sync"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// Machine is a host.Machine. It is safe for concurrent use.
type Machine struct {
	real   *host.Host
	runner host.Runner

	mu       sync.Mutex
	mounts   []*mounted
	lastID   int
	claims   map[host.DeviceNumber]bool
	readOnly map[host.DeviceNumber]bool
	grown    map[host.DeviceNumber]volume.Size // file systems that only a mount of them can grow
	owners   map[string]string                 // what SetOwner noted, by target
	devices  Devices
	noted    map[string]host.DeviceNumber // what NoteDevice noted, by target
	faults   faults
}

var _ host.Machine = (*Machine)(nil)

// New returns a machine on which only the root directory is mounted.
func New() *Machine {
	runner := host.NewRunner()
	m := &Machine{
		real: host.New(runner), runner: runner,
		claims: map[host.DeviceNumber]bool{}, readOnly: map[host.DeviceNumber]bool{}, grown: map[host.DeviceNumber]volume.Size{}, owners: map[string]string{}, noted: map[string]host.DeviceNumber{},
	}
	m.mounts = []*mounted{{Mount: host.Mount{Target: "/", Device: rootDevice, Root: "/", FSType: "ext4", Source: "/dev/root"}}}
	return m
}

// Restart is what happens to the machine when the process that used it is killed: what that held open
// is let go. Mounts stay.
func (m *Machine) Restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.claims)
}

// Claimed returns how many devices are claimed.
func (m *Machine) Claimed() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.claims)
}

// SetReadOnly makes a device refuse writes, as one does that was attached read-only, or no longer.
func (m *Machine) SetReadOnly(device string, readOnly bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.device(device)
	if err != nil {
		return err
	}
	delete(m.readOnly, d.Number)
	if readOnly {
		m.readOnly[d.Number] = true
	}
	return nil
}

// InUse reports whether a device is mounted or claimed, so that the kernel does not let it be taken
// away. A device node that is only bound somewhere does not keep its device.
func (m *Machine) InUse(device string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.device(device)
	return err == nil && (m.claims[d.Number] || m.super(d.Number) != nil)
}

// Options returns the options with which the file system at target was mounted.
func (m *Machine) Options(target string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at := m.top(target); at != nil {
		return at.options
	}
	return nil
}

// Hold opens a file in what is mounted at target, which keeps it from being unmounted until release is
// called.
func (m *Machine) Hold(target string) (release func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.top(target)
	if at == nil {
		panic("hosttest: nothing is mounted at " + target)
	}
	at.open++
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		at.open--
	}
}

// Probe asks the real machine.
func (m *Machine) Probe(ctx context.Context, device string) (found host.Signature, err error) {
	err = m.step("Probe", device, func() (err error) {
		found, err = m.real.Probe(ctx, m.resolve(device))
		return err
	})
	if lie := m.lie(); lie != nil {
		return lie(device, found, err)
	}
	return found, err
}

// Format runs the real mkfs.
func (m *Machine) Format(ctx context.Context, device string, f host.Format) error {
	return m.exclusive("Format", device, func(path string) error { return m.real.Format(ctx, path, f) })
}

// Zero makes a hole of the whole file.
func (m *Machine) Zero(_ context.Context, device string) error {
	return m.exclusive("Zero", device, zeroFile)
}

// Check runs the real e2fsck.
func (m *Machine) Check(ctx context.Context, device string, fsType volume.FSType) error {
	if fsType != volume.Ext4 {
		return m.step("Check", device, func() error { return nil })
	}
	return m.exclusive("Check", device, func(path string) error { return m.real.Check(ctx, path, fsType) })
}
