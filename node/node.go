// Package node serves the CSI Node service: it makes a volume of this machine's pools usable at a
// path, and takes it away again. Errors are ordinary ones with a volume.Kind; package driver makes
// gRPC statuses of them.
package node

import (
	"cmp"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
)

// Config says what a Server serves.
type Config struct {
	Pools      *pool.Set
	Machine    host.Machine
	MaxVolumes int // how many volumes the orchestrator may put on this machine; 0 for no limit

	Ephemeral map[string]Ephemeral // what inline volumes a pool takes, by its name; all of them where there is none

	// Patience is how long a pool is asked about a volume that leaves the node, before it goes without the pool; 0 for 20 s. An
	// inline volume that cannot be deleted is left in its pool after three times as long.
	Patience time.Duration
}

// Ephemeral limits inline ephemeral volumes of a pool, which whoever may write a pod can ask for.
type Ephemeral struct {
	Refused  bool        // none are made
	MaxBytes volume.Size // that one may ask for; 0 for no limit
}

// Server is the CSI Node service.
type Server struct {
	csi.UnimplementedNodeServer
	pools      *pool.Set
	machine    host.Machine
	maxVolumes int
	ephemeral  map[string]Ephemeral
	patience   time.Duration
	undeleted  undeleted
	unanswered unanswered
}

// New returns the service over the given pools and machine.
func New(c Config) *Server {
	return &Server{
		pools: c.Pools, machine: c.Machine, maxVolumes: c.MaxVolumes, ephemeral: c.Ephemeral, patience: cmp.Or(c.Patience, defaultPatience),
	}
}
