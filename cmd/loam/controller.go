package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/controller/fleet"
	"github.com/loam-storage/loam/controller/fleet/kubernetes"
	"github.com/loam-storage/loam/controller/fleet/link"
	"github.com/loam-storage/loam/driver"
	"github.com/loam-storage/loam/driver/volume"
)

// controllerOptions is what the controller of a cluster is told on its command line.
type controllerOptions struct {
	endpoint, listen, http string
	namespace, pod         string
	service, nodeAccount   string
	certificate, key       string
	clientCA               string
	ignored                []string
}

func controllerCommand() *cobra.Command {
	var o controllerOptions
	c := &cobra.Command{
		Use:   "controller",
		Short: "Serve the CSI Controller services over all nodes of a cluster",
		Long: `Serve the CSI Controller services over all nodes of a cluster, on a socket for the sidecars. Each call
is passed on to the node that it is about. The nodes connect to --listen.

In Kubernetes a node says who it is with a token of its service account. Elsewhere give --client-ca, and
each node a certificate whose one DNS name is that of the machine.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runController(klog.NewContext(c.Context(), klog.Background()), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.endpoint, "endpoint", "", "socket to serve on (default: $CSI_ENDPOINT, else "+defaultEndpoint+")")
	f.StringVar(&o.listen, "listen", ":9443", "host:port that nodes connect to")
	f.StringVar(&o.http, "http", "", "host:port to serve /metrics, /healthz and /readyz on; off where it is not given")
	f.StringVar(&o.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "namespace of the controller (default: $POD_NAMESPACE)")
	f.StringVar(&o.pod, "pod", os.Getenv("POD_NAME"), "pod of the controller (default: $POD_NAME)")
	f.StringVar(&o.service, "service", "loam-controller", "headless service by which nodes find the controller")
	f.StringVar(&o.nodeAccount, "node-service-account", "loam-node", "service account of the nodes")
	f.StringVar(&o.certificate, "certificate", "", "file with the certificate of the controller (default: it makes one, and an authority for it)")
	f.StringVar(&o.key, "key", "", "file with the key of the certificate")
	f.StringVar(&o.clientCA, "client-ca", "", "file with the authorities of the nodes' certificates; without it nodes have tokens")
	f.StringArrayVar(&o.ignored, "ignore-node", nil, "name of a node of which nothing is believed that it says it has, so that its names keep nothing from being made elsewhere; once for each")
	return c
}

// runController serves until ctx ends.
func runController(ctx context.Context, o controllerOptions) (err error) {
	if err := checkPair(o.certificate, o.key); err != nil {
		return err
	}
	if o.clientCA != "" && o.certificate == "" {
		return volume.Errorf(volume.Invalid, "--client-ca: outside of Kubernetes the controller needs a certificate of its own, in --certificate and --key")
	}
	fleet.CollectEarly()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	listening, nodes, err := o.listener(ctx)
	if err != nil {
		return err
	}
	tcp, err := net.Listen("tcp", o.listen)
	if err != nil {
		return volume.Errorf(volume.InUse, "--listen %q: %w", o.listen, err)
	}
	server, err := driver.New(driver.Config{
		Endpoint: endpointOf(o.endpoint, defaultEndpoint), Version: version(),
		Controller: nodes, Group: nodes, Forwards: true, HTTPAddress: o.http,
		Nodes: nodes.Count,
	})
	if err != nil {
		return errors.Join(err, tcp.Close())
	}
	klog.FromContext(ctx).Info("waiting for nodes", "address", tcp.Addr().String())
	// The connections outlive the signal to stop: calls at work end over them.
	linked, unlink := context.WithCancel(context.WithoutCancel(ctx))
	defer unlink()
	ended := make(chan error, 1)
	go func() {
		ended <- link.NewListener(listening).Serve(linked, tcp)
		stop() // to be started again: nothing can be routed without nodes
	}()
	err = server.Serve(ctx)
	unlink()
	return errors.Join(err, <-ended)
}

// listener returns how nodes are let in, and what they are let into.
func (o controllerOptions) listener(ctx context.Context) (link.ListenerConfig, *fleet.Fleet, error) {
	var c link.ListenerConfig
	if o.clientCA != "" {
		if _, err := readAuthorities(o.clientCA); err != nil {
			return c, nil, volume.Errorf(volume.Invalid, "--client-ca: %w", err)
		}
		nodes := fleet.New(fleet.Config{Ignored: nodeNames(o.ignored)})
		return link.ListenerConfig{
			TLS:       &tls.Config{GetCertificate: o.ownCertificate},
			ClientCAs: func() (*x509.CertPool, error) { return readAuthorities(o.clientCA) },
			Identify:  link.Certificate, Connect: nodes.Connect,
		}, nodes, nil
	}
	if o.namespace == "" || o.pod == "" {
		return c, nil, volume.Errorf(volume.Invalid, "--namespace and --pod are missing: set POD_NAMESPACE and POD_NAME, or give --client-ca outside of Kubernetes")
	}
	api, err := kubernetes.InCluster()
	if err != nil {
		return c, nil, err
	}
	serve := o.ownCertificate
	if o.certificate == "" {
		authority := kubernetes.NewAuthority(api, o.namespace, o.names())
		if err := authority.Refresh(ctx); err != nil {
			return c, nil, err
		}
		go authority.Run(ctx)
		serve = authority.Certificate
	}
	cluster := kubernetes.NewCluster(api, o.namespace, o.pod)
	nodes := fleet.New(fleet.Config{Cluster: cluster, FirstOnly: true, Ignored: nodeNames(o.ignored)})
	return link.ListenerConfig{
		TLS:      &tls.Config{GetCertificate: serve},
		Nodes:    cluster.NodeNames,
		Identify: kubernetes.NewIdentity(api, o.namespace, o.nodeAccount).Identify, Connect: nodes.Connect,
	}, nodes, nil
}

// nodeNames returns what nodes of those names are called in handles.
func nodeNames(names []string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = volume.NodeName(name)
	}
	return all
}

// names returns the DNS names by which nodes may call the controller.
func (o controllerOptions) names() []string {
	var names []string
	for _, suffix := range []string{"", ".svc", ".svc.cluster.local"} {
		service := fmt.Sprintf("%s.%s%s", o.service, o.namespace, suffix)
		names = append(names, service, "*."+service)
	}
	return names
}

// ownCertificate reads the certificate of the user for each connection, so it may be replaced at any time.
func (o controllerOptions) ownCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(o.certificate, o.key)
	if err != nil {
		return nil, err
	}
	return &pair, nil
}
