package node

import (
	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// usedAt returns the use of the volume that a volume_path leads to: a path where it is mounted or its
// device bound, or any other that leads to the device, as the kubelet's own path of a block volume
// (volumeDevices/<pv>/dev/<pod>) may. The kind of its error is NotFound, also for a path that no
// request would mount at: csi.proto asks that of NodeGetVolumeStats and NodeExpandVolume.
func (s *Server) usedAt(v volume.Volume, w view, path string) (use, error) {
	missing := volume.Errorf(volume.NotFound, "volume %q is not at volume_path %q", v.ID, path)
	path, err := checkPath("volume_path", path)
	switch {
	case volume.Is(err, volume.Invalid):
		return use{}, missing
	case err != nil:
		return use{}, err
	case !v.Attached():
		return use{}, missing
	case v.Fault != "": // a volume whose record alone is damaged is used as before
		return use{}, volume.Errorf(volume.NotFound, "%w: %w", missing, v.Usable())
	}
	u, mounted, err := w.here(path)
	if err != nil {
		return use{}, missing
	}
	if mounted && u.other {
		return use{}, volume.Errorf(volume.NotFound, "%w, but another device of its bytes is: %w", missing, v.Usable())
	}
	if mounted {
		return u, nil
	}
	device, err := s.machine.Device(path)
	switch {
	case volume.Is(err, volume.NotFound):
		return use{}, missing
	case err != nil:
		return use{}, err
	case device.Number != w.device.Number:
		return use{}, missing
	}
	return use{Mount: host.Mount{Target: path}, block: true}, nil
}
