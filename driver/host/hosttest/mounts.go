package hosttest

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// devFS is the file system that device nodes lie on.
const devFS = "devtmpfs"

// mounted is one mount and what hangs on it.
type mounted struct {
	host.Mount
	id, parent int
	device     string            // file that stands for the mounted device, or for the bound one
	shows      host.DeviceNumber // of that file
	superRO    bool              // the whole file system is read-only
	options    []string
	uuid       string // of the file system, which xfs does not mount twice; empty if it was told not to look
	open       int    // files open in it
}

// Mounts returns the table in the order in which things were mounted.
func (m *Machine) Mounts() (table []host.Mount, err error) {
	err = m.step("Mounts", "", func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, at := range m.mounts {
			table = append(table, at.Mount)
		}
		return nil
	})
	return table, err
}

// Mount mounts a file system that is really on the device.
func (m *Machine) Mount(ctx context.Context, device, target string, fsType volume.FSType, options []string) error {
	return m.step("Mount", device, func() error {
		found, err := m.real.Probe(ctx, m.resolve(device))
		if err != nil {
			return volume.Errorf(volume.Internal, "mount %s of %q: %w", fsType, device, err)
		}
		if found.Type != string(fsType) {
			return volume.Errorf(volume.Internal, "mount %s of %q on %q: there is no such file system on it", fsType, device, target)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.mount(device, target, fsType, options, found.UUID)
	})
}

func (m *Machine) mount(device, target string, fsType volume.FSType, options []string, uuid string) error {
	d, err := m.device(device)
	if err == nil {
		err = isDirectory(target)
	}
	if err == nil {
		err = checkOptions(fsType, options)
	}
	if err != nil {
		return volume.Errorf(volume.Internal, "mount %s of %q on %q: %w", fsType, device, target, err)
	}
	at := &mounted{
		device: device, shows: d.Number, options: slices.Clone(options), superRO: isReadOnly(options) || m.readOnly[d.Number],
		Mount: host.Mount{Target: target, Device: d.Number, Root: "/", FSType: string(fsType), Source: device},
	}
	if fsType == volume.Btrfs { // its device number is none of a device
		at.Device = host.DeviceNumber{Major: 0, Minor: d.Number.Minor}
	}
	at.ReadOnly = at.superRO
	if at.superRO && !isReadOnly(options) {
		return volume.Errorf(volume.Internal, "mount %s of %q on %q: the device is read-only, and the file system was to be mounted for writing", fsType, device, target)
	}
	if fsType == volume.XFS && !slices.Contains(options, "nouuid") {
		at.uuid = uuid
	}
	if super := m.super(d.Number); super != nil {
		if super.superRO != at.superRO {
			return volume.Errorf(volume.Busy, "mount %s of %q on %q: already mounted on %q", fsType, device, target, super.Target)
		}
		if top := m.top(target); top != nil && top.shows == d.Number {
			return volume.Errorf(volume.Busy, "mount %s of %q on %q: it is mounted there already", fsType, device, target)
		}
	} else if m.claims[d.Number] {
		return volume.Errorf(volume.Busy, "mount %s of %q on %q: device is busy", fsType, device, target)
	}
	if at.uuid != "" && slices.ContainsFunc(m.mounts, func(o *mounted) bool { return o.uuid == at.uuid && o.shows != at.shows }) {
		return volume.Errorf(volume.Internal, "mount xfs of %q on %q: a file system with UUID %s is mounted already", device, target, at.uuid)
	}
	m.add(at)
	return nil
}

// isReadOnly reports which of "ro" and "rw" comes last.
func isReadOnly(options []string) bool {
	readOnly := false
	for _, option := range options {
		readOnly = option == "ro" || (readOnly && option != "rw")
	}
	return readOnly
}

// checkOptions knows the options that file systems refuse in a mount for writing, or of each other.
func checkOptions(fsType volume.FSType, options []string) error {
	own := map[string]volume.FSType{
		"noload": volume.Ext4, "nouuid": volume.XFS, "norecovery": volume.XFS, "rescue=nologreplay": volume.Btrfs,
	}
	for _, option := range options {
		if t, known := own[option]; known && t != fsType && (t != volume.XFS || option != "norecovery") {
			return errors.New("option " + option + " is of another file system")
		}
		if (option == "norecovery" || option == "rescue=nologreplay") && !isReadOnly(options) {
			return errors.New(option + " requires a read-only mount")
		}
	}
	return nil
}

// Bind shows what is at source at target as well.
func (m *Machine) Bind(_ context.Context, source, target string, readOnly bool) error {
	return m.step("Bind", source, func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		at, err := m.clone(source)
		if err != nil {
			return err
		}
		info, err := os.Stat(target)
		if err != nil {
			return volume.Errorf(volume.NotFound, "bind to %q: %w", target, err)
		}
		if info.IsDir() == (at.FSType == devFS) {
			return volume.Errorf(volume.Internal, "bind %q to %q: one is a directory and the other is not", source, target)
		}
		at.Target, at.ReadOnly = target, at.ReadOnly || readOnly
		m.add(at)
		return nil
	})
}

// clone returns a mount of what is at source: a device node, or a directory.
func (m *Machine) clone(source string) (*mounted, error) {
	if at := m.top(source); at != nil && at.FSType == devFS {
		again := *at
		return &again, nil
	}
	if d, err := m.device(source); err == nil {
		return &mounted{device: source, shows: d.Number, Mount: host.Mount{
			Device: devDevice, Root: "/" + path.Base(source), FSType: devFS, Source: devFS,
		}}, nil
	}
	if err := isDirectory(source); err != nil {
		return nil, volume.Errorf(volume.NotFound, "bind %q: %w", source, err)
	}
	above := *m.find(source)
	above.Root = path.Join(above.Root, strings.TrimPrefix(source, above.Target))
	above.open = 0
	return &above, nil
}

// SetOwner notes whose device is going to be bound on a file.
func (m *Machine) SetOwner(target, owner string) error {
	return m.step("SetOwner", target, func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if _, err := os.Lstat(target); err != nil {
			return volume.Errorf(volume.NotFound, "note the owner on %q: %w", target, err)
		}
		m.owners[target] = owner
		return nil
	})
}

// Owner returns what SetOwner noted. The note goes with the file.
func (m *Machine) Owner(target string) (owner string, err error) {
	err = m.step("Owner", target, func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if info, err := os.Lstat(target); err != nil || (!info.Mode().IsRegular() && !info.IsDir()) {
			delete(m.owners, target)
		}
		owner = m.owners[target]
		return nil
	})
	return owner, err
}

// Renumber is what happens where the device of one file has gone, and that of another has got its number: what
// is bound of the first shows the second, and the mount table says nothing of it.
func (m *Machine) Renumber(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.device(to)
	if err != nil {
		return err
	}
	for _, at := range m.mounts {
		if at.device == from && at.FSType == devFS {
			at.device, at.shows, at.Root = to, d.Number, "/"+path.Base(to)
		}
	}
	return nil
}

// Unmount takes the last mount away.
func (m *Machine) Unmount(_ context.Context, target string) error {
	return m.step("Unmount", target, func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		at := m.top(target)
		if at == nil {
			return nil
		}
		if at.open > 0 || slices.ContainsFunc(m.mounts, func(o *mounted) bool { return o.parent == at.id }) {
			return volume.Errorf(volume.InUse, "%q is busy", target)
		}
		m.mounts = slices.DeleteFunc(m.mounts, func(o *mounted) bool { return o == at })
		return nil
	})
}

// add puts a mount where its target leads now.
func (m *Machine) add(at *mounted) {
	m.lastID++
	at.parent, at.id = m.find(at.Target).id, m.lastID
	m.mounts = append(m.mounts, at)
}

// find returns the mount that a path leads into, going down from the root as the kernel does.
func (m *Machine) find(target string) *mounted {
	at := m.mounts[0]
	for {
		var below []*mounted
		for _, o := range m.mounts[1:] {
			if o.parent == at.id && (o.Target == target || strings.HasPrefix(target, strings.TrimSuffix(o.Target, "/")+"/")) {
				below = append(below, o)
			}
		}
		if len(below) == 0 {
			return at
		}
		at = slices.MinFunc(below, func(a, b *mounted) int { return cmp.Compare(len(a.Target), len(b.Target)) })
	}
}

// top returns the mount that can be seen at target, nil if that is no mount point.
func (m *Machine) top(target string) *mounted {
	if at := m.find(target); at.Target == target && at.id > 0 {
		return at
	}
	return nil
}

// super returns a mount of the file system on a device, nil if it is not mounted.
func (m *Machine) super(device host.DeviceNumber) *mounted {
	i := slices.IndexFunc(m.mounts, func(o *mounted) bool { return o.shows == device && o.FSType != devFS })
	if i < 0 {
		return nil
	}
	return m.mounts[i]
}

func isDirectory(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		return errors.New("it is not a directory")
	}
	return err
}

// Stopped returns what the table says.
func (m *Machine) Stopped(at host.Mount) (why string, err error) {
	return at.Stopped, m.step("Stopped", at.Target, func() error { return nil })
}

// NoteDevice notes which device is going to be mounted on a file or directory.
func (m *Machine) NoteDevice(target, device string) error {
	return m.step("NoteDevice", target, func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if _, err := os.Lstat(target); err != nil {
			return volume.Errorf(volume.NotFound, "make a note on %q: %w", target, err)
		}
		d, err := m.device(device)
		m.noted[target] = d.Number
		return err
	})
}

// NotedDevice returns what NoteDevice noted. The note goes with the file or directory.
func (m *Machine) NotedDevice(target string) (d host.BlockDevice, found bool, err error) {
	err = m.step("NotedDevice", target, func() error {
		m.mu.Lock()
		number, list := m.noted[target], m.devices.List
		m.mu.Unlock()
		if _, err := os.Lstat(target); err != nil || list == nil {
			return nil //nolint:nilerr // it has gone
		}
		all, err := list()
		for _, one := range all {
			if now, err := m.device(one.Path); err == nil && now.Number == number {
				d, found = one, true
			}
		}
		return err
	})
	return d, found, err
}
