package loop

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// notePrefix and the name of what is being made in "new" is the name of a file beside it with the names of the volumes that were
// frozen for it, a line each. It is there for as long.
const notePrefix = "frozen-"

func (p *Pool) notePath(made string) string { return filepath.Join(p.root, newDir, notePrefix+made) }

// leftFrozen reports which volumes a process that is gone may have left frozen, from what it left in "new". What has no
// note was not frozen yet, or only now, or by an earlier release: then it may be any. What somebody else had frozen is in no note.
func (p *Pool) leftFrozen(left []string) (frozen func(name string) bool, err error) {
	noted, any := map[string]bool{}, false
	for _, made := range left {
		isPlain := false
		if strings.HasPrefix(made, "volume-") {
			copied, err := exists(filepath.Join(p.root, newDir, made, copyMark))
			if err != nil {
				return nil, err
			}
			isPlain = !copied
		}
		if isPlain || strings.HasPrefix(made, notePrefix) || strings.HasPrefix(made, "deleted-") {
			continue
		}
		text, err := os.ReadFile(p.notePath(made))
		switch {
		case err == nil:
			for _, name := range strings.Fields(string(text)) {
				noted[name] = true
			}
		case errors.Is(err, fs.ErrNotExist):
			any = true
		default:
			return nil, err
		}
	}
	return func(name string) bool { return any || noted[name] }, nil
}

// thawAll thaws what a process that is gone may have left frozen. It asks no record, for a volume whose
// record is damaged may be frozen too.
func (p *Pool) thawAll(ctx context.Context, frozen func(name string) bool) error {
	names, err := p.namesIn(volumesDir, "", 0)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !frozen(name) })
	loops, err := p.machine.Loops()
	if err != nil {
		return err
	}
	var mountPoints []string
	of := byFile(loops)
	for _, name := range names {
		file, _, err := host.Identify(p.imagePath(name))
		if volume.Is(err, volume.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		for _, l := range of[file] {
			mountPoint, mounted, err := p.machine.MountPoint(l.Device)
			if err != nil {
				return err
			}
			if mounted {
				mountPoints = append(mountPoints, mountPoint)
			}
		}
	}
	return host.ThawLeft(ctx, mountPoints)
}
