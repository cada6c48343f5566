package vg

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm/vg/vgtest"
)

// fakeGroup is a volume group as the commands of f show it.
func fakeGroup(t *testing.T, f *vgtest.LVM, o Options) *Group {
	t.Helper()
	o.Name, o.Pool, o.Machine, o.Runner, o.Ours = "vg0", "fast", host.New(f), f, func(LV) bool { return false }
	v := New(o)
	v.Disks, f.Locks = Disks{Open: f.Open, Flush: f.Flush, All: f.BlockDevices}, t.TempDir()
	if _, err := v.Report(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Commands = nil
	return v
}

// The group got a disk: one that changes the group is given it from the start, or LVM would write down that the disk is
// missing. Another one is tried again where it fails for that.
func TestANewDiskIsGivenToCommands(t *testing.T) {
	for _, c := range []struct {
		command Command
		want    []string
	}{
		{Tag(Only("a"), []string{"a"}, nil), []string{"fullreport", "pvs", "fullreport", "lvchange"}},
		{Remove(Only("a", "a")), []string{"fullreport", "pvs", "fullreport", "lvremove"}},
		{Activate(Only("a"), false), []string{"lvchange", "fullreport", "pvs", "fullreport", "lvchange"}},
	} {
		f := &vgtest.LVM{Disks: []string{"/dev/vda"}}
		f.Change = func(f *vgtest.LVM, args []string) error {
			if !slices.Contains(args, "/dev/vda,/dev/vdb") {
				return vgtest.Failed()
			}
			return nil
		}
		v := fakeGroup(t, f, Options{})
		f.Disks = append(f.Disks, "/dev/vdb")
		if err := v.Change(t.Context(), c.command); err != nil {
			t.Fatal(err)
		}
		if got := f.Names(); !slices.Equal(got, c.want) {
			t.Errorf("%v: the commands were %v", c.command, got)
		}
	}
}

// Where the configuration names the disks of a group that is there, LVM is never shown others.
func TestPinnedDisksAreTheOnlyOnesLookedAt(t *testing.T) {
	there, away := filepath.Join(t.TempDir(), "there"), filepath.Join(t.TempDir(), "away")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, create := range []bool{false, true} {
		f := &vgtest.LVM{Disks: []string{there}}
		v := fakeGroup(t, f, Options{})
		v.of.Devices, v.of.Create, v.disks = []string{there, away}, create, nil
		if _, err := v.Report(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := there
		if create {
			want = "/dev/other," + there
		}
		if c := f.Commands[0]; c[0] != "pvs" || !slices.Contains(c, want) {
			t.Errorf("create %t: the command was %v", create, c)
		}
	}
}

// Whoever asks while a report is being made shares the next one.
func TestReportsAreShared(t *testing.T) {
	f := &vgtest.LVM{Disks: []string{"/dev/vda"}}
	v := fakeGroup(t, f, Options{})
	f.Gate = make(chan struct{})
	var wait sync.WaitGroup
	ask := func() {
		if _, err := v.Report(t.Context()); err != nil {
			t.Error(err)
		}
	}
	wait.Go(ask)
	until(t, func() bool { f.Lock(); defer f.Unlock(); return len(f.Commands) == 1 })
	for range 10 {
		wait.Go(ask)
	}
	until(t, func() bool {
		v.reports.mu.Lock()
		defer v.reports.mu.Unlock()
		return v.reports.next != nil && v.reports.next.waiting == 10
	})
	close(f.Gate)
	wait.Wait()
	if len(f.Commands) != 2 {
		t.Errorf("11 callers took %d reports, want 2", len(f.Commands))
	}
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatal("waited for 10 s")
		}
		time.Sleep(time.Millisecond)
	}
}
