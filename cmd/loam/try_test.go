package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/volume"
)

// checkNothingLeft fails if the directory has anything in it, or the machine anything of it.
func checkNothingLeft(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left in %s: %v, %v", dir, entries, err)
	}
	if left, err := traces(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestTryTakesAVolumeThroughItsLife(t *testing.T) {
	needsRoot(t)
	for _, fsType := range volume.FSTypes() {
		t.Run(string(fsType), func(t *testing.T) {
			if fsType == volume.Ext4 && !growsExt4(t) {
				t.Skip("the kernel grows no mounted ext4 for a process without CAP_SYS_RESOURCE")
			}
			dir := t.TempDir()
			says, err := loamSays(t, "try", "--dir", dir, "--fs", string(fsType))
			if err != nil || !strings.Contains(says, "Nothing is left") {
				t.Errorf("%v\n%s", err, says)
			}
			for _, step := range []string{"create", "attach", "format", "mount", "write", "expand", "snapshot", "restore", "compare", "clone", "unmount", "detach", "delete"} {
				if !strings.Contains(says, "\n  "+step+" ") {
					t.Errorf("there is no %q in\n%s", step, says)
				}
			}
			checkNothingLeft(t, dir)
		})
	}
}

func TestTryKeepsAndRemoves(t *testing.T) {
	needsRoot(t)
	dir := t.TempDir()
	says, err := loamSays(t, "try", "--dir", dir, "--keep")
	if err != nil {
		t.Fatalf("%v\n%s", err, says)
	}
	kept, err := filepath.Glob(dir + "/" + tryPrefix + "*")
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept %v, %v", kept, err)
	}
	left, err := traces(filepath.Base(kept[0]))
	if err != nil || len(left) == 0 {
		t.Errorf("nothing was kept: %v, %v", left, err)
	}
	shows, err := loamSays(t, "volumes", "--config", filepath.Join(kept[0], configName))
	if err != nil || strings.Count(shows, filepath.Base(kept[0])) < 3 {
		t.Errorf("volumes: %v\n%s", err, shows)
	}
	if command := "loam try --remove " + kept[0]; !strings.HasSuffix(says, "\n  "+command+"\n") {
		t.Errorf("%q is not what it says in the end:\n%s", command, says)
	}
	if says, err = loamSays(t, "try", "--remove", kept[0]); err != nil || !strings.Contains(says, "Nothing is left") {
		t.Errorf("%v\n%s", err, says)
	}
	checkNothingLeft(t, dir)
}

// Over a pool that another process serves, and over a configured one.
func TestTryOfConfiguredPools(t *testing.T) {
	needsRoot(t)
	dir, pools := t.TempDir(), t.TempDir()
	path, c := writeConfig(t, "pools: [{name: a, loop: {directory: "+pools+"/a, create: true}}, {name: b, loop: {directory: "+pools+"/b, size: 2500Mi, create: true}}]")
	says, err := loamSays(t, "try", "--dir", dir, "--config", path, "--pool", "b")
	if err != nil || !strings.Contains(says, `pool "b"`) {
		t.Errorf("%v\n%s", err, says)
	}
	checkNothingLeft(t, dir)

	endpoint := "unix://" + filepath.Join(t.TempDir(), "csi.sock")
	_, stop := serving(t, c, endpoint)
	if says, err := loamSays(t, "try", "--dir", dir, "--config", path, "--pool", "b"); !volume.Is(err, volume.Unavailable) {
		t.Errorf("the pool is open in another driver: %v\n%s", err, says)
	}
	says, err = loamSays(t, "try", "--dir", dir, "--config", path, "--pool", "b", "--endpoint", endpoint)
	if err != nil || !strings.Contains(says, endpoint) {
		t.Errorf("%v\n%s", err, says)
	}
	checkNothingLeft(t, dir)
	stop()
	checkNothingLeft(t, filepath.Join(pools, "b", "mounted"))
}

// A life that ends early is cleaned up all the same.
func TestTryThatIsCutOffLeavesNothing(t *testing.T) {
	needsRoot(t)
	for _, step := range []string{"create", "write", "snapshot", "restore"} {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		trial := trial{dir: dir, fsType: "xfs"}
		err := trial.run(ctx, cancelAt{step, cancel})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cut off after %s: %v", step, err)
		}
		checkNothingLeft(t, dir)
	}
}

// cancelAt cancels when a step's line is written.
type cancelAt struct {
	step   string
	cancel func()
}

func (c cancelAt) Write(p []byte) (int, error) {
	if strings.HasPrefix(string(p), "  "+c.step) {
		c.cancel()
	}
	return len(p), nil
}

func TestTryRefusesWhatItCannotDo(t *testing.T) {
	needsRoot(t)
	dir := t.TempDir()
	for _, args := range [][]string{
		{"--fs", "ntfs"}, {"--size", "big"}, {"--size", "1Mi"}, {"--pool", "none"}, {"--config", "/nowhere"}, {"--remove", "/tmp"},
		{"--remove", filepath.Join(dir, tryPrefix+"1")}, {"--keep", "--remove", "x"}, {"more"},
	} {
		if says, err := loamSays(t, append([]string{"try", "--dir", dir}, args...)...); err == nil {
			t.Errorf("%v: %s", args, says)
		}
		checkNothingLeft(t, dir)
	}
}

func TestTracesFindsAMount(t *testing.T) {
	if left, err := traces(" /proc "); err != nil || len(left) == 0 {
		t.Errorf("traces of /proc = %v, %v", left, err)
	}
	if left, err := traces("nothing-is-called-so"); err != nil || len(left) > 0 {
		t.Errorf("traces of nothing = %v, %v", left, err)
	}
}
