// Package identity says which pool a pool is. A pool carries its identity, written when it is made, and the
// machine remembers in a place that is not on the pool which pools it has opened. What is found at a pool's
// place is compared with both whenever the pool is opened, so a disk that is not mounted, another pool in its
// place, or the pool of another node is told from a pool that is to be made.
package identity

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/loam-storage/loam/driver/volume"
)

// version is that of the identities written here.
const version = 1

// Kind is how a pool keeps its volumes. A pool never changes its kind.
type Kind string

// The kinds.
const (
	LoopDirectory  Kind = "loop/directory"  // image files in a directory as it is
	LoopFilesystem Kind = "loop/filesystem" // image files in a file system of the pool's own
	LVMThick       Kind = "lvm/thick"       // logical volumes in a volume group
	LVMThin        Kind = "lvm/thin"        // thin volumes in a thin pool
)

// How a pool came to its identity.
const (
	Made    = "made"    // with the pool
	Adopted = "adopted" // by a pool of a release that wrote none
)

// Identity is what a pool carries.
type Identity struct {
	Version int       `json:"version"`
	ID      string    `json:"id"` // random
	Node    string    `json:"node"`
	Pool    string    `json:"pool"` // its name
	Kind    Kind      `json:"kind"`
	How     string    `json:"how"` // Made or Adopted
	Created time.Time `json:"created"`
}

// New returns the identity of a pool that has none yet.
func New(at Place, how string) Identity {
	return Identity{
		Version: version, ID: strings.ToLower(rand.Text()), Node: at.Node, Pool: at.Pool, Kind: at.Kind, How: how,
		Created: time.Now().UTC().Truncate(time.Second),
	}
}

// String describes the pool in a message.
func (i Identity) String() string {
	return fmt.Sprintf("pool %q of node %q (%s, id %s, %s %s)", i.Pool, i.Node, i.Kind, i.ID, i.How, i.Created.Format(time.DateOnly))
}

// Text is the identity as a file has it.
func (i Identity) Text() ([]byte, error) {
	text, err := json.Marshal(i)
	return append(text, '\n'), err
}

// Parse reads such a file. The kind of its error is Unavailable: whose pool it is cannot be said.
func Parse(text []byte) (Identity, error) {
	var i Identity
	if err := json.Unmarshal(bytes.TrimSpace(text), &i); err != nil {
		return Identity{}, volume.Errorf(volume.Unavailable, "the identity of the pool is damaged: %w", err)
	}
	return i, i.Check()
}

// Check says whether it is an identity that this release understands. The kind of its error is Unavailable.
func (i Identity) Check() error {
	switch {
	case i.Version > version:
		return volume.Errorf(volume.Unavailable, "the identity of the pool is of version %d, and this loam knows version %d: start the later loam that wrote it", i.Version, version)
	case i.Version < 1 || i.ID == "" || i.Node == "" || i.Pool == "" || i.Kind == "":
		return volume.Errorf(volume.Unavailable, "the identity of the pool is damaged: it says %+v", i)
	}
	return nil
}
