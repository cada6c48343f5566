package hostile_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/controller/fleet/link"
	"github.com/loam-storage/loam/driver/inventory"
)

// lie is how a node that somebody has taken over answers. Where it says nothing of a call, that is UNIMPLEMENTED.
type lie struct {
	csi.UnimplementedControllerServer
	inventory.UnimplementedInventoryServer
	asked    atomic.Int64 // how often
	pages    atomic.Int64
	names    func(page int64) *inventory.ListInventoryResponse
	volumes  func(*csi.ListVolumesRequest) *csi.ListVolumesResponse
	capacity *csi.GetCapacityResponse
	create   func(*csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error)
	fails    string // is the error of all calls
	hangs    bool
	again    bool // it connects anew all the time
}

// lies are the attacks of a node that has proved who it is.
func lies() map[string]*lie {
	page := func(volumes ...string) *inventory.ListInventoryResponse {
		return &inventory.ListInventoryResponse{DefaultPool: "default", Pools: []*inventory.Pool{{Name: "default", Volumes: volumes}}}
	}
	nothing := func(int64) *inventory.ListInventoryResponse { return page() }
	thousand := func(n int64) (all []string) {
		for i := range 1000 {
			all = append(all, fmt.Sprintf("claimed-%d-%d-%s", n, i, strings.Repeat("x", 15)))
		}
		return all
	}
	most := &csi.GetCapacityResponse{AvailableCapacity: math.MaxInt64}
	full := func(*csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
		return nil, status.Error(codes.ResourceExhausted, "after all there is no room")
	}
	ofAnother := &csi.Volume{VolumeId: "n1/default/kept", CapacityBytes: 1 << 20, AccessibleTopology: []*csi.Topology{{Segments: map[string]string{"loam.storage/node": "n1"}}}}
	return map[string]*lie{
		"claims 400,000 names": {names: func(n int64) *inventory.ListInventoryResponse {
			p := page(thousand(n)...)
			if n%400 != 0 {
				p.NextToken = fmt.Sprint(n)
			}
			return p
		}},
		"pages without end": {
			names: func(n int64) *inventory.ListInventoryResponse {
				p := page(thousand(n)...)
				p.NextToken = fmt.Sprint(n)
				return p
			},
			volumes: endless,
		},
		"errors of 8 MiB":           {fails: "\x1b[2J\nI0101 00:00:00 all is well\n" + strings.Repeat("!\n\x1b[31m", 1<<20)},
		"errors as large as may be": {fails: strings.Repeat("!\n\x1b[31m", 8<<10)},
		"a capacity without end":    {names: nothing, capacity: most, create: full},
		"a capacity below nothing":  {names: nothing, capacity: &csi.GetCapacityResponse{AvailableCapacity: math.MinInt64}, create: full},
		"hangs":                     {hangs: true},
		"connects again and again":  {names: nothing, capacity: most, create: full, again: true},
		"speaks for another node": {names: nothing, capacity: most,
			volumes: func(*csi.ListVolumesRequest) *csi.ListVolumesResponse {
				return &csi.ListVolumesResponse{Entries: []*csi.ListVolumesResponse_Entry{{Volume: ofAnother}}}
			},
			create: func(*csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
				return &csi.CreateVolumeResponse{Volume: ofAnother}, nil
			},
		},
	}
}

// endless answers with a page that fits what is asked for, and another one behind it.
func endless(req *csi.ListVolumesRequest) *csi.ListVolumesResponse {
	var from int
	_, _ = fmt.Sscanf(req.GetStartingToken(), "evil/default/v%d", &from) // which the first one has none of
	page := &csi.ListVolumesResponse{}
	for i := range int(req.GetMaxEntries()) {
		page.NextToken = fmt.Sprintf("evil/default/v%09d", from+i+1)
		page.Entries = append(page.Entries, &csi.ListVolumesResponse_Entry{Volume: &csi.Volume{VolumeId: page.NextToken, CapacityBytes: 1 << 20,
			AccessibleTopology: []*csi.Topology{{Segments: map[string]string{"loam.storage/node": "evil"}}}}})
	}
	return page
}

// beHostile connects as the node "evil" until ctx ends.
func beHostile(ctx context.Context, address string, of certificates, l *lie) error {
	ctx = klog.NewContext(ctx, klog.Logger{})
	server := grpc.NewServer(append(link.ServerOptions(), grpc.UnaryInterceptor(l.intercept))...)
	csi.RegisterControllerServer(server, l)
	inventory.RegisterInventoryServer(server, l)
	defer server.Stop()
	dialer := link.Dialer{Address: address, Node: "evil", Server: server, TLS: func() (*tls.Config, error) { return of.of("evil") }}
	for ctx.Err() == nil {
		once, end := context.WithCancel(ctx)
		if l.again {
			time.AfterFunc(20*time.Millisecond, end)
		}
		dialer.Run(once)
		end()
	}
	fmt.Println(l.asked.Load())
	return nil
}

func (l *lie) intercept(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	l.asked.Add(1)
	switch {
	case l.hangs:
		<-ctx.Done()
		return nil, ctx.Err()
	case l.fails != "":
		return nil, status.Error(codes.Internal, l.fails)
	}
	return handler(ctx, req)
}

func (l *lie) ListInventory(context.Context, *inventory.ListInventoryRequest) (*inventory.ListInventoryResponse, error) {
	return l.names(l.pages.Add(1)), nil
}

func (l *lie) ListVolumes(_ context.Context, req *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	if l.volumes == nil {
		return &csi.ListVolumesResponse{}, nil
	}
	return l.volumes(req), nil
}

func (l *lie) GetCapacity(context.Context, *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	if l.capacity == nil {
		return &csi.GetCapacityResponse{}, nil
	}
	return l.capacity, nil
}

func (l *lie) CreateVolume(_ context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if l.create == nil {
		return nil, status.Error(codes.ResourceExhausted, "no room")
	}
	return l.create(req)
}
