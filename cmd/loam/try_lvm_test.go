package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loam-storage/loam/sanity/scratch"
)

// TestTryOfLVMPools takes volumes through their life in pools that make their own volume group, of each kind.
func TestTryOfLVMPools(t *testing.T) {
	const group = "loamtry"
	disks := scratch.Disks(t, 2)[:2]
	devices := fmt.Sprintf("devices: [%s, %s], create: true", disks[0], disks[1])
	for name, lvm := range map[string]string{
		"linear": "", "striped": ", type: striped", "raid1": ", type: raid1", "thin": ", thinPool: tp",
	} {
		t.Run(name, func(t *testing.T) {
			t.Cleanup(func() {
				if err := scratch.RemoveVolumeGroup(group, disks...); err != nil {
					t.Error(err)
				}
			})
			dir := t.TempDir()
			path, _ := writeConfig(t, fmt.Sprintf("pools: [{name: other, loop: {directory: %s}}, {name: %s, lvm: {volumeGroup: %s, %s%s}}]", filepath.Join(dir, "other"), name, group, devices, lvm))
			says, err := loamSays(t, "try", "--dir", dir, "--config", path, "--pool", name)
			if err != nil || !strings.Contains(says, "Nothing is left") || !strings.Contains(says, fmt.Sprintf("pool %q", name)) {
				t.Errorf("%v\n%s", err, says)
			}
			t.Log(says)
			checkNothingLeft(t, dir)
			if left, err := scratch.LVM("lvs", "--noheadings", "-o", "lv_name", "--select", `lv_name=~"^loam"`, group); err != nil || left != "" {
				t.Errorf("left are %q, %v", left, err)
			}
		})
	}
}
