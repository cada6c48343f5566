package fleet

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/driver/volume"
)

// call is one RPC of a node's client, such as csi.ControllerClient.DeleteVolume.
type call[Request, Response any] func(ctx context.Context, req Request, opts ...grpc.CallOption) (Response, error)

// pass makes a call to a node, with the deadline and the metadata of the caller. It ends with Unavailable, naming the
// node, when the connection does.
func pass[Request, Response any](ctx context.Context, n *node, do call[Request, Response], req Request) (Response, error) {
	if carried, any := metadata.FromIncomingContext(ctx); any {
		ctx = metadata.NewOutgoingContext(ctx, carried)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.left, cancel)()
	resp, err := do(ctx, req)
	if err != nil && n.left.Err() != nil {
		var none Response
		return none, volume.Errorf(volume.Unavailable, "node %q: the connection ended before the call did (%s): ask again", n.name, status.Convert(err).Message())
	}
	return resp, err
}

// byHandle passes a call on to the node that the handle names. The kind of its error is Invalid for a
// handle that is missing, NotFound for one that cannot exist, Unavailable where the node is not connected.
func byHandle[Request, Response any](ctx context.Context, f *Fleet, field, handle string, pick func(*node) call[Request, Response], req Request) (Response, error) {
	var none Response
	if handle == "" {
		return none, volume.Errorf(volume.Invalid, "%s is missing", field)
	}
	id, err := volume.ParseID(handle)
	if err != nil {
		return none, err
	}
	n, err := f.node(id.Node)
	if err != nil {
		return none, err
	}
	return pass(ctx, n, pick(n), req)
}

// ControllerPublishVolume attaches a volume on its node, which refuses any other. What is missing in the request is
// said here, also where the handle leads to no node.
func (f *Fleet) ControllerPublishVolume(ctx context.Context, req *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	if req.GetVolumeId() != "" && req.GetNodeId() == "" {
		return nil, volume.Errorf(volume.Invalid, "node_id is missing")
	}
	if req.GetVolumeId() != "" && req.GetVolumeCapability() == nil {
		return nil, volume.Errorf(volume.Invalid, "volume capability is missing")
	}
	return byHandle(ctx, f, "volume_id", req.GetVolumeId(), func(n *node) call[*csi.ControllerPublishVolumeRequest, *csi.ControllerPublishVolumeResponse] {
		return n.controller.ControllerPublishVolume
	}, req)
}

// ControllerExpandVolume makes a volume larger.
func (f *Fleet) ControllerExpandVolume(ctx context.Context, req *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	return byHandle(ctx, f, "volume_id", req.GetVolumeId(), func(n *node) call[*csi.ControllerExpandVolumeRequest, *csi.ControllerExpandVolumeResponse] {
		return func(ctx context.Context, req *csi.ControllerExpandVolumeRequest, opts ...grpc.CallOption) (*csi.ControllerExpandVolumeResponse, error) {
			defer n.forgetRoom()
			return n.controller.ControllerExpandVolume(ctx, req, opts...)
		}
	}, req)
}

// ControllerModifyVolume changes mutable parameters of a volume.
func (f *Fleet) ControllerModifyVolume(ctx context.Context, req *csi.ControllerModifyVolumeRequest) (*csi.ControllerModifyVolumeResponse, error) {
	return byHandle(ctx, f, "volume_id", req.GetVolumeId(), func(n *node) call[*csi.ControllerModifyVolumeRequest, *csi.ControllerModifyVolumeResponse] {
		return n.controller.ControllerModifyVolume
	}, req)
}

// ControllerGetVolume tells of one volume.
func (f *Fleet) ControllerGetVolume(ctx context.Context, req *csi.ControllerGetVolumeRequest) (*csi.ControllerGetVolumeResponse, error) {
	return byHandle(ctx, f, "volume_id", req.GetVolumeId(), func(n *node) call[*csi.ControllerGetVolumeRequest, *csi.ControllerGetVolumeResponse] {
		return n.controller.ControllerGetVolume
	}, req)
}

// ValidateVolumeCapabilities says what a volume can be used as.
func (f *Fleet) ValidateVolumeCapabilities(ctx context.Context, req *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	return byHandle(ctx, f, "volume_id", req.GetVolumeId(), func(n *node) call[*csi.ValidateVolumeCapabilitiesRequest, *csi.ValidateVolumeCapabilitiesResponse] {
		return n.controller.ValidateVolumeCapabilities
	}, req)
}

// GetSnapshot tells of one snapshot.
func (f *Fleet) GetSnapshot(ctx context.Context, req *csi.GetSnapshotRequest) (*csi.GetSnapshotResponse, error) {
	return byHandle(ctx, f, "snapshot_id", req.GetSnapshotId(), func(n *node) call[*csi.GetSnapshotRequest, *csi.GetSnapshotResponse] {
		return n.controller.GetSnapshot
	}, req)
}
