// Package host is the only code that touches the machine: commands, mounts, file systems, loop
// devices and the system calls around them. Package hosttest behaves like it without being root.
package host

import (
	"context"

	"github.com/loam-storage/loam/driver/volume"
)

// Machine is what the node service asks of the computer that it runs on. New returns the real one;
// hosttest.New returns one whose mounts are only remembered. Both pass hosttest.TestMachine.
//
// Errors have a volume.Kind and name the device or path. A context ends waiting; a mkfs or mount
// that was started is not killed with it.
type Machine interface {
	// Probe says what is on a block device. A device that cannot be read, or of which blkid cannot
	// say for certain that there is nothing, is an error and never an empty Signature.
	Probe(ctx context.Context, device string) (Signature, error)

	// Format makes a file system on a device that Probe just called blank. It never discards blocks
	// (a preallocated image would lose them) and relies on them reading as zeros.
	Format(ctx context.Context, device string, f Format) error

	// Zero makes the whole device read as zeros and keeps its blocks allocated (BLKZEROOUT).
	Zero(ctx context.Context, device string) error

	// Check repairs what a journal replay would (fsck -p) on an unmounted ext4; xfs and btrfs do it
	// when they are mounted. Internal if errors are left that a person has to look at.
	Check(ctx context.Context, device string, fsType volume.FSType) error

	// Grow makes the mounted file system fill its device. It does nothing where it does already.
	Grow(ctx context.Context, device, mountPoint string, fsType volume.FSType) error

	// Mount mounts the device on an existing directory.
	Mount(ctx context.Context, device, target string, fsType volume.FSType, options []string) error

	// Dirty reports whether something is left in the journal of a file system on a device that cannot be written, and that is not
	// mounted: it is not replayed there.
	Dirty(device string, fsType volume.FSType) (bool, error)

	// Bind makes source, a directory or a device node, appear at the existing target, read-only if
	// asked: in one step, so that it is never there for writing first.
	Bind(ctx context.Context, source, target string, readOnly bool) error

	// SetOwner notes on the empty file or directory at target which volume is going to be bound or mounted there, durably or not
	// at all where its file system keeps no extended attributes.
	SetOwner(target, owner string) error

	// Owner returns what SetOwner noted, also while something is bound or mounted there; empty where nothing was.
	Owner(target string) (string, error)

	// NoteDevice notes on the empty file or directory at target which device is going to be bound or mounted there; it is kept as
	// the note of SetOwner is.
	NoteDevice(target, device string) error

	// NotedDevice returns the device that NoteDevice has noted, whatever has become of its file or disk; false where that has gone, also if
	// its number is used again, or nothing is noted.
	NotedDevice(target string) (BlockDevice, bool, error)

	// Unmount takes away what is mounted on target; nothing mounted there is nil. InUse while busy.
	Unmount(ctx context.Context, target string) error

	// Mounts returns the mount table of this process (/proc/self/mountinfo), in its order.
	Mounts() ([]Mount, error)

	// Stopped returns why the file system of a mount takes no more writes, or no more calls, although it was mounted for them;
	// empty where it does.
	Stopped(m Mount) (string, error)

	// Device returns the number and size of a block device, given the path of its node or of
	// something it is bound to. NotFound if the path is not there or no block device.
	Device(path string) (Device, error)

	// DevicesByName returns the devices of the machine with what the kernel calls them, and asks no file or disk for more.
	DevicesByName() ([]BlockDevice, error)

	// DetachDevice takes a device away that DevicesByName has found, unless it has another file or UUID by now: that is nil.
	// InUse while it is mounted or open, or its node bound for the owner.
	DetachDevice(ctx context.Context, d BlockDevice, owner string) error

	// Usage returns the use of the file system at path (statfs). It starts no process.
	Usage(path string) (Usage, error)

	// Claim opens the device exclusively (O_EXCL) until release is called, Busy if a mount or a mkfs
	// holds it. InUse if what is on it is mounted through another loop device.
	Claim(device string) (release func(), err error)

	// Elsewhere looks for a file system that lives on a device, which Claim then refuses, and is mounted in other mount
	// namespaces only. Mount shares it. One that was left frozen and is mounted nowhere is thawed, which ends its life.
	Elsewhere(device string) (Elsewhere, error)
}

// Signature is what Probe found on a device.
type Signature struct {
	Type  string // as blkid names it (ext4, xfs, btrfs, crypto_LUKS, LVM2_member, swap ...); "partitions" for a partition table
	UUID  string // of the file system, as blkid prints it
	Blank bool   // blkid finds nothing, and the first and the last MiB read as zeros
}

// Format says which file system to make.
type Format struct {
	Type volume.FSType
	Args []string // further arguments for mkfs, checked by volume.Parameters.CheckMkfs

	Unwiped bool // the device reads as zeros only at its ends
}

// Mount is one line of the mount table.
type Mount struct {
	Target   string       // where it is mounted
	Device   DeviceNumber // of the file system; of devtmpfs for a bound device node
	Root     string       // the part of the file system that is mounted: "/", or "/loop3" for a bound device node
	FSType   string
	Source   string // as given to mount, mostly a path
	ReadOnly bool   // of this mount, or of the whole file system
	Stopped  string // why the file system takes no more writes, or no more calls, although it was mounted for them; as far as the table says
}

// DeviceNumber is the major and minor number of a device.
type DeviceNumber struct{ Major, Minor uint32 }

// Device is a block device.
type Device struct {
	Number    DeviceNumber
	SizeBytes volume.Size
}

// Usage is the use of a mounted file system, sizes in bytes (statfs(2)).
type Usage struct {
	TotalBytes, UsedBytes, AvailableBytes int64
	TotalInodes, UsedInodes, FreeInodes   int64
}
