// Package controller serves the CSI Controller and GroupController services over the pools of this
// machine. Each RPC is a file: it parses and validates the request, asks one pool, and answers.
// Errors are ordinary ones with a volume.Kind; package driver makes gRPC statuses of them.
package controller

import (
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/pool"
)

// Config says what a Server serves.
type Config struct {
	Pools      *pool.Set
	MaxVolumes int // how many volumes may be attached to this machine at once; 0 for no limit
}

// Server is the CSI Controller and GroupController services.
type Server struct {
	csi.UnimplementedControllerServer
	csi.UnimplementedGroupControllerServer
	pools      *pool.Set
	maxVolumes int
	attaching  sync.Mutex // held from counting what is attached to attaching one more
}

// New returns the services over the given pools.
func New(c Config) *Server {
	return &Server{pools: c.Pools, maxVolumes: c.MaxVolumes}
}
