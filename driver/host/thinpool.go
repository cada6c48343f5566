package host

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/loam-storage/loam/driver/host/devicemapper"
	"github.com/loam-storage/loam/driver/volume"
)

// The health of a thin pool that takes no writes, as lv_health_status has it (lvs(8)).
const (
	ThinReadOnly  = "metadata_read_only" // a write of its metadata failed
	ThinOutOfData = "out_of_data"
)

// ThinUsage is how much of an active thin pool is taken, in percent, and how it is.
type ThinUsage struct {
	Data, Metadata float64
	TransactionID  int64  // number of its last change, which LVM's metadata have as well
	Health         string // empty, ThinReadOnly or ThinOutOfData
}

// ThinUsage asks device-mapper how full a thin pool is, and reports whether it is active. The name is that of the
// device with the target "thin-pool". It starts no process and writes nothing.
func (h *Host) ThinUsage(name string) (ThinUsage, bool, error) {
	var params string
	err := mapperDo("read the status of", name, devicemapper.TableStatus, devicemapper.NoFlush, nil, func(call *devicemapper.Call) (err error) {
		_, params, err = oneTarget(call, name)
		return err
	})
	if volume.Is(err, volume.NotFound) {
		return ThinUsage{}, false, nil
	}
	if err != nil {
		return ThinUsage{}, false, err
	}
	usage, err := parseThinStatus(params)
	if err != nil {
		return ThinUsage{}, false, volume.Errorf(volume.Internal, "status of thin pool %q: %w", name, err)
	}
	return usage, true, nil
}

// parseThinStatus reads "<transaction id> <used>/<total metadata blocks> <used>/<total data blocks> <root> <mode> ..."
// (Documentation/admin-guide/device-mapper/thin-provisioning.rst). A pool that failed says "Fail" or "Error".
func parseThinStatus(text string) (ThinUsage, error) {
	var id, usedMeta, meta, usedData, data uint64
	var root, mode string
	if _, err := fmt.Sscanf(text, "%d %d/%d %d/%d %s %s", &id, &usedMeta, &meta, &usedData, &data, &root, &mode); err != nil || meta == 0 || data == 0 {
		return ThinUsage{}, fmt.Errorf("%.64q does not say how much is taken", text)
	}
	usage := ThinUsage{Data: percent(usedData, data), Metadata: percent(usedMeta, meta), TransactionID: int64(id)}
	switch mode {
	case "ro":
		usage.Health = ThinReadOnly
	case "out_of_data_space":
		usage.Health = ThinOutOfData
	}
	return usage, nil
}

// ThinDeviceExists reports whether a thin pool holds a thin device of that number, known to LVM or not. The pool's name is
// as for ThinUsage. Nothing is changed: the pool is asked for a snapshot of the number under the same number, which it
// refuses with EEXIST where there is one, and with ENODATA where there is none (drivers/md/dm-thin-metadata.c,
// __create_snap). The kernel logs that refusal as a warning.
func (h *Host) ThinDeviceExists(pool string, number int64) (bool, error) {
	err := h.MapperMessage(pool, fmt.Sprintf("create_snap %d %[1]d", number))
	switch {
	case errors.Is(err, unix.EEXIST):
		return true, nil
	case errors.Is(err, unix.ENODATA):
		return false, nil
	case err == nil:
		return false, volume.Errorf(volume.Internal, "thin pool %q took a snapshot of device %d under its own number, which device-mapper never does", pool, number)
	}
	return false, err
}

func percent(part, whole uint64) float64 { return float64(part) * 100 / float64(whole) }
