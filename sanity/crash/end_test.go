package crash_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// free returns how much each pool has free.
func (r *run) free() (map[string]volume.Size, error) {
	free := map[string]volume.Size{}
	for _, pool := range r.model.where.pools() {
		answer, err := r.driver.GetCapacity(context.Background(), &csi.GetCapacityRequest{Parameters: map[string]string{volume.KeyPool: pool}})
		if err != nil {
			return nil, err
		}
		free[pool] = volume.Size(answer.GetAvailableCapacity())
	}
	return free, nil
}

// end reads all that was ever kept, removes it by calls that nobody cuts off, and sees that nothing is
// left. before is what was free in the beginning.
func (r *run) end(before map[string]volume.Size) error {
	for _, v := range r.model.those(func(vol) bool { return true }) {
		if err := r.takeAway(v.handle); err != nil {
			return err
		}
	}
	for _, s := range r.model.taken(func(snap) bool { return true }) {
		holds := s.data
		holds.used = true
		if err := r.carryOut(r.model.create("end", s.pool, s.form, s.size, fromSnapshot(s.handle), holds), 0); err != nil {
			return err
		}
		if err := r.endVolume(handleOf(s.pool, "end")); err != nil {
			return err
		}
		if s.group == "" {
			if err := r.carryOut(r.model.deleteSnapshot(s), 0); err != nil {
				return err
			}
		}
	}
	for _, group := range slices.Sorted(maps.Keys(r.model.groups())) {
		if err := r.carryOut(r.model.deleteGroup(group), 0); err != nil {
			return err
		}
	}
	for _, v := range r.model.those(func(vol) bool { return true }) {
		if err := r.endVolume(v.handle); err != nil {
			return err
		}
	}
	if err := r.allFree(before); err != nil {
		return err
	}
	return r.stop()
}

// endVolume takes a volume away from where it is used, uses it once more, which reads what the disk
// has, and deletes it.
func (r *run) endVolume(handle string) error {
	if err := r.takeAway(handle); err != nil {
		return err
	}
	if v, there := r.model.volumes[handle]; there && v.copies() {
		if err := r.carryOut(r.model.stage(v, false), 0); err != nil {
			return err
		}
		if v = r.model.volumes[handle]; v.isBlock() {
			if err := r.carryOut(r.model.publish(v, "end", false), 0); err != nil {
				return err
			}
		}
		if err := r.takeAway(handle); err != nil {
			return err
		}
	}
	if v, there := r.model.volumes[handle]; there {
		return r.carryOut(r.model.delete(v), 0)
	}
	return nil
}

// takeAway unpublishes a volume from everywhere. An inline one is then gone.
func (r *run) takeAway(handle string) error {
	for _, target := range slices.Sorted(maps.Keys(r.model.volumes[handle].targets)) {
		if err := r.carryOut(r.model.unpublish(r.model.volumes[handle], target), 0); err != nil {
			return err
		}
	}
	if v := r.model.volumes[handle]; v.staging != "" {
		if err := r.carryOut(r.model.unstage(v), 0); err != nil {
			return err
		}
	}
	if v := r.model.volumes[handle]; v.attached {
		return r.carryOut(r.model.detach(v), 0)
	}
	return nil
}

// allFree says whether the pools have as much free as before, but for what their file systems took
// for directories and trees that they keep.
func (r *run) allFree(before map[string]volume.Size) error {
	after, err := r.free()
	if err != nil {
		return err
	}
	for pool, was := range before {
		if after[pool] < was-4*volume.MiB {
			r.counts.leaked++
			return fmt.Errorf("pool %s has %s free and had %s (%d bytes less)", pool, after[pool], was, was-after[pool])
		}
	}
	return nil
}

// stop stops the driver and sees that nothing of it is left: no device, mount or process.
func (r *run) stop() error {
	if err := r.driver.stop(); err != nil {
		return fmt.Errorf("the driver was told to stop and ended with %w", err)
	}
	must, has := r.model.where.idle(r.dir, r.model.disk), state{}
	if err := has.addMachine(r.dir, r.model.where); err != nil {
		return err
	}
	if d := has.differs(must, must); !d.none() {
		r.counts.leaked += len(d.leaked)
		return fmt.Errorf("after the driver was stopped:\n%s", d)
	}
	return until(func() error { // a command of a driver that was killed may go on for a while
		ids, err := descendants(r.dir)
		if err == nil && len(ids) > 0 {
			err = fmt.Errorf("processes %v are left", ids)
		}
		return err
	})
}

// unharmed says whether the driver ran without a data race or panic.
func (r *run) unharmed() error {
	text, err := os.ReadFile(r.log.Name())
	if err != nil {
		return err
	}
	for _, bad := range []string{"DATA RACE", "panic"} {
		if at := strings.Index(string(text), bad); at >= 0 {
			return fmt.Errorf("the driver's log has a %s:\n%.4000s", bad, text[at:])
		}
	}
	return nil
}

// story is what happened last.
func (r *run) story() string {
	const lines = 40
	return fmt.Sprintf("the last calls:\n%s\nthe end of the driver's log:\n%s",
		strings.Join(r.history[max(0, len(r.history)-lines):], "\n"), tail(r.log))
}
