package crash_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/loam-storage/loam/driver/volume"
)

// What can be chosen. Each returns false where there is nothing that it could be done to.

func (c *chooser) create() (operation, bool) {
	pool, _ := one(c, c.where.pools())
	form, ok := c.form(pool)
	if !ok {
		return operation{}, false
	}
	return c.model.create(c.name("pvc"), pool, form, c.size(form), nil, data{}), true
}

func (c *chooser) restore() (operation, bool) {
	s, ok := one(c, c.taken(func(snap) bool { return true }))
	if !ok || !c.room(s.form) {
		return operation{}, false
	}
	return c.copyOf(s), true
}

// copyOf restores a snapshot, at times to a larger volume.
func (c *chooser) copyOf(s snap) operation {
	size, holds := s.size, s.data
	if c.chance(30) && c.grows(s.form, true) {
		size += step[s.form]
	}
	holds.used = true
	return c.model.create(c.name("pvc"), s.pool, s.form, size, fromSnapshot(s.handle), holds)
}

func (c *chooser) cloneVolume() (operation, bool) {
	v, ok := one(c, c.those(c.canBeCopied))
	if !ok || !c.room(v.form) {
		return operation{}, false
	}
	holds := v.data
	holds.used = true
	return c.model.create(c.name("pvc"), v.pool, v.form, v.size, fromVolume(v.handle), holds), true
}

func (c *chooser) delete() (operation, bool) {
	v, ok := one(c, c.those(func(v vol) bool { return !v.attached && !c.bound(v) }))
	if !ok || len(c.volumes) < 4 {
		return operation{}, false
	}
	return c.model.delete(v), true
}

func (c *chooser) attach() (operation, bool) {
	v, ok := one(c, c.those(func(v vol) bool { return !v.attached }))
	return c.model.attach(v, c.chance(25) && v.copies()), ok
}

func (c *chooser) detach() (operation, bool) {
	v, ok := one(c, c.those(func(v vol) bool { return v.attached && v.staging == "" && v.inline == "" }))
	return c.model.detach(v), ok
}

func (c *chooser) stage() (operation, bool) {
	v, ok := one(c, c.those(func(v vol) bool { return c.canBeStaged(v) && !v.data.used }))
	if !ok || c.chance(40) {
		v, ok = one(c, c.those(c.canBeStaged))
	}
	readOnly := v.context[volume.ContextReadOnly] == "true" || (c.chance(15) && v.copies())
	return c.model.stage(v, readOnly), ok
}

// canBeStaged leaves out a btrfs while another one is mounted where the kernel may refuse that: one may be a copy of the other.
func (c *chooser) canBeStaged(v vol) bool {
	btrfs := func(v vol) bool { return v.form == string(volume.Btrfs) }
	alone := c.btrfsTwins || !btrfs(v) || len(c.those(func(other vol) bool { return btrfs(other) && other.staging != "" })) == 0
	return v.staging == "" && v.inline == "" && alone
}

func (c *chooser) unstage() (operation, bool) {
	v, ok := one(c, c.those(func(v vol) bool { return v.staging != "" && len(v.targets) == 0 }))
	return c.model.unstage(v), ok
}

func (c *chooser) publish() (operation, bool) {
	v, ok := one(c, c.those(func(v vol) bool { return v.staging != "" && len(v.targets) < 2 }))
	readOnly := c.chance(25)
	for _, other := range v.targets {
		if v.isBlock() {
			readOnly = other // a device is read-only for all
		}
	}
	readOnly = readOnly || v.stagedReadOnly || v.context[volume.ContextReadOnly] == "true"
	return c.model.publish(v, c.pod(), readOnly), ok
}

// pod returns the name of a target that is not there.
func (c *chooser) pod() string {
	for {
		pod := fmt.Sprintf("pod-%02d", c.random.IntN(40))
		if len(c.those(func(v vol) bool { _, there := v.targets[filepath.Join(targetsDir(c.dir), pod)]; return there })) == 0 {
			return pod
		}
	}
}

func (c *chooser) unpublish() (operation, bool) {
	v, ok := one(c, c.those(func(v vol) bool { return len(v.targets) > 0 }))
	target, _ := one(c, slices.Sorted(maps.Keys(v.targets)))
	return c.model.unpublish(v, target), ok
}

func (c *chooser) inline() (operation, bool) {
	pool, _ := one(c, c.where.pools())
	form, ok := c.form(pool)
	if !ok || form == block {
		return operation{}, false
	}
	handle := fmt.Sprintf("csi-%016x%016x%016x%016x", c.random.Uint64(), c.random.Uint64(), c.random.Uint64(), c.random.Uint64())
	return c.publishInline(handle, pool, form, c.pod(), c.size(form), c.chance(15)), true
}

func (c *chooser) expand() (operation, bool) {
	v, ok := one(c, c.those(func(v vol) bool {
		return v.inline == "" && v.size < sizes[v.form].most && c.grows(v.form, v.data.used) && !c.bound(v)
	}))
	return c.model.expand(v, v.size+step[v.form]), ok
}

func (c *chooser) expandNode() (operation, bool) {
	v, ok := one(c, c.those(func(v vol) bool {
		_, writable, there := v.at()
		return there && v.inline == "" && (writable || v.isBlock())
	}))
	if !ok {
		return operation{}, false
	}
	paths := slices.Sorted(maps.Keys(v.targets))
	if !v.isBlock() {
		paths = append(paths, v.staging)
	}
	path, _ := one(c, paths)
	return c.model.expandNode(v, path), true
}

func (c *chooser) snapshot() (operation, bool) {
	v, ok := one(c, c.those(c.canBeCopied))
	if !ok || !c.roomForSnapshots(1) {
		return operation{}, false
	}
	return c.model.snapshot(v, c.name("snapshot")), true
}

func (c *chooser) deleteSnapshot() (operation, bool) {
	s, ok := one(c, c.taken(func(s snap) bool { return s.group == "" }))
	return c.model.deleteSnapshot(s), ok
}

func (c *chooser) group() (operation, bool) {
	pool, _ := one(c, c.where.pools())
	volumes := c.those(func(v vol) bool { return v.pool == pool && c.canBeCopied(v) })
	c.random.Shuffle(len(volumes), func(i, j int) { volumes[i], volumes[j] = volumes[j], volumes[i] })
	if len(volumes) == 0 || !c.roomForSnapshots(3) {
		return operation{}, false
	}
	return c.snapshotGroup(volumes[:min(len(volumes), 1+c.random.IntN(3))], c.name("group")), true
}

func (c *chooser) deleteGroup() (operation, bool) {
	group, ok := one(c, slices.Sorted(maps.Keys(c.groups())))
	return c.model.deleteGroup(group), ok
}

func (c *chooser) refuse() (operation, bool) {
	var possible []operation
	// One that is only attached may be detached and deleted (driver/pool).
	if v, ok := one(c, c.those(func(v vol) bool { _, _, used := v.at(); return used && v.inline == "" })); ok {
		possible = append(possible, c.deleteUsed(v))
	}
	if v, ok := one(c, c.those(func(v vol) bool { return v.source == nil && v.inline == "" })); ok {
		possible = append(possible, c.createOtherwise(v))
	}
	if s, ok := one(c, c.taken(func(s snap) bool { return s.group != "" })); ok {
		possible = append(possible, c.deleteMember(s))
	}
	if v, ok := one(c, c.those(func(v vol) bool { return v.staging != "" && len(v.targets) > 0 })); ok {
		possible = append(possible, c.unstagePublished(v))
	}
	if v, ok := one(c, c.those(func(v vol) bool { return v.staging != "" && !v.isBlock() })); ok {
		possible = append(possible, c.stageElsewhere(v))
	}
	return one(c, possible)
}

// absent deletes what is not there.
func (c *chooser) absent() (operation, bool) {
	pool, _ := one(c, c.where.pools())
	name := c.name("pvc")
	return c.model.delete(vol{handle: handleOf(pool, name), pool: pool, name: name}), true
}
