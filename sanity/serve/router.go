package serve

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/loam-storage/loam/controller/fleet"
	"github.com/loam-storage/loam/controller/fleet/link"
	"github.com/loam-storage/loam/driver"
)

// Router is the controller of a cluster that is serving: nodes dial it over TLS, and its clients call them
// through it. A node's token is its name, for who may say so is another matter.
type Router struct {
	Driver // without the node service
	Fleet  *fleet.Fleet

	Address  string // host:port that nodes dial
	trust    *tls.Config
	links    context.Context
	unlink   context.CancelFunc
	dialing  sync.WaitGroup
	listened chan error
}

// RouterConfig says where a Router serves.
type RouterConfig struct {
	Socket      string // path
	Listen      string // host:port that nodes are to dial; any port of 127.0.0.1 where it is empty
	Certificate string // file of WriteCertificate
}

// StartRouter returns a controller without nodes.
func StartRouter(ctx context.Context, c RouterConfig) (*Router, error) {
	pair, err := tls.LoadX509KeyPair(c.Certificate, c.Certificate)
	if err != nil {
		return nil, err
	}
	trust, err := Trust(c.Certificate)
	if err != nil {
		return nil, err
	}
	tcp, err := net.Listen("tcp", cmp.Or(c.Listen, "127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	r := &Router{Fleet: fleet.New(fleet.Config{Settle: time.Nanosecond}), Address: tcp.Addr().String(), trust: trust, listened: make(chan error, 1)}
	r.Endpoint, r.served = "unix://"+c.Socket, make(chan error, 1)
	server, err := driver.New(driver.Config{Endpoint: c.Socket, Version: "sanity", Controller: r.Fleet, Group: r.Fleet, Forwards: true})
	if err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	if r.connection, err = grpc.NewClient(r.Endpoint, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	ctx = context.WithoutCancel(ctx)
	r.links, r.unlink = context.WithCancel(ctx)
	listener := link.NewListener(link.ListenerConfig{
		TLS: &tls.Config{Certificates: []tls.Certificate{pair}},
		Identify: func(_ context.Context, req *http.Request, _ string) (link.Proof, error) {
			name, err := link.Bearer(req)
			return link.Proof{Machine: name}, err
		},
		Connect: r.Fleet.Connect,
	})
	go func() { r.listened <- listener.Serve(r.links, tcp) }()
	serving, stop := context.WithCancel(ctx)
	r.stop = stop
	go func() { r.served <- server.Serve(serving) }()
	r.Identity, r.Controller, r.Group = csi.NewIdentityClient(r.connection), csi.NewControllerClient(r.connection), csi.NewGroupControllerClient(r.connection)
	if _, err := r.Identity.Probe(ctx, &csi.ProbeRequest{}, grpc.WaitForReady(true)); err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, nil
}

// Dial connects a driver that is InCluster as the node of that name, and returns when it is.
func (r *Router) Dial(ctx context.Context, name string, d *Driver) error {
	nodes := r.Fleet.Count()
	r.dialing.Go(func() {
		link.Dialer{Address: r.Address, Node: name, Server: d.Remote,
			TLS:   func() (*tls.Config, error) { return r.trust, nil },
			Token: func() (string, error) { return name, nil },
		}.Run(r.links)
	})
	for r.Fleet.Count() == nodes {
		select {
		case <-time.After(5 * time.Millisecond): // between two looks
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Stop ends the controller and its connections. The nodes stay. It is called once.
func (r *Router) Stop() error {
	err := r.Driver.Stop()
	r.unlink()
	r.dialing.Wait()
	return errors.Join(err, <-r.listened)
}
