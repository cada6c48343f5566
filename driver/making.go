package driver

import (
	"context"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/loam-storage/loam/driver/inventory"
	"github.com/loam-storage/loam/driver/volume"
)

// tellMaking puts the names of the volumes that are being made into the inventory, and beside a list of volumes, which is what
// controllers of earlier releases ask for. A controller that has taken over from another one learns so what to ask this node for
// again, instead of having it made on another one.
func (g *gate) tellMaking(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if r, lists := req.(*inventory.ListInventoryRequest); lists && r.GetToken() == "" {
		names := g.making() // before the inventory is read: what is made by then is in it
		resp, err := handler(ctx, req)
		if answer, ok := resp.(*inventory.ListInventoryResponse); ok {
			answer.Making = names
		}
		return resp, err
	}
	if _, lists := req.(*csi.ListVolumesRequest); lists {
		// Before the list is read: what is made by then is in it.
		if names := g.making(); len(names) > 0 {
			if err := grpc.SetHeader(ctx, metadata.MD{volume.MetadataMaking: names}); err != nil {
				return nil, err
			}
		}
	}
	return handler(ctx, req)
}

// making returns the names of the volumes that calls are creating, their callers waiting or not.
func (g *gate) making() (names []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for held, h := range g.held {
		if name, isVolume := strings.CutPrefix(held, aVolume); isVolume && !h.shared && h.method == "CreateVolume" {
			names = append(names, name)
		}
	}
	return names
}
