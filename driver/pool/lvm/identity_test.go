package lvm_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

// refusedGroup expects that the pool is neither opened nor inspected, with those words, and that nothing of LVM's changes.
func refusedGroup(t *testing.T, what, name, node string, c lvm.Config, says ...string) {
	t.Helper()
	state := func() string {
		return runLVM(t, "pvs", "--all", "--noheadings", "-o", "pv_name,pv_uuid,vg_name") + runLVM(t, "vgs", "--noheadings", "-o", "vg_name,vg_uuid,vg_tags,vg_seqno")
	}
	before := state()
	p, err := lvm.Open(t.Context(), name, node, c, host.New(host.NewRunner()), host.NewRunner())
	if err == nil {
		_ = p.Close()
	}
	for _, one := range append(says, `pool "`+name+`"`) {
		if !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), one) {
			t.Errorf("%s: Open: %v; want %q", what, err, one)
		}
	}
	if after := state(); after != before {
		t.Errorf("%s: Open changed\n%s\ninto\n%s", what, before, after)
	}
	if _, err := lvm.Inspect(t.Context(), name, node, c, host.New(host.NewRunner()), host.NewRunner()); err == nil {
		t.Errorf("%s: Inspect is fine", what)
	}
}

// The group of a pool is taken away, and another one has its name.
func TestAGroupThatIsNotThePoolsIsRefused(t *testing.T) {
	disks := testDisks(t, 2)[:2]
	for _, thin := range []string{"", "tp"} {
		for _, d := range disks {
			run(t, "blkdiscard", "--zeroout", d)
		}
		wipedAfter(t, disks...)
		t.Cleanup(func() {
			if t.Failed() {
				_ = exec.Command("lvm", "vgremove", "--config", settings, "--force", "--force", "--yes", "other").Run()
			}
		})
		known := identity.Store{Directory: t.TempDir()}
		c := lvm.Config{VolumeGroup: vg, ThinPool: thin, Create: true, Devices: disks[:1], Known: known}
		p := open(t, c, host.NewRunner())
		must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
		if _, err := known.Forget(poolName); !volume.Is(err, volume.InUse) {
			t.Errorf("forget an open pool: %v", err)
		}

		// While it is open, another group takes its name.
		runLVM(t, "vgchange", "--activate", "n", vg)
		runLVM(t, "vgrename", vg, "other")
		runLVM(t, "vgcreate", "--yes", vg, disks[1])
		if thin != "" {
			runLVM(t, "lvcreate", "--yes", "--type", "thin-pool", "--size", "64m", "--zero", "y", "--name", thin, vg)
		}
		for what, do := range map[string]func() error{
			"List":   func() error { _, err := p.List(t.Context(), "", 0); return err },
			"Get":    func() error { _, err := p.Get(t.Context(), id("a")); return err },
			"Delete": func() error { return p.Delete(t.Context(), id("a")) },
			"Create": func() error { _, err := p.Create(t.Context(), spec("b", 8*volume.MiB)); return err },
			"Status": func() error { _, err := p.Status(t.Context()); return err },
		} {
			if err := do(); !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), vg) {
				t.Errorf("thin %q: %s in another group: %v", thin, what, err)
			}
		}
		must(t, p.Close())
		refusedGroup(t, "another group of that name", poolName, node, c, "--forget "+poolName)
		runLVM(t, "vgremove", "--force", "--yes", vg)
		runLVM(t, "pvremove", "--yes", disks[1])
		refusedGroup(t, "no group", poolName, node, c, "--forget "+poolName) // with create
		run(t, "blkdiscard", "--zeroout", disks[1])
		c.Devices = disks[1:]
		refusedGroup(t, "no group, and an empty disk", poolName, node, c, "--forget "+poolName)
		c.Devices = disks[:1]
		runLVM(t, "vgrename", "other", vg)
		p = open(t, c, host.NewRunner())
		must(t, second(p.Get(t.Context(), id("a"))))
		must(t, p.Close())

		refusedGroup(t, "another node", poolName, "n2", lvm.Config{VolumeGroup: vg, ThinPool: thin}, `node "`+node+`"`)
		if thin != "" {
			refusedGroup(t, "the thin pool of another pool", "slow", node, lvm.Config{VolumeGroup: vg, ThinPool: thin}, `pool "`+poolName+`"`)
		}
		changed := lvm.Config{VolumeGroup: vg}
		if thin == "" {
			runLVM(t, "lvcreate", "--yes", "--type", "thin-pool", "--size", "64m", "--zero", "y", "--name", "tp2", vg)
			changed.ThinPool = "tp2"
		}
		refusedGroup(t, "thick for thin, or thin for thick", poolName, node, changed, "change it back")
		if thin != "" {
			changed.ThinPool = "tp2"
			refusedGroup(t, "another thin pool of the group", poolName, node, changed, "change it back")
		}
		runLVM(t, "vgremove", "--force", "--yes", vg)
	}
}

// The group of an earlier release has its tags, and gets one more; that of another node is refused.
func TestAGroupOfAnEarlierReleaseIsAdopted(t *testing.T) {
	volumeGroup(t, 1)
	known := identity.Store{Directory: t.TempDir()}
	c := lvm.Config{VolumeGroup: vg, Known: known}
	p := open(t, c, host.NewRunner())
	t.Cleanup(func() { empty(t, p) })
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	must(t, p.Close())
	tag := runLVM(t, "vgs", "--noheadings", "-o", "vg_tags", vg)
	if !strings.HasPrefix(tag, "loam.storage/pool."+poolName+"=1:") || strings.Contains(tag, ",") {
		t.Fatalf("the group has the tags %q", tag)
	}
	runLVM(t, "vgchange", "--deltag", tag, vg)
	refusedGroup(t, "known, and without its tag", poolName, node, c, "--forget "+poolName)
	if _, err := known.Forget(poolName); err != nil {
		t.Fatal(err)
	}
	refusedGroup(t, "another node's", poolName, "n2", lvm.Config{VolumeGroup: vg}, node+"/"+poolName+"/a")
	p = open(t, c, host.NewRunner())
	must(t, second(p.Get(t.Context(), id("a"))))
	if k, err := known.Known(poolName); err != nil || k == nil || k.Pool.How != identity.Adopted {
		t.Errorf("known is %v, %v", k, err)
	}
	if text, err := os.ReadFile(filepath.Join(known.Directory, ".known", poolName)); err != nil || !strings.Contains(string(text), vg) {
		t.Errorf("what is remembered is %s, %v", text, err)
	}
}

// untag takes the identities off the group.
func untag(t *testing.T) {
	t.Helper()
	for tag := range strings.SplitSeq(runLVM(t, "vgs", "--noheadings", "-o", "vg_tags", vg), ",") {
		runLVM(t, "vgchange", "--deltag", tag, vg)
	}
}

// While a disk is missing nothing is changed in a group: it gets its identity when the disk is back.
func TestAGroupWithoutADiskGetsItsIdentityLater(t *testing.T) {
	disks := testDisks(t, 2)
	wipedAfter(t, disks[:2]...)
	legs := []string{leg(t, "loamleg0", disks[0]), leg(t, "loamleg1", disks[1])}
	runLVM(t, append([]string{"vgcreate", "--yes", "--physicalextentsize", "1m", vg}, legs...)...)
	become := func(table string) {
		t.Helper()
		run(t, "dmsetup", "suspend", "--noflush", "--nolockfs", "loamleg1")
		run(t, "dmsetup", "load", "loamleg1", "--table", "0 "+legSectors+" "+table)
		run(t, "dmsetup", "resume", "loamleg1")
	}
	known := identity.Store{Directory: t.TempDir()}
	c := lvm.Config{VolumeGroup: vg, Known: known}
	become("error")
	p := open(t, c, host.NewRunner())
	must(t, second(p.List(t.Context(), "", 0)))
	must(t, p.Close())
	become("linear " + disks[1] + " 2048")
	if k, err := known.Known(poolName); err != nil || k != nil {
		t.Errorf("known without an identity: %v, %v", k, err)
	}
	if tags := runLVM(t, "vgs", "--noheadings", "-o", "vg_tags,vg_missing_pv_count", vg); tags != "0" {
		t.Errorf("tags and missing disks: %q", tags)
	}
	p = open(t, c, host.NewRunner())
	must(t, p.Close())
	if k, err := known.Known(poolName); err != nil || k == nil {
		t.Errorf("known with all disks: %v, %v", k, err)
	}
	runLVM(t, "vgremove", "--yes", "--force", vg)
}
