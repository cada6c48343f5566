package lvm_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

// thinPool makes a group with a thin pool, and opens it.
func thinPool(t *testing.T, r host.Runner) pool.Snapshotter {
	t.Helper()
	k := kinds()[1]
	k.prepare(t)
	p := open(t, k.config, r).(pool.Snapshotter)
	t.Cleanup(func() { empty(t, p) })
	return p
}

// transactionID is the line of the thin pool's segment in the metadata, which comes before those of thin volumes.
var transactionID = regexp.MustCompile(`transaction_id = (\d+)\n\t*chunk_size`)

// restoreWith deactivates the thin pool and restores the metadata of the group, edited.
func restoreWith(t *testing.T, edit func(text string) string) {
	t.Helper()
	runLVM(t, "lvchange", "--activate", "n", vg+"/tp")
	file := filepath.Join(t.TempDir(), "metadata")
	runLVM(t, "vgcfgbackup", "--file", file, vg)
	text, err := os.ReadFile(file)
	must(t, err)
	edited := edit(string(text))
	if edited == string(text) {
		t.Fatalf("nothing was edited in\n%s", text)
	}
	must(t, os.WriteFile(file, []byte(edited), 0o600))
	runLVM(t, "vgcfgrestore", "--force", "--file", file, vg)
}

func withTransactionID(to func(now int) int) func(string) string {
	return func(text string) string {
		return transactionID.ReplaceAllStringFunc(text, func(line string) string {
			now := transactionID.FindStringSubmatch(line)[1]
			n, _ := strconv.Atoi(now)
			return strings.Replace(line, now, strconv.Itoa(to(n)), 1)
		})
	}
}

func names(t *testing.T) string {
	t.Helper()
	return strings.Join(strings.Fields(runLVM(t, "lvs", "--noheadings", "-o", "lv_name", vg)), " ")
}

// After a restore of other metadata, the thin pool cannot be activated. Nothing is made, changed or removed in it, all of
// that is said, and once the metadata are right again everything is there.
func TestAThinPoolWithMetadataOfAnotherTime(t *testing.T) {
	p := thinPool(t, host.NewRunner())
	for _, name := range []string{"a", "b"} {
		must(t, second(p.Create(t.Context(), spec(name, 8*volume.MiB))))
		writeTo(t, p, name, "old")
	}
	must(t, second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}})))
	must(t, second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("g"), Group: true, Volumes: []volume.ID{id("a"), id("b")}})))
	before := names(t)
	restoreWith(t, withTransactionID(func(n int) int { return n + 7 }))
	calls := func() map[string]error {
		return map[string]error{
			"Delete":         p.Delete(t.Context(), id("a")),
			"Delete again":   p.Delete(t.Context(), id("a")),
			"DeleteSnapshot": p.DeleteSnapshot(t.Context(), id("s")),
			"DeleteGroup":    p.DeleteGroup(t.Context(), id("g")),
			"Create":         second(p.Create(t.Context(), spec("c", 8*volume.MiB))),
			"Restore":        restore(p, "r"),
			"Expand":         second(p.Expand(t.Context(), id("b"), volume.Range{RequiredBytes: 16 * volume.MiB})),
			"Mark":           p.Mark(t.Context(), id("b"), volume.Used),
			"CreateSnapshot": second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("t"), Volumes: []volume.ID{id("a")}})),
			"Attach":         second(p.Attach(t.Context(), id("a"), false)),
		}
	}
	for what, err := range calls() {
		if !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), `thin pool "tp"`) {
			t.Errorf("%s: %v", what, err)
		} else {
			t.Logf("%s: %v", what, err)
		}
	}
	if now := names(t); now != before {
		t.Errorf("there are %s, and were %s", now, before)
	}
	if s := status(t, p); s.Healthy || s.FreeBytes != 0 || s.LargestBytes != 0 || !strings.Contains(s.Message, `thin pool "tp"`) {
		t.Errorf("Status answered %+v", s)
	}
	restoreWith(t, withTransactionID(func(n int) int { return n - 7 }))
	if s := status(t, p); !s.Healthy {
		t.Errorf("Status after it was mended: %+v", s)
	}
	holds(t, p, "a", "old")
	must(t, p.DeleteSnapshot(t.Context(), id("s")))
	must(t, p.DeleteGroup(t.Context(), id("g")))
	must(t, p.Delete(t.Context(), id("a")))
	must(t, second(p.Create(t.Context(), spec("c", 8*volume.MiB))))
	// The same while the pool is active: LVM looks at the number only when it has something to tell the pool.
	runLVM(t, "lvchange", "--activate", "n", vg+"/tp")
	attach(t, p, "b")
	restoreActive(t, withTransactionID(func(n int) int { return n + 7 }))
	if err := p.Delete(t.Context(), id("c")); !volume.Is(err, volume.Unavailable) {
		t.Errorf("Delete in an active pool: %v", err)
	}
	if err := p.Delete(t.Context(), id("nosuch")); !volume.Is(err, volume.Unavailable) {
		t.Errorf("Delete of what is not there: %v", err)
	}
	if s := status(t, p); s.Healthy || s.FreeBytes != 0 {
		t.Errorf("Status answered %+v", s)
	}
	restoreActive(t, withTransactionID(func(n int) int { return n - 7 }))
	must(t, p.Detach(t.Context(), id("b")))
	must(t, p.Delete(t.Context(), id("c")))
	must(t, p.Delete(t.Context(), id("nosuch")))
}

// restoreActive restores edited metadata under a thin pool that is active, which vgcfgrestore refuses: as a disk that comes
// back with older ones does. The kernel's devices stay.
func restoreActive(t *testing.T, edit func(string) string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "metadata")
	runLVM(t, "vgcfgbackup", "--file", file, vg)
	text, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte(edit(string(text))), 0o600))
	// One that thinks nothing is active.
	run(t, "lvm", "vgcfgrestore", "--config", settings+" global/activation=0", "--yes", "--force", "--file", file, vg)
}

// A volume that went from LVM's metadata, and not from the thin pool, keeps its blocks under its number there. LVM would
// give that number to the next volume or snapshot, and take its blocks for those of it.
func TestThinBlocksOfAVolumeThatIsGone(t *testing.T) {
	p := thinPool(t, host.NewRunner())
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	must(t, second(p.Create(t.Context(), spec("secret", 8*volume.MiB))))
	device := attach(t, p, "secret")
	run(t, "sh", "-c", "yes secret | dd of="+device+" bs=1M seek=2 count=3 iflag=fullblock oflag=direct conv=notrunc 2>/dev/null")
	must(t, p.Detach(t.Context(), id("secret")))
	restoreWith(t, func(text string) string {
		at := strings.Index(text, "loam.fast.v.secret {")
		end := strings.Index(text[at:], "\n\t\t}\n")
		return text[:at] + text[at+end+len("\n\t\t}\n"):]
	})
	for what, err := range map[string]error{
		"Create":         second(p.Create(t.Context(), spec("c", 8*volume.MiB))),
		"CreateSnapshot": second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("a")}})),
		"Clone": func() error {
			c := spec("d", 0)
			c.Source = &volume.Source{Kind: volume.FromVolume, ID: id("a")}
			return second(p.Create(t.Context(), c))
		}(),
	} {
		if !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), "delete 2") {
			t.Errorf("%s: %v", what, err)
		} else {
			t.Logf("%s: %v", what, err)
		}
	}
	if now := names(t); now != "loam.fast.v.a tp" {
		t.Errorf("there are %s", now)
	}
	if s := status(t, p); s.Healthy || s.FreeBytes != 0 || !strings.Contains(s.Message, "delete 2") {
		t.Errorf("Status answered %+v", s)
	}
	run(t, "dmsetup", "message", vg+"-tp-tpool", "0", "delete 2") // as it says
	must(t, second(p.Create(t.Context(), spec("c", 8*volume.MiB))))
	if s := status(t, p); !s.Healthy {
		t.Errorf("Status answered %+v", s)
	}
	content, err := os.ReadFile(attach(t, p, "c"))
	must(t, err)
	if bytes.Contains(content, []byte("secret")) {
		t.Error("the new volume shows what another one held")
	}
	must(t, p.Detach(t.Context(), id("c")))
}

// Volumes are known by their tags. One that somebody has renamed is shown, and left alone until it has its name again.
func TestARenamedVolume(t *testing.T) {
	for _, k := range kinds()[:2] {
		t.Run(k.name, func(t *testing.T) {
			k.prepare(t)
			p := open(t, k.config, host.NewRunner()).(pool.Snapshotter)
			t.Cleanup(func() {
				empty(t, p)
				runLVM(t, "lvremove", "--force", "--select", `lv_name=~"^other"`, vg)
			})
			for _, name := range []string{"a", "b"} {
				must(t, second(p.Create(t.Context(), spec(name, 8*volume.MiB))))
				writeTo(t, p, name, "old")
			}
			must(t, second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("b")}})))
			must(t, second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("g"), Group: true, Volumes: []volume.ID{id("b")}})))
			group, err := p.GetGroup(t.Context(), id("g"))
			must(t, err)
			memberID := group[0].ID
			device := attach(t, p, "a")
			runLVM(t, "lvrename", vg, "loam.fast.v.a", "other1")
			runLVM(t, "lvrename", vg, "loam.fast.s.s", "other2")
			runLVM(t, "lvrename", vg, "loam.fast.g."+memberID.Name, "loam.fast.g.other3")
			refused := func(what string, err error, parts ...string) {
				t.Helper()
				if !volume.Is(err, volume.InUse) {
					t.Errorf("%s: %v", what, err)
				}
				for _, part := range parts {
					if err != nil && !strings.Contains(err.Error(), part) {
						t.Errorf("%s: %v does not say %q", what, err, part)
					}
				}
			}
			back := "lvrename " + vg + " other1 loam.fast.v.a"
			check := func() {
				t.Helper()
				refused("Get", second(p.Get(t.Context(), id("a"))), back)
				refused("Delete", p.Delete(t.Context(), id("a")), back)
				refused("Attach", second(p.Attach(t.Context(), id("a"), false)), back)
				refused("Expand", second(p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 16 * volume.MiB})), back)
				refused("Mark", p.Mark(t.Context(), id("a"), volume.Used), back)
				refused("Create", second(p.Create(t.Context(), spec("a", 8*volume.MiB))), back)
				refused("CreateSnapshot", second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("t"), Volumes: []volume.ID{id("a")}})), back)
				refused("a group of it", second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("h"), Group: true, Volumes: []volume.ID{id("a"), id("b")}})), back)
				clone := spec("c", 0)
				clone.Source = &volume.Source{Kind: volume.FromVolume, ID: id("a")}
				refused("Clone", second(p.Create(t.Context(), clone)), back)
				refused("Restore", restore(p, "r"), "lvrename "+vg+" other2 loam.fast.s.s")
				refused("GetSnapshot", second(p.GetSnapshot(t.Context(), id("s"))), "other2")
				refused("DeleteSnapshot", p.DeleteSnapshot(t.Context(), id("s")), "other2")
				refused("CreateSnapshot of it again", second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("s"), Volumes: []volume.ID{id("b")}})), "other2")
				refused("DeleteGroup", p.DeleteGroup(t.Context(), id("g")), "other3")
				refused("GetGroup", second(p.GetGroup(t.Context(), id("g"))), "other3")
			}
			check()
			volumes, err := p.List(t.Context(), "", 0)
			if err != nil || len(volumes) != 2 || volumes[0].ID != id("a") || volumes[0].Device != device {
				t.Errorf("List answered %+v, %v", volumes, err)
			}
			if all, err := p.ListSnapshots(t.Context(), "", 0); err != nil || len(all) != 2 {
				t.Errorf("ListSnapshots answered %+v, %v", all, err)
			}
			must(t, p.Detach(t.Context(), id("a"))) // a pod can go
			if _, err := os.Stat("/dev/mapper/" + vg + "-other1"); err == nil {
				t.Error("it was detached, and its device is there")
			}
			must(t, p.Close())
			p = open(t, k.config, host.NewRunner()).(pool.Snapshotter)
			check()
			// An administrator's copy that has the tags as well.
			runLVM(t, "lvcreate", "--yes", "--activate", "n", "--zero", "n", "--wipesignatures", "n", "--size", "8m", "--name", "other4", "--addtag", "loam.storage/volume="+id("b").String(), vg)
			for what, err := range map[string]error{
				"Get": second(p.Get(t.Context(), id("b"))), "Delete": p.Delete(t.Context(), id("b")), "Attach": second(p.Attach(t.Context(), id("b"), false)),
			} {
				refused(what+" of two", err, "other4", "loam.fast.v.b")
			}
			runLVM(t, "lvremove", "--force", vg+"/other4")
			runLVM(t, "lvrename", vg, "other1", "loam.fast.v.a")
			runLVM(t, "lvrename", vg, "other2", "loam.fast.s.s")
			runLVM(t, "lvrename", vg, "loam.fast.g.other3", "loam.fast.g."+memberID.Name)
			holds(t, p, "a", "old")
			must(t, restore(p, "r"))
			must(t, p.DeleteGroup(t.Context(), id("g")))
			must(t, p.DeleteSnapshot(t.Context(), id("s")))
			must(t, p.Delete(t.Context(), id("a")))
			// One that has lost the tag that says whose it is, and not the others.
			runLVM(t, "lvchange", "--deltag", "loam.storage/volume="+id("b").String(), vg+"/loam.fast.v.b")
			if err := p.Delete(t.Context(), id("b")); !volume.Is(err, volume.InUse) || !strings.Contains(err.Error(), "lvchange --addtag") {
				t.Errorf("Delete of one without its tag: %v", err)
			}
		})
	}
}

// What an administrator has extended by hand may show what others wrote.
func TestAVolumeThatWasExtendedByHand(t *testing.T) {
	smallGroup(t, 1, "300m")
	config := lvm.Config{VolumeGroup: vg}
	p := open(t, config, host.NewRunner()).(pool.Snapshotter)
	t.Cleanup(func() { empty(t, p) })
	for _, name := range []string{"a", "n", "o"} {
		must(t, second(p.Create(t.Context(), spec(name, 8*volume.MiB))))
	}
	dirty(t, 1)
	writeTo(t, p, "a", "old")
	writeTo(t, p, "o", "old")
	if strings.Contains(runLVM(t, "lvs", "--noheadings", "-o", "lv_tags", vg+"/loam.fast.v.o"), "readyTo") {
		runLVM(t, "lvchange", "--deltag", "loam.storage/readyTo=8388608", vg+"/loam.fast.v.o") // as an earlier version leaves it
	}
	for i, want := range []int{1, 0} { // one command for all of a size, once
		must(t, p.Close())
		r := &counting{Runner: host.NewRunner()}
		p = open(t, config, r).(pool.Snapshotter)
		all := r.taken()
		if changes := len(all) - len(slices.DeleteFunc(slices.Clone(all), func(c string) bool { return c == "lvchange" })); changes != want {
			t.Errorf("opened for the %d. time: %v, want %d lvchange", i+1, all, want)
		}
	}
	refused := func(name string) {
		t.Helper()
		clone := spec("c", 0)
		clone.Source = &volume.Source{Kind: volume.FromVolume, ID: id(name)}
		for what, err := range map[string]error{
			"Expand":         second(p.Expand(t.Context(), id(name), volume.Range{RequiredBytes: 16 * volume.MiB})),
			"Expand further": second(p.Expand(t.Context(), id(name), volume.Range{RequiredBytes: 24 * volume.MiB})),
			"Attach":         second(p.Attach(t.Context(), id(name), false)),
			"CreateSnapshot": second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("t"), Volumes: []volume.ID{id(name)}})),
			"a group":        second(p.CreateSnapshot(t.Context(), volume.SnapshotSpec{ID: id("h"), Group: true, Volumes: []volume.ID{id(name)}})),
			"Clone":          second(p.Create(t.Context(), clone)),
		} {
			if !volume.Is(err, volume.InUse) || !strings.Contains(err.Error(), "lvreduce") || !strings.Contains(err.Error(), "16") {
				t.Errorf("%s of %s: %v", what, name, err)
			}
		}
	}
	for _, name := range []string{"a", "n", "o"} {
		runLVM(t, "lvextend", "--size", "16m", vg+"/loam.fast.v."+name)
	}
	refused("a")
	refused("o") // since the pool was opened
	secrets := func(name string) bool {
		t.Helper()
		device := attach(t, p, name)
		content, err := os.ReadFile(device)
		must(t, err)
		return bytes.Contains(content, []byte("secret"))
	}
	// Nobody has had this one yet: it is wiped to its end.
	if secrets("n") {
		t.Error("a volume that was extended before its first attach shows what others wrote")
	}
	must(t, p.Detach(t.Context(), id("n")))
	runLVM(t, "lvreduce", "--force", "--size", "8m", vg+"/loam.fast.v.a")
	holds(t, p, "a", "old")
	// Expanded by us, before and after it is attached, it is whole.
	for i, attached := range []bool{false, true, false} {
		if attached {
			attach(t, p, "a")
		}
		must(t, second(p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: volume.Size(16+8*i) * volume.MiB})))
		if secrets("a") {
			t.Error("what it grew by shows what others wrote")
		}
		must(t, p.Detach(t.Context(), id("a")))
	}
	// What is there is the volume's own, and somebody says so.
	err := second(p.Attach(t.Context(), id("o"), false))
	command := regexp.MustCompile(`lvchange --deltag \S+ --addtag \S+ \S+`).FindString(err.Error())
	if command == "" {
		t.Fatalf("Attach does not say how to keep it: %v", err)
	}
	runLVM(t, strings.Fields(command)...)
	attach(t, p, "o")
	must(t, p.Detach(t.Context(), id("o")))
	// Extended again before it was attached with what we gave it: its user has had the volume, so nothing is wiped there.
	must(t, second(p.Expand(t.Context(), id("a"), volume.Range{RequiredBytes: 40 * volume.MiB})))
	runLVM(t, "lvextend", "--size", "48m", vg+"/loam.fast.v.a")
	if err := second(p.Attach(t.Context(), id("a"), false)); !volume.Is(err, volume.InUse) {
		t.Errorf("Attach: %v", err)
	}
	runLVM(t, "lvreduce", "--force", "--size", "40m", vg+"/loam.fast.v.a")
	holds(t, p, "a", "old")
}

// LVM notes what it has to tell a thin pool before it does. Killed in between, the volume is gone from the metadata and not
// from the pool: it is deleted when both say so, and its number is given to another one only then.
func TestAThinRemovalThatWasCutOff(t *testing.T) {
	p := thinPool(t, host.NewRunner())
	machine := host.New(host.NewRunner())
	cutOff := func(name string, number int64) {
		t.Helper()
		must(t, second(p.Create(t.Context(), spec(name, 8*volume.MiB))))
		run(t, "sh", "-c", "yes secret | dd of="+attach(t, p, name)+" bs=1M seek=2 count=3 iflag=fullblock oflag=direct conv=notrunc 2>/dev/null")
		must(t, p.Detach(t.Context(), id(name)))
		// LVM that thinks that there is no device-mapper goes so far.
		run(t, "sh", "-c", "lvm lvremove --config '"+settings+" global/activation=0' --yes --force "+vg+"/loam.fast.v."+name+" || true")
		if now := names(t); strings.Contains(now, "loam.fast.v."+name) {
			t.Fatalf("there are %s", now)
		}
		if there, err := machine.ThinDeviceExists(vg+"-tp-tpool", number); err != nil || !there {
			t.Fatalf("the pool has it: %t, %v", there, err)
		}
	}
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	cutOff("b", 2)
	must(t, p.Delete(t.Context(), id("b")))
	if there, err := machine.ThinDeviceExists(vg+"-tp-tpool", 2); err != nil || there {
		t.Errorf("it is deleted, and the pool has it: %t, %v", there, err)
	}
	cutOff("b", 2)
	must(t, second(p.Create(t.Context(), spec("c", 8*volume.MiB))))
	content, err := os.ReadFile(attach(t, p, "c"))
	must(t, err)
	if bytes.Contains(content, []byte("secret")) {
		t.Error("the new volume shows what another one held")
	}
	must(t, p.Detach(t.Context(), id("c")))
	must(t, p.Delete(t.Context(), id("b")))
	if now := names(t); now != "loam.fast.v.a loam.fast.v.c tp" {
		t.Errorf("there are %s", now)
	}
	if s := status(t, p); !s.Healthy {
		t.Errorf("Status answered %+v", s)
	}
}
