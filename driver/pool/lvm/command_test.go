package lvm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm/vg/metadata"
	"github.com/loam-storage/loam/driver/volume"
)

// fakeLVM shows a volume group of some logical volumes on some disks, and does with other commands what
// its change says.
type fakeLVM struct {
	mu       sync.Mutex
	disks    []string
	lvs      []string // rows of the report
	change   func(f *fakeLVM, args []string) error
	commands [][]string
	gate     chan struct{} // a report waits for it, where it is not nil
}

func (f *fakeLVM) Run(_ context.Context, c host.Command) ([]byte, error) {
	f.mu.Lock()
	f.commands = append(f.commands, c.Args)
	gate := f.gate
	f.mu.Unlock()
	if c.Name != "lvm" || c.Timeout <= 0 || c.Timeout > 15*time.Minute || c.Args[1] != "--config" {
		return nil, volume.Errorf(volume.Internal, "a command without a deadline or its settings: %+v", c)
	}
	if c.Args[0] == "pvs" {
		return f.pvs(c.Args), nil
	}
	if c.Args[0] != "fullreport" {
		f.mu.Lock()
		defer f.mu.Unlock()
		return []byte("  done\n"), f.change(f, c.Args)
	}
	if gate != nil {
		<-gate
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var pvs []string
	for _, d := range f.disks {
		pvs = append(pvs, fmt.Sprintf(`{"pv_name":%q, "pv_attr":"a--", "pv_pe_count":"100", "pv_pe_alloc_count":"0"}`, d))
	}
	missing := 0
	if i := slices.Index(c.Args, "--devices"); i > 0 {
		missing = len(f.disks) - len(strings.Split(c.Args[i+1], ","))
	}
	return fmt.Appendf(nil, `{"report":[{"vg":[{"vg_name":"vg0","vg_extent_size":"1048576","vg_attr":"wz--n-","vg_missing_pv_count":"%d"}],"pv":[%s],"lv":[%s],"seg":[]}]}`,
		missing, strings.Join(pvs, ","), strings.Join(f.lvs, ",")), nil
}

// pvs answers which disks have the name of the group, of those that LVM may look at.
func (f *fakeLVM) pvs(args []string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	var rows []string
	for i, d := range f.disks {
		if slices.Contains(strings.Split(args[slices.Index(args, "--devices")+1], ","), d) {
			rows = append(rows, fmt.Sprintf(`{"pv_name":%q, "pv_uuid":"disk%d", "vg_uuid":"group"}`, d, i))
		}
	}
	return fmt.Appendf(nil, `{"report":[{"pv":[%s]}]}`, strings.Join(rows, ","))
}

// blockDevices are the disks, and one that is somebody else's.
func (f *fakeLVM) blockDevices(context.Context) (all []host.BlockDevice, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, d := range append([]string{"/dev/other"}, f.disks...) {
		all = append(all, host.BlockDevice{Name: strings.TrimPrefix(d, "/dev/"), Path: d, Number: host.DeviceNumber{Major: 254, Minor: uint32(i)}, SizeBytes: volume.GiB})
	}
	return all, nil
}

// made adds the logical volume that an lvcreate asks for to the report.
func (f *fakeLVM) made(args []string) {
	var tags []string
	for i, a := range args {
		if a == "--addtag" {
			tags = append(tags, args[i+1])
		}
	}
	value := func(flag string) string { return args[slices.Index(args, flag)+1] }
	f.lvs = append(f.lvs, fmt.Sprintf(`{"lv_name":%q,"lv_size":%q,"lv_attr":"-wi-------","lv_tags":%q}`, value("--name"), strings.TrimSuffix(value("--size"), "b"), strings.Join(tags, ",")))
}

func fakePool(t *testing.T, f *fakeLVM) *Pool {
	t.Helper()
	p, err := newPool("fast", "n1", Config{VolumeGroup: "vg0"}, host.New(f), f)
	if err != nil {
		t.Fatal(err)
	}
	p.locks = t.TempDir()
	p.diskBlock = func(string) (volume.Size, error) { return volume.LeastBlockBytes, nil }
	p.flushDisk, p.blockDevices = func(string) error { return nil }, f.blockDevices
	p.onDisk.Open = func(string) (metadata.Disk, error) { return nil, errors.New("there is no disk behind this one") }
	if _, err := p.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.commands = nil
	return p
}

var failed5 = &host.ExitError{Command: "lvm", Code: 5, Stderr: "it says something"}

func specOf(name string) volume.Spec {
	return volume.Spec{ID: volume.ID{Node: "n1", Pool: "fast", Name: name}, Size: volume.Range{RequiredBytes: 8 * volume.MiB}}
}

func (f *fakeLVM) names() (names []string) {
	for _, c := range f.commands {
		names = append(names, c[0])
	}
	return names
}

// A command that hung and was killed may have done its work.
func TestAKilledCommandThatDidItsWorkIsFoundOut(t *testing.T) {
	for what, killed := range map[string]error{"killed": volume.Errorf(volume.Internal, "lvm did not end within 2m and was killed"), "failed": failed5} {
		f := &fakeLVM{disks: []string{"/dev/vda"}, change: func(f *fakeLVM, args []string) error { f.made(args); return killed }}
		p := fakePool(t, f)
		v, err := p.Create(t.Context(), specOf("a"))
		if err != nil || v.Size != 8*volume.MiB || v.Mark != volume.Fresh {
			t.Errorf("%s: Create answered %+v, %v", what, v, err)
		}
		f.change = func(*fakeLVM, []string) error { return killed }
		if _, err := p.Create(t.Context(), specOf("b")); !volume.Is(err, volume.Internal) || !strings.Contains(err.Error(), killed.Error()) {
			t.Errorf("%s: a Create that did nothing: %v", what, err)
		}
	}
}

func TestCommandsScanOnlyThePoolsDisks(t *testing.T) {
	f := &fakeLVM{disks: []string{"/dev/vda", "/dev/vdb"}, change: func(f *fakeLVM, args []string) error { f.made(args); return nil }}
	p := fakePool(t, f)
	if _, err := p.Create(t.Context(), specOf("a")); err != nil {
		t.Fatal(err)
	}
	if c := f.commands[0]; !slices.Contains(c, "/dev/vda,/dev/vdb") {
		t.Errorf("the command was %v", c)
	}
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
		f := &fakeLVM{disks: []string{"/dev/vda"}}
		f.change = func(f *fakeLVM, args []string) error {
			if !slices.Contains(args, "/dev/vda,/dev/vdb") {
				return failed5
			}
			return nil
		}
		p := fakePool(t, f)
		f.disks = append(f.disks, "/dev/vdb")
		if err := p.lvm(t.Context(), c.command); err != nil {
			t.Fatal(err)
		}
		if got := f.names(); !slices.Equal(got, c.want) {
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
		f := &fakeLVM{disks: []string{there}}
		p := fakePool(t, f)
		p.config.Devices, p.config.Create, p.disks = []string{there, away}, create, nil
		if _, err := p.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := there
		if create {
			want = "/dev/other," + there
		}
		if c := f.commands[0]; c[0] != "pvs" || !slices.Contains(c, want) {
			t.Errorf("create %t: the command was %v", create, c)
		}
	}
}

// Whoever asks while a report is being made shares the next one.
func TestReportsAreShared(t *testing.T) {
	f := &fakeLVM{disks: []string{"/dev/vda"}}
	p := fakePool(t, f)
	f.gate = make(chan struct{})
	var wait sync.WaitGroup
	ask := func() {
		if _, err := p.look(t.Context()); err != nil {
			t.Error(err)
		}
	}
	wait.Go(ask)
	until(t, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.commands) == 1 })
	for range 10 {
		wait.Go(ask)
	}
	until(t, func() bool {
		p.reports.mu.Lock()
		defer p.reports.mu.Unlock()
		return p.reports.next != nil && p.reports.next.waiting == 10
	})
	close(f.gate)
	wait.Wait()
	if len(f.commands) != 2 {
		t.Errorf("11 callers took %d reports, want 2", len(f.commands))
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

// A name that LVM refuses is hashed on its way there, and comes back as it was.
func TestHashedNamesComeBack(t *testing.T) {
	f := &fakeLVM{disks: []string{"/dev/vda"}, change: func(f *fakeLVM, args []string) error { f.made(args); return nil }}
	p := fakePool(t, f)
	for _, name := range []string{"b_tdata", "a_rimage_1", "plain"} {
		if _, err := p.Create(t.Context(), specOf(name)); err != nil {
			t.Fatal(err)
		}
		if v, err := p.Get(t.Context(), specOf(name).ID); err != nil || v.ID.Name != name {
			t.Errorf("Get answered %+v, %v", v, err)
		}
	}
	volumes, err := p.List(t.Context(), "", 0)
	if err != nil || len(volumes) != 3 || volumes[0].ID.Name != "a_rimage_1" || volumes[2].ID.Name != "plain" {
		t.Errorf("List answered %v, %v", volumes, err)
	}
	if rest, err := p.List(t.Context(), "a_rimage_1", 1); err != nil || len(rest) != 1 || rest[0].ID.Name != "b_tdata" {
		t.Errorf("the next page has %v, %v", rest, err)
	}
}

// A disk that hangs holds nobody longer than they want to wait.
func TestADiskThatDoesNotAnswer(t *testing.T) {
	p := fakePool(t, &fakeLVM{disks: []string{"/dev/vda"}})
	hangs := make(chan struct{})
	p.onDisk.Open = func(string) (metadata.Disk, error) { <-hangs; return nil, errors.New("it is gone") }
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, err := p.Get(ctx, specOf("a").ID)
		cancel()
		if !volume.Is(err, volume.Unavailable) {
			t.Errorf("Get answered %v", err)
		}
	}
	close(hangs)
	if _, err := p.Get(t.Context(), specOf("a").ID); !volume.Is(err, volume.NotFound) {
		t.Errorf("Get answered %v once the disk was gone", err)
	}
}
