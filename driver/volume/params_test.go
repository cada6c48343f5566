package volume_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/loam-storage/loam/driver/volume"
)

func TestParametersBecomeOneValue(t *testing.T) {
	got, claim, err := volume.ParseParameters(map[string]string{
		"pool": "fast", "mkfsOptions": " -m  1 -O ^has_journal,metadata_csum ", "allowBlockAsFilesystem": "true",
		"csi.storage.k8s.io/pvc/name": "orders", "csi.storage.k8s.io/pvc/namespace": "shop", "csi.storage.k8s.io/pv/name": "pvc-1",
	})
	want := volume.Parameters{Pool: "fast", MkfsOptions: "-m 1 -O ^has_journal,metadata_csum", AllowBlockAsFilesystem: true}
	if err != nil || got != want || claim != (volume.Claim{Namespace: "shop", Name: "orders", PV: "pvc-1"}) {
		t.Errorf("ParseParameters = %+v, %+v, %v", got, claim, err)
	}
	if args := got.MkfsArgs(); !reflect.DeepEqual(args, []string{"-m", "1", "-O", "^has_journal,metadata_csum"}) {
		t.Errorf("MkfsArgs = %q", args)
	}
}

func TestWhatIsNoParameterIsRefusedByName(t *testing.T) {
	for key, value := range map[string]string{
		"Pool": "fast", "": "x", "csi.storage.k8s.io/fstype": "ext4", "size": "1Gi", strings.Repeat("k", 5000): "v",
		"pool": "../x", "mkfsOptions": "/dev/sda",
	} {
		_, _, err := volume.ParseParameters(map[string]string{key: value})
		if !volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), key[:min(len(key), 20)]) || len(err.Error()) > 1024 {
			t.Errorf("ParseParameters(%.20q) = %v", key, err)
		}
	}
	for _, word := range []string{"", "True", "yes", "1", "true "} {
		if _, _, err := volume.ParseParameters(map[string]string{"allowBlockAsFilesystem": word}); !volume.Is(err, volume.Invalid) {
			t.Errorf("allowBlockAsFilesystem %q: %v", word, err)
		}
	}
	if p, _, err := volume.ParseParameters(map[string]string{"allowBlockAsFilesystem": "false"}); err != nil || p != (volume.Parameters{}) {
		t.Errorf("allowBlockAsFilesystem false: %+v, %v", p, err)
	}
	for _, options := range []string{"1000", "-m 1 2", "-d /dev/sda", "-m;reboot", "-m $(x)", "-m \x00", "-U 1/2"} {
		if _, _, err := volume.ParseParameters(map[string]string{"mkfsOptions": options}); !volume.Is(err, volume.Invalid) {
			t.Errorf("mkfsOptions %q: %v", options, err)
		}
	}
	if err := volume.ParseMutableParameters(map[string]string{"iops": "1"}); !volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), "iops") {
		t.Errorf("ParseMutableParameters = %v", err)
	}
	if _, err := volume.ParseSnapshotParameters(map[string]string{"csi.storage.k8s.io/volumesnapshot/name": "s", "deletionPolicy": "Delete"}); err != nil {
		t.Errorf("ParseSnapshotParameters = %v", err)
	}
	if freeze, err := volume.ParseSnapshotParameters(map[string]string{"maxFreeze": "1m30s"}); err != nil || freeze != 90*time.Second {
		t.Errorf("ParseSnapshotParameters = %s, %v", freeze, err)
	}
	for _, bad := range []string{"", "30", "-1s", "0s", "2h", "long"} {
		if _, err := volume.ParseSnapshotParameters(map[string]string{"maxFreeze": bad}); !volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), "maxFreeze") {
			t.Errorf("ParseSnapshotParameters with maxFreeze %q = %v", bad, err)
		}
	}
	if _, err := volume.ParseSnapshotParameters(map[string]string{"pool": "s"}); !volume.Is(err, volume.Invalid) {
		t.Errorf("ParseSnapshotParameters = %v", err)
	}
}

// A parameter that was added to the struct and forgotten where parameters are compared or refused would be one that a retry,
// ValidateVolumeCapabilities or an inline volume does not see.
func TestEachFieldOfParametersIsReadComparedAndRefusedInline(t *testing.T) {
	inline := map[string]bool{"Pool": true} // what the author of a pod may choose
	values := map[string]string{"Pool": "fast", "MkfsOptions": "-m 1", "AllowBlockAsFilesystem": "true"}
	for field := range reflect.TypeFor[volume.Parameters]().Fields() {
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		value, ok := values[field.Name]
		if !ok {
			t.Errorf("field %s: give this test a value for it", field.Name)
			continue
		}
		p, _, err := volume.ParseParameters(map[string]string{key: value})
		if err != nil || reflect.ValueOf(p).FieldByIndex(field.Index).IsZero() {
			t.Errorf("ParseParameters with %s %q = %+v, %v", key, value, p, err)
		}
		if differs, _, _ := (volume.Parameters{}).Differs(p); differs != key {
			t.Errorf("with another %s, Differs says %q", key, differs)
		}
		v := volume.Volume{Size: volume.GiB}
		if err := v.Fits(volume.Spec{Parameters: p}); !volume.Is(err, volume.Exists) || !strings.Contains(err.Error(), key) {
			t.Errorf("with another %s, Fits = %v", key, err)
		}
		if _, _, _, err := volume.ParseEphemeral(map[string]string{key: value}); inline[field.Name] == (err != nil) || (err != nil && !strings.Contains(err.Error(), "use a StorageClass")) {
			t.Errorf("ParseEphemeral with %s: %v", key, err)
		}
	}
}

func TestAttributesOfAnInlineVolume(t *testing.T) {
	context := map[string]string{
		"csi.storage.k8s.io/ephemeral": "true", "csi.storage.k8s.io/pod.name": "web-0", "csi.storage.k8s.io/pod.namespace": "shop",
		"csi.storage.k8s.io/serviceAccount.tokens": "secret", "size": "2Gi", "pool": "fast",
	}
	p, claim, size, err := volume.ParseEphemeral(context)
	if err != nil || p.Pool != "fast" || size != 2*volume.GiB || claim != (volume.Claim{Namespace: "shop", Name: "web-0"}) || !volume.IsEphemeral(context) {
		t.Errorf("ParseEphemeral = %+v, %+v, %d, %v", p, claim, size, err)
	}
	for key, value := range map[string]string{"size": "big", "unknown": "x", "allowBlockAsFilesystem": "false"} {
		if _, _, _, err := volume.ParseEphemeral(map[string]string{key: value}); !volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), key) {
			t.Errorf("ParseEphemeral(%s) = %v", key, err)
		}
	}
	if _, _, size, err := volume.ParseEphemeral(nil); err != nil || size != volume.DefaultSize || volume.IsEphemeral(nil) {
		t.Errorf("ParseEphemeral(nil) = %d, %v", size, err)
	}
}

func FuzzParameters(f *testing.F) {
	f.Add("pool", "fast", "mkfsOptions", "-m 1")
	f.Add("size", "1Gi", "csi.storage.k8s.io/pvc/name", "x")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		raw := map[string]string{k1: v1, k2: v2}
		p, _, err := volume.ParseParameters(raw)
		if err != nil && !volume.Is(err, volume.Invalid) {
			t.Fatalf("ParseParameters(%q): kind %s", raw, volume.KindOf(err))
		}
		for _, arg := range p.MkfsArgs() {
			if strings.ContainsAny(arg, "/;&|$`\\'\"<>* \t\n\x00") {
				t.Fatalf("ParseParameters(%q) lets %q through to mkfs", raw, arg)
			}
		}
		if _, _, size, err := volume.ParseEphemeral(raw); size < 0 || (err != nil && !volume.Is(err, volume.Invalid)) {
			t.Fatalf("ParseEphemeral(%q) = %d, %v", raw, size, err)
		}
	})
}
