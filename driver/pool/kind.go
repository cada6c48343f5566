package pool

import (
	"context"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/volume"
)

// Kind is a kind of pool: what the configuration file calls it, and what reads that section of it.
type Kind struct {
	Key string // under which a pool of this kind has its section

	// Parse reads the section and says what is wrong in it with the section's own methods. Nil is returned only with
	// something wrong.
	Parse func(s *config.Section) Settings

	// InDirectory returns the section of a pool that is made in a directory that need not exist, with a file system of its own
	// of that size; 0: on the file system of the directory. Nil: such pools are not in directories.
	InDirectory func(directory string, sizeBytes volume.Size) string
}

// Settings says what a pool of one kind is. They were checked.
type Settings interface {
	// Where says where the pool is, for the log.
	Where() string

	// Open opens the pool of that name to serve it.
	Open(ctx context.Context, name string, on Machine) (Pool, error)

	// Inspect opens the pool only to look at it, which also works while another process has it open.
	Inspect(ctx context.Context, name string, on Machine) (Pool, error)

	// Apart refuses a pool that cannot stand beside another one, whose name is given for the message. What a disk has to be asked
	// for is not its matter.
	Apart(other Settings, name string) error

	// Shares returns the device of the file system that the pool shares with others, 0 for one that has all its space for
	// itself, and whether it promises more of that than it has taken. Of two that share one, none may promise.
	Shares() (device uint64, promises bool, err error)
}

// Machine is where a pool is opened.
type Machine struct {
	Node  string // as in handles
	Host  *host.Host
	State string // the directory of what the machine remembers of its pools; empty: it remembers nothing

	// Throwaway says that what is in the pool need not outlive the machine, so it may be on tmpfs.
	Throwaway bool
}
