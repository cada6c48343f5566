package fleet

import (
	"context"
	"errors"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/driver/inventory"
	"github.com/loam-storage/loam/driver/volume"
)

// told is what a node says that it has.
type told struct {
	has         map[thing]string // the pool that it is in
	making      map[string]bool  // names of volumes that calls are creating
	unreadable  map[string]string
	defaultPool string // empty where the node does not say
}

func newTold() told {
	return told{has: map[thing]string{}, making: map[string]bool{}, unreadable: map[string]string{}}
}

// What is believed of one node, which somebody may have taken over: so many names, so many pools, and so long a reason. A node
// that has more is not listed, as one that does not answer.
const (
	mostNames  = 500_000
	mostPools  = 1000
	mostReason = 300
)

// everything asks the node what it has.
func (n *node) everything(ctx context.Context) (told, error) {
	t, err := n.listInventory(ctx)
	if status.Code(err) == codes.Unimplemented { // of a release without it
		return n.listCSI(ctx)
	}
	return t, err
}

func (n *node) listInventory(ctx context.Context) (told, error) {
	t := newTold()
	err := pages(func(token string) (next string, err error) {
		page, err := n.inventory.ListInventory(ctx, &inventory.ListInventoryRequest{Token: token, MaxNames: pageEntries})
		if err == nil {
			err = t.add(n.name, page)
		}
		return page.GetNextToken(), err
	})
	return t, err
}

// add takes over a page. The kind of its error is Internal where the page says what cannot be, or too much.
func (t *told) add(node string, page *inventory.ListInventoryResponse) error {
	if err := checkPool(node, page.GetDefaultPool()); err != nil {
		return err
	}
	t.defaultPool = strings.Clone(page.GetDefaultPool())
	for _, name := range page.GetMaking() {
		if err := checkName(volume.ID{Node: node, Pool: anyPool, Name: name}); err != nil {
			return err
		}
		t.making[name] = true
	}
	for _, p := range page.GetPools() {
		if err := checkPool(node, p.GetName()); err != nil {
			return err
		}
		pool := strings.Clone(p.GetName()) // and not all of the page with it
		if p.GetUnreadable() != "" {
			t.unreadable[pool] = volume.Printable(p.GetUnreadable(), mostReason)
		}
		for _, name := range p.GetVolumes() {
			if err := t.put(node, pool, name, aVolume); err != nil {
				return err
			}
		}
		for _, name := range p.GetSnapshots() {
			if err := t.put(node, pool, name, aSnapshot); err != nil {
				return err
			}
		}
	}
	return t.checkSize(node)
}

// checkSize says that this is more than one node can have. The kind of its error is Internal.
func (t *told) checkSize(node string) error {
	if len(t.has)+len(t.making) > mostNames || len(t.unreadable) > mostPools {
		return volume.Errorf(volume.Internal, "node %q: its inventory has more than %d names or %d pools, and is not used", node, mostNames, mostPools)
	}
	return nil
}

func (t *told) put(node, pool, name string, kind func(string) thing) error {
	if err := checkName(volume.ID{Node: node, Pool: pool, Name: name}); err != nil {
		return err
	}
	t.has[kind(name)] = pool
	return nil
}

func checkPool(node, name string) error {
	if err := volume.CheckPoolName(name); err != nil {
		return volume.Errorf(volume.Internal, "node %q: its inventory: %w", node, err)
	}
	return nil
}

// anyPool stands in the handle by which a name is checked that is told without its pool.
const anyPool = "any"

func checkName(id volume.ID) error {
	if parsed, err := volume.ParseID(id.String()); err != nil || parsed != id {
		return volume.Errorf(volume.Internal, "node %q: its inventory has %.200q, which is no name", id.Node, id.Name)
	}
	return nil
}

// listCSI is what is asked of a node that has no inventory. One with a pool that cannot be read gives no list at all.
func (n *node) listCSI(ctx context.Context) (told, error) {
	t := newTold()
	put := func(handle string, kind func(string) thing) {
		if id, err := volume.ParseID(handle); err == nil {
			t.has[kind(id.Name)] = id.Pool
		}
	}
	err := pages(func(token string) (next string, err error) {
		var beside metadata.MD
		r, err := n.controller.ListVolumes(ctx, &csi.ListVolumesRequest{MaxEntries: pageEntries, StartingToken: token}, grpc.Header(&beside))
		for _, name := range beside.Get(volume.MetadataMaking) {
			if checkName(volume.ID{Node: n.name, Pool: anyPool, Name: name}) == nil {
				t.making[name] = true
			}
		}
		for _, e := range r.GetEntries() {
			put(e.GetVolume().GetVolumeId(), aVolume)
		}
		return r.GetNextToken(), errors.Join(err, t.checkSize(n.name))
	})
	if err != nil {
		return t, err
	}
	err = pages(func(token string) (next string, err error) {
		r, err := n.controller.ListSnapshots(ctx, &csi.ListSnapshotsRequest{MaxEntries: pageEntries, StartingToken: token})
		for _, e := range r.GetEntries() {
			put(e.GetSnapshot().GetSnapshotId(), aSnapshot)
		}
		return r.GetNextToken(), errors.Join(err, t.checkSize(n.name))
	})
	return t, err
}

// pages calls page with the token of each page in turn, the empty one first, until there is none further. A token
// that leads to itself ends it too.
func pages(page func(token string) (next string, err error)) error {
	for token := ""; ; {
		next, err := page(token)
		if err != nil || next == "" || next == token {
			return err
		}
		token = next
	}
}
