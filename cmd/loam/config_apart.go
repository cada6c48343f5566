package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// apart says whether p can stand beside the pools before it: no name twice, no directory in another
// one's, and no thin pool that another gives out too. A volume group may have several pools.
func apart(p poolConfig, before []poolConfig) error {
	for _, other := range before {
		if p.Name == other.Name {
			return fmt.Errorf("pool %q: name: there are two pools of that name", p.Name)
		}
		if p.LVM.ThinPool != "" && p.LVM.ThinPool == other.LVM.ThinPool && p.LVM.VolumeGroup == other.LVM.VolumeGroup {
			return fmt.Errorf("pool %q: lvm: thinPool: %q of volume group %q is that of pool %q, and two cannot keep one account", p.Name, p.LVM.ThinPool, p.LVM.VolumeGroup, other.Name)
		}
		if !p.isLVM() && other.Loop.Directory != "" && (within(p.Loop.Directory, other.Loop.Directory) || within(other.Loop.Directory, p.Loop.Directory)) {
			return fmt.Errorf("pool %q: loop: directory: %q and %q of pool %q are not apart from each other", p.Name, p.Loop.Directory, other.Loop.Directory, other.Name)
		}
	}
	return nil
}

func within(path, parent string) bool {
	relative, err := filepath.Rel(parent, path)
	return err == nil && relative != ".." && !strings.HasPrefix(relative, "../")
}
