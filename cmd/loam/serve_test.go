package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
)

func writeConfig(t *testing.T, text string) (path string, c settings) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "loam.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := readConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, c
}

// The verbs show what the driver made, while it serves and after it has ended.
func TestVerbsShowWhatIsOnTheDisk(t *testing.T) {
	needsRoot(t)
	path, c := writeConfig(t, "node: n1\npools: [{name: a, loop: {directory: "+t.TempDir()+", allocation: sparse, create: true}}]")
	socket := filepath.Join(t.TempDir(), "csi.sock")
	connection, stop := serving(t, c, "unix://"+socket)
	control := csi.NewControllerClient(connection)
	made, err := control.CreateVolume(t.Context(), &csi.CreateVolumeRequest{
		Name: "data", CapacityRange: &csi.CapacityRange{RequiredBytes: 64 << 20},
		Parameters: map[string]string{"csi.storage.k8s.io/pvc/namespace": "shop", "csi.storage.k8s.io/pvc/name": "orders"},
		VolumeCapabilities: []*csi.VolumeCapability{{
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: "ext4"}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := control.CreateSnapshot(t.Context(), &csi.CreateSnapshotRequest{SourceVolumeId: made.GetVolume().GetVolumeId(), Name: "before"}); err != nil {
		t.Fatal(err)
	}
	look := func() {
		t.Helper()
		for verb, wants := range map[string][]string{
			"pools":     {"POOL", "a"},
			"volumes":   {"HANDLE", "n1/a/data", "64MiB", "ext4", "fresh", "shop/orders"},
			"snapshots": {"HANDLE", "n1/a/before", "n1/a/data", "64MiB"},
		} {
			says, err := loamSays(t, verb, "--config", path)
			if err != nil || strings.Count(says, "\n") != 2 {
				t.Errorf("%s: %v\n%s", verb, err, says)
			}
			for _, want := range wants {
				if !strings.Contains(says, want) {
					t.Errorf("%s does not say %q:\n%s", verb, want, says)
				}
			}
		}
		says, err := loamSays(t, "volumes", "--config", path, "-o", "json")
		var rows []volumeRow
		if err != nil || json.Unmarshal([]byte(says), &rows) != nil || len(rows) != 1 ||
			rows[0].Handle.String() != "n1/a/data" || rows[0].SizeBytes != 64*volume.MiB || rows[0].Claim.Name != "orders" || rows[0].Mark != volume.Fresh {
			t.Errorf("volumes -o json: %v\n%s", err, says)
		}
	}
	look()
	stop()
	look()
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestVerbsSayWhatCannotBeRead(t *testing.T) {
	path, _ := writeConfig(t, "pools: [{name: a, loop: {directory: "+filepath.Join(t.TempDir(), "none")+"}}]")
	says, err := loamSays(t, "volumes", "--config", path, "-o", "json")
	if strings.TrimSpace(says) != "[]" || !volume.Is(err, volume.Unavailable) || !strings.Contains(err.Error(), `pool "a"`) {
		t.Errorf("%q, %v", says, err)
	}
	if _, err := loamSays(t, "pools", "--config", path, "-o", "yaml"); !volume.Is(err, volume.Invalid) {
		t.Errorf("-o yaml: %v", err)
	}
}

func TestServeNeedsRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("is about who is not root")
	}
	_, c := writeConfig(t, inLoop("directory: "+t.TempDir()))
	if err := serve(t.Context(), c, "/nowhere/csi.sock", ""); !volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), "root") {
		t.Errorf("serve = %v", err)
	}
}

// Pools on one file system are fine while each volume has its blocks. A promise is not seen by the other.
func TestSparsePoolBesideAnotherIsRefused(t *testing.T) {
	dir := t.TempDir()
	for what, c := range map[string]struct {
		first, second string
		refused       bool
	}{
		"both preallocated":   {"", "", false},
		"one sparse":          {"", ", allocation: sparse", true},
		"both sparse":         {", allocation: sparse", ", allocation: sparse", true},
		"one with its own":    {", size: 1Gi", ", allocation: sparse", false},
		"both with their own": {", size: 1Gi, allocation: sparse", ", size: 1Gi, allocation: sparse", false},
	} {
		for _, name := range []string{"a", "b"} {
			if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		_, parsed := writeConfig(t, "pools:\n- {name: a, loop: {directory: "+dir+"/a"+c.first+"}}\n- {name: b, loop: {directory: "+dir+"/b"+c.second+"}}\n")
		together := opening(append(parsed.Pools, poolSettings{Name: "c", Settings: lvm.Config{VolumeGroup: "vg0"}}))
		if err := together(0); err != nil {
			t.Errorf("%s: the first: %v", what, err)
		}
		if err := together(1); volume.Is(err, volume.Invalid) != c.refused || (err != nil) != c.refused {
			t.Errorf("%s: %v", what, err)
		}
		if err := together(2); err != nil {
			t.Errorf("%s: a volume group beside them: %v", what, err)
		}
	}
}

// opening returns what opens one pool of several, as far as it is about which may stand beside each other.
func opening(pools []poolSettings) func(i int) error {
	together := &together{pools: pools, on: make([]shared, len(pools))}
	return func(i int) error {
		_, err := together.opened(i, func() (pool.Pool, error) { return memory.New(pools[i].Name, "n1", volume.GiB), nil })
		return err
	}
}

// A pool is opened while the disk of another one is not mounted any more, which nobody has noticed yet.
func TestPoolIsOpenedBesideOneWhoseDiskIsAway(t *testing.T) {
	dir := t.TempDir()
	_, parsed := writeConfig(t, "pools:\n- {name: a, loop: {directory: "+dir+"/a, allocation: sparse}}\n- {name: b, loop: {directory: "+dir+"/b, allocation: sparse}}\n")
	if err := errors.Join(os.Symlink("/proc", dir+"/a"), os.Mkdir(dir+"/b", 0o700)); err != nil { // another file system
		t.Fatal(err)
	}
	open := opening(parsed.Pools)
	if err := open(0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(dir+"/a"), os.Mkdir(dir+"/a", 0o700)); err != nil { // the directory below
		t.Fatal(err)
	}
	if err := open(1); err != nil {
		t.Error(err)
	}
	if err := open(0); !errors.Is(err, errApart) {
		t.Errorf("the first one, opened anew on the file system of the second: %v", err)
	}
}

// A machine with many disks starts to serve within what the kubelet gives it (startupProbe), also where none of them answers.
func TestManyDisksThatHangAreNotWaitedForOneByOne(t *testing.T) {
	const startupProbe = 300 * time.Second
	var waited time.Duration
	patience := openPatience
	for range 60 {
		waited += patience
		patience = patienceAfter(patience, patience)
	}
	if waited >= startupProbe {
		t.Errorf("60 disks are waited for %s", waited)
	}
	if again := patienceAfter(openPatience, time.Second); again != openPatience {
		t.Errorf("after a disk that answered: %s", again)
	}
}
