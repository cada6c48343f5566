package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/serve"
)

// routed is how many calls are compared.
const routed = 2000

// routing measures what a call takes longer through the controller of a cluster, over TLS, than at the node's own
// socket: a call that does next to nothing, and one that makes something, over a pool in memory.
func routing(b *bench) (rows []row, err error) {
	p := memory.New(poolName, nodeName, volume.TiB)
	defer func() { err = errors.Join(err, p.Close()) }()
	set, err := pool.NewSet(nodeName, p)
	if err != nil {
		return nil, err
	}
	quietly := klog.NewContext(b, klog.Logger{}) // which is also what a call costs without its line in the log
	node, err := serve.Start(quietly, serve.Config{Socket: filepath.Join(b.dir, "node.sock"), Pools: set, Machine: hosttest.New(), InCluster: true})
	if err != nil {
		return nil, err
	}
	certificate := filepath.Join(b.dir, "controller.pem")
	if err := serve.WriteCertificate(certificate); err != nil {
		return nil, errors.Join(err, node.Stop())
	}
	b.later(func() error { return os.Remove(certificate) })
	router, err := serve.StartRouter(quietly, serve.RouterConfig{Socket: filepath.Join(b.dir, "controller.sock"), Certificate: certificate})
	if err != nil {
		return nil, errors.Join(err, node.Stop())
	}
	defer func() { err = errors.Join(err, router.Stop(), node.Stop()) }()
	if err := router.Dial(b, nodeName, node); err != nil {
		return nil, err
	}
	request := func(name string) *csi.CreateVolumeRequest {
		return &csi.CreateVolumeRequest{Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: 4096}, VolumeCapabilities: []*csi.VolumeCapability{blockAccess()}}
	}
	for _, c := range []struct {
		what string
		call func(to csi.ControllerClient, name string) error
	}{
		{"GetCapacity", func(to csi.ControllerClient, _ string) error {
			_, err := to.GetCapacity(b, &csi.GetCapacityRequest{AccessibleTopology: &csi.Topology{Segments: map[string]string{volume.TopologyKey: nodeName}}})
			return err
		}},
		{"CreateVolume", func(to csi.ControllerClient, name string) error {
			_, err := to.CreateVolume(b, request(name))
			return err
		}},
	} {
		var direct, through []time.Duration
		for i := range routed {
			for _, way := range []struct {
				to   csi.ControllerClient
				name string
				took *[]time.Duration
			}{{node.Controller, "direct", &direct}, {router.Controller, "through", &through}} {
				began := time.Now()
				if err := c.call(way.to, fmt.Sprintf("%s-%d", way.name, i)); err != nil {
					return nil, err
				}
				*way.took = append(*way.took, time.Since(began))
			}
		}
		more := median(through) - median(direct)
		rows = append(rows, row{what: "routing of " + c.what + ": p50 through the controller", figure: fmt.Sprintf("+%s (%s / %s)", round(more), round(median(through)), round(median(direct))),
			bound: "<= +1ms", met: more <= time.Millisecond})
	}
	return rows, nil
}
