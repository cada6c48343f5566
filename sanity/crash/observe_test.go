package crash_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/moby/sys/mountinfo"
)

// observe returns what there is: what the driver lists, and what the machine has.
func observe(ctx context.Context, dir string, where place, c clients) (state, error) {
	s := state{}
	return s, errors.Join(s.addVolumes(ctx, c), s.addSnapshots(ctx, c), s.addMachine(dir, where))
}

func (s state) addVolumes(ctx context.Context, c clients) error {
	answer, err := c.ListVolumes(ctx, &csi.ListVolumesRequest{})
	if err != nil {
		return fmt.Errorf("ListVolumes: %w", err)
	}
	for _, e := range answer.GetEntries() {
		v := e.GetVolume()
		s["volume "+v.GetVolumeId()] = describeVolume(v.GetCapacityBytes(), v.GetContentSource())
		if nodes := e.GetStatus().GetPublishedNodeIds(); len(nodes) > 0 {
			s["published "+v.GetVolumeId()] = strings.Join(nodes, " ")
		}
	}
	return nil
}

func (s state) addSnapshots(ctx context.Context, c clients) error {
	answer, err := c.ListSnapshots(ctx, &csi.ListSnapshotsRequest{})
	if err != nil {
		return fmt.Errorf("ListSnapshots: %w", err)
	}
	groups := map[string][]string{}
	for _, e := range answer.GetEntries() {
		one := e.GetSnapshot()
		s["snapshot "+one.GetSnapshotId()] = describeSnapshot(one.GetSizeBytes(), one.GetSourceVolumeId(), one.GetGroupSnapshotId())
		if group := one.GetGroupSnapshotId(); group != "" {
			groups[group] = append(groups[group], one.GetSnapshotId())
		}
	}
	for group, members := range groups {
		s["group "+group] = fmt.Sprint(slices.Sorted(slices.Values(members)))
	}
	return nil
}

// addMachine adds what there is without asking the driver.
func (s state) addMachine(dir string, where place) error {
	if err := where.observe(dir, s); err != nil {
		return err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return err
	}
	for _, m := range mounts {
		s.add("mount "+m.Mountpoint, mode(slices.Contains(strings.Split(m.Options, ","), "ro")))
	}
	return s.addEntries("target ", targetsDir(dir))
}

// add adds what there may be two of, such as mounts over one another.
func (s state) add(key, value string) {
	if before, ok := s[key]; ok {
		value = before + " and " + value
	}
	s[key] = value
}

func (s state) addEntries(what, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a driver that was killed before it had made its pool
	}
	for _, e := range entries {
		s[what+filepath.Join(dir, e.Name())] = "there"
	}
	return err
}

// differences is how a state differs from what it must be.
type differences struct {
	lost, leaked, wrong []string
}

func (d differences) none() bool { return len(d.lost)+len(d.leaked)+len(d.wrong) == 0 }

func (d differences) String() string {
	var lines []string
	for _, kind := range []struct {
		name string
		what []string
	}{{"lost", d.lost}, {"leaked", d.leaked}, {"wrong", d.wrong}} {
		for _, what := range kind.what {
			lines = append(lines, kind.name+": "+what)
		}
	}
	return strings.Join(lines, "\n")
}

// differs compares. Each thing must be as it is in before or as it is in after; those in missing may
// also not be there.
func (s state) differs(before, after state, missing ...string) (d differences) {
	keys := maps.Clone(s)
	maps.Copy(keys, before)
	maps.Copy(keys, after)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		has, there := s[key]
		one, first := before[key]
		two, second := after[key]
		switch {
		case there && (first && has == one || second && has == two):
		case there && !first && !second:
			d.leaked = append(d.leaked, fmt.Sprintf("%s (%s)", key, has))
		case there:
			d.wrong = append(d.wrong, fmt.Sprintf("%s is %q, and must be %q or %q", key, has, one, two))
		case first && second && !slices.Contains(missing, key):
			d.lost = append(d.lost, fmt.Sprintf("%s (%s)", key, one))
		}
	}
	return d
}
