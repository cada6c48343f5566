package loop

import (
	"cmp"
	"slices"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// withDevices finds the loop devices of the image of v, and returns v with what is to be said of them, and the
// devices themselves, its own first.
func (p *Pool) withDevices(v volume.Volume, file host.FileID) (volume.Volume, []host.Loop, error) {
	loops, all, err := p.machine.LoopsOf(p.imagePath(v.ID.Name), file)
	if err == nil {
		v, err = p.shownBy(v, loops, all)
	}
	return v, loops, err
}

// byFile sorts loop devices by what they have.
func byFile(loops []host.Loop) map[host.FileID][]host.Loop {
	of := map[host.FileID][]host.Loop{}
	for _, l := range loops {
		of[l.File] = append(of[l.File], l)
	}
	return of
}

// shownBy returns v with its device: of those of its image, which are sorted, the first that is set up as Attach
// does it. Where none is so, because an administrator has made or changed it, it is the first at all, with what is
// wrong with it.
func (p *Pool) shownBy(v volume.Volume, loops, all []host.Loop) (volume.Volume, error) {
	if len(loops) == 0 {
		return v, nil
	}
	fileBytes := v.Size
	if slices.ContainsFunc(loops, func(l host.Loop) bool { return l.SizeBytes > fileBytes }) {
		// It may have been expanded since its size was read.
		_, now, err := host.Identify(p.imagePath(v.ID.Name))
		if err != nil {
			return v, err
		}
		fileBytes = now
	}
	rank := func(l host.Loop) int {
		switch {
		case l.Differs(fileBytes, v.BlockBytes) != "":
			return 2
		case l.Autoclear: // as mount(8) makes them
			return 1
		default:
			return 0
		}
	}
	slices.SortStableFunc(loops, func(a, b host.Loop) int { return cmp.Compare(rank(a), rank(b)) })
	v.Device, v.ReadOnly, v.Fault = loops[0].Device, loops[0].ReadOnly, loops[0].Differs(fileBytes, v.BlockBytes)
	for i, l := range loops {
		if i > 0 {
			v.Others = append(v.Others, l.Device)
		}
		above, err := p.machine.MountedAbove(l.Device, all)
		if err != nil && !volume.Is(err, volume.NotFound) { // NotFound: it went away meanwhile
			return v, err
		}
		v.Others = append(v.Others, above...)
	}
	return v, nil
}
