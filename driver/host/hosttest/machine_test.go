package hosttest_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/volume"
)

func newFile(t *testing.T, size volume.Size) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "device")
	if err == nil {
		err = errors.Join(f.Truncate(int64(size)), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func TestTheMachineOfTestsKeepsTheContract(t *testing.T) {
	hosttest.TestMachine(t, func(*testing.T) host.Machine { return hosttest.New() }, newFile)
}

func TestFaults(t *testing.T) {
	broken := errors.New("broken")
	m, device := hosttest.New(), newFile(t, volume.MiB)
	probe := func(want error, found host.Signature) {
		t.Helper()
		if got, err := m.Probe(t.Context(), device); !errors.Is(err, want) || got != found {
			t.Errorf("Probe says %+v, %v, want %+v, %v", got, err, found, want)
		}
	}
	blank := host.Signature{Blank: true}
	m.Fail("Probe", broken)
	probe(broken, host.Signature{})
	probe(nil, blank)

	m.FailAlways("Probe", broken)
	probe(broken, host.Signature{})
	probe(broken, host.Signature{})
	m.FailAlways("Probe", nil)
	probe(nil, blank)

	lie := host.Signature{Type: "xfs"}
	m.Lie(func(string, host.Signature, error) (host.Signature, error) { return lie, nil })
	probe(nil, lie)
	m.Lie(nil)
	probe(nil, blank)
}

func TestAFaultAfterTheStepLeavesWhatItDid(t *testing.T) {
	broken := errors.New("broken")
	m, device, target := hosttest.New(), newFile(t, 4*volume.MiB), t.TempDir()
	if err := m.Format(t.Context(), device, host.Format{Type: volume.Ext4}); err != nil {
		t.Fatal(err)
	}
	var steps []hosttest.Step
	m.Watch(func(s hosttest.Step) error {
		steps = append(steps, s)
		if s.After {
			return broken
		}
		return nil
	})
	if err := m.Mount(t.Context(), device, target, volume.Ext4, nil); !errors.Is(err, broken) {
		t.Errorf("Mount: %v", err)
	}
	if _, err := m.Claim(device); err == nil {
		t.Error("a mounted device could be claimed")
	}
	m.Watch(nil)
	table, err := m.Mounts()
	if err != nil || len(table) != 2 || table[1].Target != target {
		t.Errorf("mounted: %v, %v", table, err)
	}
	if len(steps) != 3 || steps[0] != (hosttest.Step{Method: "Mount", Path: device}) || !steps[1].After {
		t.Errorf("steps: %+v", steps)
	}
}

func TestARestartLetsClaimsGo(t *testing.T) {
	m, device := hosttest.New(), newFile(t, volume.MiB)
	if _, err := m.Claim(device); err != nil || m.Claimed() != 1 || !m.InUse(device) {
		t.Fatalf("Claim: %v, %d claimed", err, m.Claimed())
	}
	m.Restart()
	if m.Claimed() != 0 || m.InUse(device) {
		t.Errorf("%d claimed", m.Claimed())
	}
}

func TestADeviceThatRefusesWrites(t *testing.T) {
	m, device, target := hosttest.New(), newFile(t, 4*volume.MiB), filepath.Join(t.TempDir(), "target")
	if err := errors.Join(os.Mkdir(target, 0o750), m.Format(t.Context(), device, host.Format{Type: volume.Ext4}), m.SetReadOnly(device, true)); err != nil {
		t.Fatal(err)
	}
	if m.Format(t.Context(), device, host.Format{Type: volume.Ext4}) == nil || m.Zero(t.Context(), device) == nil {
		t.Error("it was written to")
	}
	if m.Mount(t.Context(), device, target, volume.Ext4, nil) == nil {
		t.Error("it was mounted for writing")
	}
	if err := m.Mount(t.Context(), device, target, volume.Ext4, []string{"ro"}); err != nil {
		t.Fatal(err)
	}
	if table, err := m.Mounts(); err != nil || !table[1].ReadOnly {
		t.Errorf("mounted: %v, %v", table, err)
	}
}
