package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/controller/fleet/link"
	"github.com/loam-storage/loam/driver"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/node"
)

// nodeOptions is what a node of a cluster is told on its command line.
type nodeOptions struct {
	config, endpoint, http string
	state                  string
	name                   string
	kubeletDir             string
	controllers            []string
	ca, token              string
	certificate, key       string
}

func nodeCommand() *cobra.Command {
	var o nodeOptions
	c := &cobra.Command{
		Use:   "node",
		Short: "Serve the pools of this machine as a node of a cluster",
		Long: `Serve the pools of this machine as a node of a cluster: the kubelet on a socket, and the controllers
over connections that the node opens to them. It listens on no port for them, and never asks the
Kubernetes API anything.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runNode(klog.NewContext(c.Context(), klog.Background()), o)
		},
	}
	configFlag(c, &o.config)
	stateFlag(c, &o.state)
	f := c.Flags()
	f.StringVar(&o.name, "node", "", "name of this machine in the cluster (default: $NODE_NAME, else the host name)")
	f.StringVar(&o.kubeletDir, "kubelet-dir", "/var/lib/kubelet", "directory of the kubelet to register with; empty: none")
	f.StringVar(&o.endpoint, "endpoint", "", "socket to serve on (default: $CSI_ENDPOINT, else plugins/"+volume.DriverName+"/csi.sock of the kubelet)")
	f.StringArrayVar(&o.controllers, "controller", nil, "host:port of a replica of the controller; once for each")
	f.StringVar(&o.ca, "ca", "/var/run/loam/ca/ca.crt", "file with the certificate authorities that controllers are believed by")
	f.StringVar(&o.token, "token", "/var/run/secrets/loam/token", "file with the token that says who this is, where --certificate does not")
	f.StringVar(&o.certificate, "certificate", "", "file with the certificate that says who this is")
	f.StringVar(&o.key, "key", "", "file with the key of the certificate")
	f.StringVar(&o.http, "http", "", "host:port to serve /metrics, /healthz and /readyz on; off where it is not given")
	return c
}

// runNode serves until ctx ends.
func runNode(ctx context.Context, o nodeOptions) error {
	if o.name == "" {
		var err error
		if o.name, err = machineName(); err != nil {
			return err
		}
	}
	c, err := readConfigFor(o.config, o.name)
	if err != nil {
		return err
	}
	c.State = o.state
	if c.Node != volume.NodeName(o.name) {
		return volume.Errorf(volume.Invalid, "configuration %q: node: it is %q, and in the cluster this machine is %q: leave the key out", o.config, c.Node, o.name)
	}
	if err := checkPair(o.certificate, o.key); err != nil {
		return err
	}
	if err := checkControllers(o.controllers); err != nil {
		return err
	}
	serving := driver.Config{Endpoint: endpointOf(o.endpoint, defaultEndpoint), HTTPAddress: o.http}
	var registration *node.Registration
	if o.kubeletDir != "" {
		socket := filepath.Join(o.kubeletDir, "plugins", volume.DriverName, "csi.sock")
		serving.Endpoint = endpointOf(o.endpoint, "unix://"+socket)
		path, err := driver.SocketPath(serving.Endpoint)
		if err != nil {
			return err
		}
		registration = node.NewRegistration(o.kubeletDir, path)
		serving.Registered = registration.Registered
	}
	r, err := start(ctx, c, serving)
	if err != nil {
		return err
	}
	return errors.Join(r.serveCluster(ctx, o, registration), r.close())
}

// checkControllers refuses what could never be dialled, and an address that is there twice: a node has one
// connection to a controller, so two dialers would take it from each other for ever. The kind of its error is Invalid.
func checkControllers(addresses []string) error {
	for i, address := range addresses {
		host, port, err := net.SplitHostPort(address)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		switch {
		case err != nil || host == "":
			return volume.Errorf(volume.Invalid, "--controller %q: write host:port, as in loam-controller-0.loam-controller:9443", address)
		case slices.Contains(addresses[:i], address):
			return volume.Errorf(volume.Invalid, "--controller %q is given twice: give each replica once", address)
		}
	}
	return nil
}

// serveCluster serves the kubelet and the controllers until ctx ends. Neither waits for the other: a node
// without a controller still mounts.
func (r *running) serveCluster(ctx context.Context, o nodeOptions, registration *node.Registration) error {
	remote := r.server.Remote(ctx, link.ServerOptions()...)
	// Connections end when the server has ended their calls, and not at the signal to stop.
	linked, unlink := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	for _, address := range o.controllers {
		all.Go(func() { o.dialer(address, remote).Run(linked) })
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var registered error
	if registration != nil {
		all.Go(func() {
			if registered = registration.Serve(ctx); registered != nil {
				stop() // to be started again
			}
		})
	}
	served := r.server.Serve(ctx)
	stop()
	unlink()
	all.Wait()
	return errors.Join(served, registered)
}

func (o nodeOptions) dialer(address string, server *grpc.Server) link.Dialer {
	d := link.Dialer{Address: address, Node: o.name, TLS: o.tls, Server: server}
	if o.certificate == "" {
		d.Token = func() (string, error) {
			token, err := os.ReadFile(o.token)
			return string(token), err
		}
	}
	return d
}

// tls reads the certificates, which may have changed.
func (o nodeOptions) tls() (*tls.Config, error) {
	authorities, err := readAuthorities(o.ca)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{RootCAs: authorities}
	if o.certificate != "" {
		pair, err := tls.LoadX509KeyPair(o.certificate, o.key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
