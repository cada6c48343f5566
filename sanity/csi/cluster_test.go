package csi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/loam-storage/loam/controller/fleet"
	"github.com/loam-storage/loam/controller/fleet/link"
	"github.com/loam-storage/loam/driver"
	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/serve"
)

// cluster makes a cluster of the driver, as the node that the suite mounts on, and of others, and returns its
// controller. The nodes dial it over TLS.
func (m mode) cluster(ctx context.Context, dir string, first *serve.Driver) (_ *serve.Driver, stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var ending []func() error
	var dialing sync.WaitGroup
	stop = func() error {
		cancel()
		dialing.Wait()
		var errs []error
		for i := len(ending) - 1; i >= 0; i-- {
			errs = append(errs, ending[i]())
		}
		return errors.Join(errs...)
	}
	nodes := fleet.New(fleet.Config{Settle: time.Nanosecond})
	address, trusted, err := listen(ctx, nodes, &ending)
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	dial := func(name string, server *grpc.Server) {
		dialing.Go(func() {
			link.Dialer{Address: address, Node: name, Server: server,
				TLS:   func() (*tls.Config, error) { return &tls.Config{RootCAs: trusted}, nil },
				Token: func() (string, error) { return name, nil },
			}.Run(ctx)
		})
	}
	dial(nodeName, first.Remote)
	for i := 1; i < m.nodes; i++ {
		name := fmt.Sprintf("%s-%d", nodeName, i)
		p := memory.New(poolName, name, volume.GiB)
		set, err := pool.NewSet(name, p)
		if err != nil {
			return nil, nil, errors.Join(err, stop())
		}
		d, err := serve.Start(ctx, serve.Config{Socket: filepath.Join(dir, name+".sock"), Pools: set, Machine: hosttest.New(), InCluster: true})
		if err != nil {
			return nil, nil, errors.Join(err, stop())
		}
		ending = append(ending, func() error { return errors.Join(d.Stop(), p.Close()) })
		dial(name, d.Remote)
	}
	controller, err := route(ctx, filepath.Join(dir, "controller.sock"), nodes, &ending)
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	for len(nodes.Connected()) < m.nodes {
		select {
		case <-time.After(10 * time.Millisecond): // between two looks
		case <-ctx.Done():
		}
	}
	return controller, stop, nil
}

// listen lets nodes connect. Their token is their name: who may say so is another test's matter.
func listen(ctx context.Context, nodes *fleet.Fleet, ending *[]func() error) (address string, trusted *x509.CertPool, err error) {
	certified := httptest.NewUnstartedServer(nil) // which has a certificate
	certified.StartTLS()
	defer certified.Close()
	trusted = x509.NewCertPool()
	trusted.AddCert(certified.Certificate())
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	l := link.NewListener(link.ListenerConfig{
		TLS:      &tls.Config{Certificates: certified.TLS.Certificates},
		Identify: func(_ context.Context, r *http.Request, _ string) (string, error) { return link.Bearer(r) },
		Connect:  nodes.Connect,
	})
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- l.Serve(ctx, tcp) }()
	*ending = append(*ending, func() error { cancel(); return <-ended })
	return tcp.Addr().String(), trusted, nil
}

// route serves the controller of the nodes on a socket.
func route(ctx context.Context, socket string, nodes *fleet.Fleet, ending *[]func() error) (*serve.Driver, error) {
	server, err := driver.New(driver.Config{Endpoint: socket, Version: "sanity", Controller: nodes, Group: nodes})
	if err != nil {
		return nil, err
	}
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- server.Serve(serving) }()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	*ending = append(*ending, func() error { cancel(); return errors.Join(<-served, conn.Close()) })
	if err != nil {
		return nil, err
	}
	return &serve.Driver{Endpoint: "unix://" + socket, Identity: csi.NewIdentityClient(conn), Controller: csi.NewControllerClient(conn), Group: csi.NewGroupControllerClient(conn)}, nil
}
