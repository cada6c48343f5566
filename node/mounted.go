package node

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// view is the mount table as one volume sees it.
type view struct {
	volume volume.ID
	device host.Device // zero while the volume is not attached
	table  []host.Mount
	uses   []use // of the volume, in the order of the table
}

// use is one place where a volume is mounted, or its device bound.
type use struct {
	host.Mount
	block bool // the device itself is there
	other bool // it is not the volume's device, but one of volume.Volume.Others
}

// look reads the mount table for v, and for the other devices that show its bytes.
func (s *Server) look(v volume.Volume) (view, error) {
	table, err := s.machine.Mounts()
	if err != nil {
		return view{}, err
	}
	w := view{volume: v.ID, table: table}
	if !v.Attached() {
		return w, nil
	}
	if w.device, err = s.machine.Device(v.Device); err != nil {
		// NotFound would say that the volume does not exist.
		return view{}, volume.Errorf(volume.Internal, "volume %q is attached as %s, but: %w", v.ID, v.Device, err)
	}
	if w.uses, err = s.usesOf(v.ID, v.Device, w.device.Number, table); err != nil || len(v.Others) == 0 {
		return w, err
	}
	for _, path := range v.Others {
		device, err := s.machine.Device(path)
		if volume.Is(err, volume.NotFound) {
			continue // it went away meanwhile
		}
		if err != nil {
			return view{}, err
		}
		further, err := s.usesOf(v.ID, path, device.Number, table)
		if err != nil {
			return view{}, err
		}
		for _, u := range further {
			u.other = true
			w.uses = append(w.uses, u)
		}
	}
	slices.SortStableFunc(w.uses, func(a, b use) int { return cmp.Compare(slices.Index(table, a.Mount), slices.Index(table, b.Mount)) })
	return w, nil
}

// usesOf returns where in the table a device of a volume is mounted or bound. A node that was bound for another
// volume, whose device has gone and whose number this one got, is not one of them.
func (s *Server) usesOf(id volume.ID, path string, number host.DeviceNumber, table []host.Mount) (uses []use, err error) {
	for _, m := range table {
		block, ours, err := s.shows(m, path, number)
		if err != nil {
			return nil, err
		}
		if ours && block {
			owner, err := s.machine.Owner(m.Target)
			if err != nil {
				return nil, err
			}
			ours = owner == "" || owner == id.String()
		}
		if ours {
			uses = append(uses, use{Mount: m, block: block})
		}
	}
	return uses, nil
}

// shows reports whether a mount shows the file system on a device, or the device itself.
func (s *Server) shows(m host.Mount, device string, number host.DeviceNumber) (block, ours bool, err error) {
	switch {
	case m.IsNode(): // the path leads to the device
		ours, err = s.leadsTo(m.Target, number, path.Base(m.Root) == path.Base(device))
		return true, ours, err
	case m.FSType == string(volume.Btrfs): // has a device number of its own, which is none of a device
		ours, err = s.leadsTo(m.Source, number, m.Source == device)
		return false, ours, err
	default:
		return false, m.Device == number, nil
	}
}

// leadsTo reports whether a path leads to a device. A path that cannot be looked at is an error only
// where it is likely: the mounts of others, of which some may hang, are none of a volume's business.
func (s *Server) leadsTo(path string, number host.DeviceNumber, likely bool) (bool, error) {
	d, err := s.machine.Device(path)
	if err != nil && (!likely || volume.Is(err, volume.NotFound)) {
		return false, nil
	}
	return err == nil && d.Number == number, err
}

// at returns what can be seen at a path, the last thing mounted there.
func (w view) at(target string) (host.Mount, bool) {
	for _, m := range slices.Backward(w.table) {
		if m.Target == target {
			return m, true
		}
	}
	return host.Mount{}, false
}

// here returns the volume's use at a path; false where nothing is mounted there. The kind of its
// error is InUse: what is mounted there is not the volume.
func (w view) here(target string) (use, bool, error) {
	m, mounted := w.at(target)
	if !mounted {
		return use{}, false, nil
	}
	i := slices.IndexFunc(w.uses, func(u use) bool { return u.Mount == m })
	if i < 0 {
		return use{}, false, volume.Errorf(volume.InUse, "%s (%s) is mounted at %q, which is not volume %q", m.Source, m.FSType, target, w.volume)
	}
	return w.uses[i], true, nil
}

// count returns how many times the volume is mounted at a path, one over the other.
func (w view) count(target string) int {
	n := 0
	for _, u := range w.uses {
		if u.Target == target {
			n++
		}
	}
	return n
}

// fsType returns the type of the file system at a path, empty where nothing is mounted.
func (w view) fsType(target string) volume.FSType {
	m, _ := w.at(target)
	return volume.FSType(m.FSType)
}

// elsewhere returns the volume's uses at other paths than those given. A directory tree that is
// bind-mounted with shared propagation shows each mount below it twice; such a second sight of a path
// given is no use of its own, and goes with the first.
func (w view) elsewhere(targets ...string) []use {
	var places []place
	for _, u := range w.uses {
		if slices.Contains(targets, u.Target) {
			places = append(places, w.place(u.Mount))
		}
	}
	return slices.DeleteFunc(slices.Clone(w.uses), func(u use) bool {
		return slices.Contains(targets, u.Target) || slices.Contains(places, w.place(u.Mount))
	})
}

// place is the directory or file that something is mounted on, whichever way it is reached.
type place struct {
	device host.DeviceNumber
	path   string // inside the file system of that device
}

// place finds the mount that m.Target lies in: of those above it the nearest, the last one mounted.
func (w view) place(m host.Mount) place {
	var parent host.Mount
	for _, above := range w.table {
		prefix := strings.TrimSuffix(above.Target, "/") + "/"
		if strings.HasPrefix(m.Target, prefix) && m.Target != above.Target && len(above.Target) >= len(parent.Target) {
			parent = above
		}
	}
	return place{device: parent.Device, path: path.Join("/", parent.Root, strings.TrimPrefix(m.Target, parent.Target))}
}
