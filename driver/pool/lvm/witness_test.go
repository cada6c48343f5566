package lvm_test

import (
	"context"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
)

// What is read from the disks may be of another time: a disk that answers with what it had, or somebody who writes there.
// Nothing is wiped, and nothing may be zeroed, where LVM does not see it in the same way.
func TestStaleMetadataWipeNothing(t *testing.T) {
	volumeGroup(t, 1)
	p := open(t, lvm.Config{VolumeGroup: vg}, host.NewRunner())
	t.Cleanup(func() { empty(t, p) })
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	must(t, p.Mark(t.Context(), id("a"), volume.Formatting))
	again, err := lvm.ReadStale(p)
	must(t, err)
	// Meanwhile it is used, by a process that sees what is so.
	runLVM(t, "lvchange", "--deltag", "loam.storage/mark=formatting", "--deltag", "loam.storage/wiped=0", "--addtag", "loam.storage/ready", vg+"/loam.fast.v.a")
	runLVM(t, "lvchange", "--activate", "y", "--ignoreactivationskip", vg+"/loam.fast.v.a")
	device := "/dev/" + vg + "/loam.fast.v.a"
	content := func() string {
		t.Helper()
		return run(t, "sh", "-c", "dd if="+device+" bs=4096 count=1 iflag=direct 2>/dev/null | head -c 3")
	}
	run(t, "sh", "-c", "printf '%-4096s' old | dd of="+device+" bs=4096 oflag=direct conv=notrunc 2>/dev/null")
	check := func(what string) {
		t.Helper()
		for call, err := range map[string]error{
			"Attach": second(p.Attach(t.Context(), id("a"), false)),
			"Mark":   p.Mark(t.Context(), id("a"), volume.Formatting),
		} {
			if !volume.Is(err, volume.Unavailable) {
				t.Errorf("%s: %s answered %v", what, call, err)
			}
		}
	}
	check("active")
	if got := content(); got != "old" {
		t.Fatalf("while it is active it was wiped, and holds %q", got)
	}
	runLVM(t, "lvchange", "--activate", "n", vg+"/loam.fast.v.a")
	check("not active")
	again()
	holds(t, p, "a", "old")
}

// A wipe ends between two steps when nobody waits for it any more, and what it did counts for nothing.
func TestAWipeThatIsCutOff(t *testing.T) {
	volumeGroup(t, 1)
	stop := stopAt("--activate y", `lv_name="loam.fast.v.a"`)
	p := open(t, lvm.Config{VolumeGroup: vg}, stop)
	t.Cleanup(func() { empty(t, p) })
	must(t, second(p.Create(t.Context(), spec("a", 8*volume.MiB))))
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- second(p.Attach(ctx, id("a"), false)) }()
	<-stop.reached
	cancel()
	stop.goOn <- struct{}{}
	if err := <-result; !volume.Is(err, volume.Unavailable) {
		t.Errorf("Attach answered %v", err)
	}
	if tags := runLVM(t, "lvs", "--noheadings", "-o", "lv_tags", vg+"/loam.fast.v.a"); !strings.Contains(tags, "wiped=0") || strings.Contains(tags, "ready") {
		t.Errorf("the tags are %s", tags)
	}
	go func() { <-stop.reached; stop.goOn <- struct{}{} }()
	attach(t, p, "a")
	must(t, p.Detach(t.Context(), id("a")))
}

// noDevice says whether a logical volume has none.
func noDevice(t *testing.T, name string) {
	t.Helper()
	if all := run(t, "dmsetup", "ls"); strings.Contains(all, vg+"-"+name) {
		t.Errorf("%s was detached, and its device is there", name)
	}
}
