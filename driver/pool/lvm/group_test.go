package lvm_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

func TestMain(m *testing.M) {
	os.Exit(hosttest.LeaveNothing(func() int {
		code := m.Run()
		for _, disk := range allDisks() { // the next ones are to find them blank
			if out, err := exec.Command("blkdiscard", "--zeroout", disk).CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "make %s blank: %v %s\n", disk, err, out)
				code = 1
			}
		}
		return code
	}))
}

// pair is a pool with two attached volumes, and a group of both.
func pair(t *testing.T, k kind, r host.Runner) (p pool.Snapshotter, devices []string, group volume.SnapshotSpec) {
	t.Helper()
	k.prepare(t)
	p = open(t, k.config, r).(pool.Snapshotter)
	t.Cleanup(func() { empty(t, p) })
	group = volume.SnapshotSpec{ID: id("g"), Group: true}
	for _, name := range []string{"a", "b"} {
		must(t, second(p.Create(t.Context(), spec(name, 8*volume.MiB))))
		devices = append(devices, attach(t, p, name))
		group.Volumes = append(group.Volumes, id(name))
	}
	return p, devices, group
}

// A writer counts up in two volumes, the first one always first, and past all caches. At any instant the second is
// not ahead of the first, and at most one behind.
func TestGroupIsOfOneInstant(t *testing.T) {
	for _, name := range []string{"linear", "raid1", "thin"} {
		t.Run(name, func(t *testing.T) {
			k := kinds()[slices.IndexFunc(kinds(), func(k kind) bool { return k.name == name })]
			r := &counting{Runner: host.NewRunner()}
			p, devices, group := pair(t, k, r)
			stop := count(t, devices)
			for range 2 {
				r.taken()
				taken, err := p.CreateSnapshot(t.Context(), group)
				must(t, err)
				if got := r.taken(); len(got) > 7 { // one for each snapshot, one for the tags, and reports
					t.Errorf("a group of two took %d lvm commands: %v", len(got), got)
				}
				a, b := countIn(t, k, taken[0]), countIn(t, k, taken[1])
				if a == 0 || a != b && a != b+1 {
					t.Errorf("the members of the group hold %d and %d", a, b)
				}
				must(t, p.DeleteGroup(t.Context(), group.ID))
			}
			stop()
			for _, name := range []string{"a", "b"} {
				must(t, p.Detach(t.Context(), id(name)))
			}
		})
	}
}

// count counts up in the devices until stop.
func count(t *testing.T, devices []string) (stop func()) {
	t.Helper()
	var files []*os.File
	for _, d := range devices {
		f, err := os.OpenFile(d, os.O_RDWR|unix.O_DIRECT, 0)
		must(t, err)
		files = append(files, f)
	}
	block, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	must(t, err)
	var done = make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for n := uint64(1); ; n++ {
			select {
			case <-done:
				return
			default:
			}
			binary.BigEndian.PutUint64(block, n)
			for _, f := range files {
				if _, err := f.WriteAt(block, 0); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	stop = sync.OnceFunc(func() {
		close(done)
		writer.Wait()
		for _, f := range files {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := unix.Munmap(block); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// countIn reads the count in a snapshot. A copy-on-write one is active with its volume.
func countIn(t *testing.T, k kind, s volume.Snapshot) uint64 {
	t.Helper()
	name := vg + "/loam.fast.g." + s.ID.Name
	if k.config.ThinPool != "" {
		runLVM(t, "lvchange", "--activate", "y", "--ignoreactivationskip", name)
		defer runLVM(t, "lvchange", "--activate", "n", name)
	}
	text := run(t, "sh", "-c", "dd if=/dev/"+name+" bs=4096 count=1 iflag=direct 2>/dev/null | od -A n -t x1 -N 8 | tr -d ' '")
	var n uint64
	for _, c := range text {
		n = n<<4 | uint64(slices.Index([]rune("0123456789abcdef"), c))
	}
	return n
}

// What of a group is half made hides it, and what a process that is gone left suspended goes on when the pool is opened.
func TestAGroupThatWasCutOff(t *testing.T) {
	for _, k := range kinds()[:2] {
		t.Run(k.name, func(t *testing.T) {
			p, _, group := pair(t, k, host.NewRunner())
			must(t, second(p.CreateSnapshot(t.Context(), group)))
			a := "loam.fast.g." + volume.MemberName("g", "a")
			runLVM(t, "lvchange", "--addtag", "loam.storage/making", vg+"/"+a)
			if _, err := p.GetGroup(t.Context(), id("g")); !volume.Is(err, volume.NotFound) {
				t.Errorf("GetGroup of a half made group: %v", err)
			}
			must(t, p.Close())
			if k.config.ThinPool == "" {
				name := vg + "-" + strings.ReplaceAll(a, "-", "--")
				run(t, "sh", "-c", `dmsetup table "$0" | sed 's/snapshot.*/error/' | dmsetup load --readonly "$0" && dmsetup resume "$0"`, name)
			} else {
				number := run(t, "sh", "-c", `lvm lvs --noheadings -o thin_id "$0" | tr -d ' '`, vg+"/"+a)
				run(t, "dmsetup", "message", vg+"-tp-tpool", "0", "delete "+number)
			}
			run(t, "dmsetup", "suspend", vg+"-loam.fast.v.b")
			again := open(t, k.config, host.NewRunner()).(pool.Snapshotter)
			defer again.Close()
			run(t, "sh", "-c", "printf new | dd of=/dev/"+vg+"/loam.fast.v.b conv=notrunc,fsync 2>/dev/null")
			if s, err := again.ListSnapshots(t.Context(), "", 0); err != nil || len(s) != 0 {
				t.Errorf("ListSnapshots answered %v, %v", s, err)
			}
			if left := runLVM(t, "lvs", "--noheadings", "-o", "lv_name", "--select", `lv_name=~"[.]g[.]"`, vg); left != "" {
				t.Errorf("left behind: %s", left)
			}
			if s, err := again.CreateSnapshot(t.Context(), group); err != nil || len(s) != 2 {
				t.Errorf("the group made again: %v, %v", s, err)
			}
			must(t, again.DeleteGroup(t.Context(), id("g")))
			for _, name := range []string{"a", "b"} {
				must(t, again.Detach(t.Context(), id(name)))
			}
		})
	}
}

// A volume that somebody else holds suspended makes the whole group fail, and the other ones go on.
func TestAGroupWithAVolumeThatCannotBeSuspended(t *testing.T) {
	stop := stopAt("--nolocking")
	p, devices, group := pair(t, kinds()[1], stop)
	go func() {
		<-stop.reached
		run(t, "dmsetup", "suspend", vg+"-loam.fast.v.b")
		stop.goOn <- struct{}{}
	}()
	_, err := p.CreateSnapshot(t.Context(), group)
	run(t, "dmsetup", "resume", vg+"-loam.fast.v.b")
	if !volume.Is(err, volume.Busy) {
		t.Errorf("CreateSnapshot answered %v", err)
	}
	for _, d := range devices {
		run(t, "sh", "-c", "printf new | dd of="+d+" conv=notrunc,fsync 2>/dev/null")
	}
	go func() { <-stop.reached; stop.goOn <- struct{}{} }()
	if s, err := p.ListSnapshots(t.Context(), "", 0); err != nil || len(s) != 0 {
		t.Errorf("ListSnapshots answered %v, %v", s, err)
	}
	must(t, second(p.CreateSnapshot(t.Context(), group)))
	must(t, errors.Join(p.Detach(t.Context(), id("a")), p.Detach(t.Context(), id("b"))))
}
