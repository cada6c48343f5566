// Package serve runs the real driver inside a test or a measurement: the services over given pools, on
// a socket, and clients that call it there.
package serve

import (
	"context"
	"errors"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/loam-storage/loam/controller"
	"github.com/loam-storage/loam/controller/fleet/link"
	"github.com/loam-storage/loam/driver"
	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/node"
)

// Config says what is served, and where.
type Config struct {
	Socket     string    // path, at most 107 bytes long
	Pools      *pool.Set // they stay the caller's to close, after Stop
	Machine    host.Machine
	MaxVolumes int  // how many volumes may be attached at once; 0 for no limit
	InCluster  bool // controllers may call it over connections of its own
}

// Driver is a driver that is serving, and clients of each of its services.
type Driver struct {
	Endpoint   string // unix:///path of the socket
	Identity   csi.IdentityClient
	Controller csi.ControllerClient
	Group      csi.GroupControllerClient
	Node       csi.NodeClient
	Remote     *grpc.Server // for link.Dialer; nil unless InCluster

	connection *grpc.ClientConn
	stop       context.CancelFunc
	served     chan error
}

// Start returns a driver that has answered its first call. The context ends waiting for that and not
// the driver, which serves until Stop; its logger is the one that the driver logs with.
func Start(ctx context.Context, c Config) (*Driver, error) {
	d := &Driver{Endpoint: "unix://" + c.Socket, served: make(chan error, 1)}
	control := controller.New(controller.Config{Pools: c.Pools, MaxVolumes: c.MaxVolumes})
	server, err := driver.New(driver.Config{
		Endpoint: d.Endpoint, Version: "sanity", Controller: control, Group: control, Inventory: controller.NewInventory(c.Pools),
		Node: node.New(node.Config{Pools: c.Pools, Machine: c.Machine, MaxVolumes: c.MaxVolumes}),
	})
	if err != nil {
		return nil, err
	}
	if c.InCluster {
		d.Remote = server.Remote(ctx, link.ServerOptions()...)
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.stop = stop
	go func() { d.served <- server.Serve(serving) }()

	if d.connection, err = grpc.NewClient(d.Endpoint, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		return nil, errors.Join(err, d.Stop())
	}
	d.Identity, d.Node = csi.NewIdentityClient(d.connection), csi.NewNodeClient(d.connection)
	d.Controller, d.Group = csi.NewControllerClient(d.connection), csi.NewGroupControllerClient(d.connection)
	if _, err := d.Identity.Probe(ctx, &csi.ProbeRequest{}, grpc.WaitForReady(true)); err != nil {
		return nil, errors.Join(err, d.Stop())
	}
	return d, nil
}

// Stop ends the driver as SIGTERM ends loam: calls at work end first, and what is attached and mounted
// stays so. It is called once.
func (d *Driver) Stop() error {
	var closed error
	if d.connection != nil {
		closed = d.connection.Close()
	}
	d.stop()
	return errors.Join(closed, <-d.served)
}
