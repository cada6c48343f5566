package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/volume"
)

func checkOptions(t *testing.T, text string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "objects")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return loamSays(t, "check-options", path)
}

const pvOf = `{"kind":"PersistentVolume","metadata":{"name":"NAME"},"spec":{"csi":{"driver":"DRIVER","volumeHandle":"n1/a/x","fsType":"ext4"},"mountOptions":OPTIONS}}`

func aPV(name, driver, options string) string {
	return strings.NewReplacer("NAME", name, "DRIVER", driver, "OPTIONS", options).Replace(pvOf)
}

func TestWhatWouldBeRefusedIsNamedBeforehand(t *testing.T) {
	says, err := checkOptions(t, `{"apiVersion":"v1","kind":"List","items":[`+strings.Join([]string{
		aPV("fine", "loam.storage", `["noatime","errors=remount-ro"]`),
		aPV("hidden", "loam.storage", `["noatime","errors=hush,loop"]`),
		aPV("xfs-only", "loam.storage", `["logbufs=8"]`),
		aPV("twice", "loam.storage", `["ro","rw"]`),
		aPV("other", "other.driver", `["loop"]`),
		`{"kind":"PersistentVolume","metadata":{"name":"nfs"},"spec":{"nfs":{"server":"x"},"mountOptions":["loop"]}}`,
		`{"kind":"PersistentVolume","metadata":{"name":"block"},"spec":{"csi":{"driver":"loam.storage"},"volumeMode":"Block","mountOptions":["loop"]}}`,
		`{"kind":"StorageClass","metadata":{"name":"class-fine"},"provisioner":"loam.storage","mountOptions":["logbufs=8"],"parameters":{"csi.storage.k8s.io/fstype":"xfs","mkfsOptions":"-m reflink=0","csi.storage.k8s.io/node-stage-secret-name":"x"}}`,
		`{"kind":"StorageClass","metadata":{"name":"class-no-type"},"provisioner":"loam.storage","mountOptions":["logbufs=8"]}`,
		`{"kind":"StorageClass","metadata":{"name":"class-mkfs"},"provisioner":"loam.storage","parameters":{"csi.storage.k8s.io/fstype":"ext4","mkfsOptions":"-d agcount=4"}}`,
		`{"kind":"StorageClass","metadata":{"name":"class-mkfs-no-type"},"provisioner":"loam.storage","parameters":{"mkfsOptions":"-d agcount=4"}}`,
		`{"kind":"StorageClass","metadata":{"name":"class-unknown"},"provisioner":"loam.storage","parameters":{"sise":"4"}}`,
		`{"kind":"StorageClass","metadata":{"name":"class-other"},"provisioner":"other.driver","mountOptions":["loop"]}`,
	}, ",")+`]}`)
	if err == nil || !strings.Contains(err.Error(), "7 of 10") {
		t.Errorf("ended with %v", err)
	}
	lines := strings.Split(strings.TrimSpace(says), "\n")
	for i, want := range [][]string{
		{"KIND", "NAME", "REFUSED"}, {"PersistentVolume", "hidden", `"errors"`}, {"PersistentVolume", "xfs-only", `"logbufs"`}, {"PersistentVolume", "twice", `"ro" and "rw"`},
		{"StorageClass", "class-no-type", `"logbufs"`}, {"StorageClass", "class-mkfs ", "agcount"}, {"StorageClass", "class-mkfs-no-type", "agcount"}, {"StorageClass", "class-unknown", `"sise"`},
	} {
		if i >= len(lines) {
			t.Fatalf("%d lines, want more:\n%s", len(lines), says)
		}
		for _, text := range want {
			if !strings.Contains(lines[i], text) {
				t.Errorf("line %q lacks %q", lines[i], text)
			}
		}
	}
	if len(lines) != 8 || strings.Contains(says, "hush") {
		t.Errorf("it says:\n%s", says)
	}
}

func TestNothingToRefuseIsSaid(t *testing.T) {
	for text, count := range map[string]string{
		aPV("fine", "loam.storage", `["noatime"]`):                              "1 objects",
		aPV("other", "other.driver", `["loop"]`):                                "0 objects",
		`{"kind":"PersistentVolumeList","items":[]}`:                            "0 objects",
		"kind: StorageClass\nprovisioner: loam.storage\nmountOptions: [ro]\n":   "1 objects",
		aPV("label", "loam.storage", `["context=\"system_u:o_r:t:s0:c1,c2\""]`): "1 objects",
	} {
		if says, err := checkOptions(t, text); err != nil || !strings.Contains(says, count) {
			t.Errorf("%s: %q, %v", text, says, err)
		}
	}
}

func TestWhatIsNoListOfObjectsIsNoGoodNews(t *testing.T) {
	for _, text := range []string{"", "null", "No resources found", "[]", `{"kind":"Pod"}`, `{"kind":"List","items":[{"kind":"Pod"}]}`, "{", `{"kind":"PersistentVolume","spec":{"mountOptions":"ro"}}`} {
		if says, err := checkOptions(t, text); !volume.Is(err, volume.Invalid) || says != "" {
			t.Errorf("%q: %q, %v", text, says, err)
		}
	}
	if _, err := loamSays(t, "check-options", "/nowhere/at/all"); err == nil {
		t.Error("a file that is not there")
	}
}
