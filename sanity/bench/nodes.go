package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/klog/v2"

	services "github.com/loam-storage/loam/controller"
	"github.com/loam-storage/loam/controller/fleet/link"
	"github.com/loam-storage/loam/driver"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/serve"
)

const (
	simulated    = 1000 // nodes
	volumesEach  = 100
	manyCreates  = 5000
	createsAtOne = 50 // at a time
)

// thousandNodes measures the controller of a large cluster, which is a process of its own: the nodes are in this one, with
// pools in memory, and dial it over TLS.
func thousandNodes(b *bench) (rows []row, err error) {
	dir, err := os.MkdirTemp(b.dir, "nodes-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	certificate := filepath.Join(dir, controllerCertificate)
	if err := serve.WriteCertificate(certificate); err != nil {
		return nil, err
	}
	trust, err := serve.Trust(certificate)
	if err != nil {
		return nil, err
	}
	first, err := startController(b, dir, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(klog.NewContext(b, klog.Logger{}))
	var dialing sync.WaitGroup
	defer func() { stop(); dialing.Wait() }()
	for i := range simulated {
		if err := dialAsNode(ctx, &dialing, dir, first.address, trust, i); err != nil {
			first.kill()
			return nil, err
		}
	}
	if _, err := first.connected(simulated); err != nil {
		return nil, err
	}
	first.kill()
	again, err := startController(b, dir, first.address)
	if err != nil {
		return nil, err
	}
	defer again.kill()
	back, err := again.connected(simulated)
	if err != nil {
		return nil, err
	}
	rows = append(rows, row{what: "1,000 nodes: all back after the controller was killed", figure: round(back).String(), bound: "<= 5s", met: back <= 5*time.Second})
	for _, measure := range []func(*bench, *controller) ([]row, error){knownToAll, manyAtOnce, listAll, memoryOf} {
		more, err := measure(b, again)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// dialAsNode keeps a node connected until ctx ends.
func dialAsNode(ctx context.Context, dialing *sync.WaitGroup, dir, address string, trust *tls.Config, i int) error {
	name := fmt.Sprintf("node-%04d", i)
	p := memory.New(poolName, name, volume.TiB)
	for j := range volumesEach {
		id := volume.ID{Node: name, Pool: poolName, Name: fmt.Sprintf("pvc-%08d-2f6e-4f0a-9d6b-%012d", i, j)}
		if _, err := p.Create(ctx, volume.Spec{ID: id, Size: volume.Range{RequiredBytes: volume.MiB}}); err != nil {
			return err
		}
	}
	set, err := pool.NewSet(name, p)
	if err != nil {
		return err
	}
	control := services.New(services.Config{Pools: set})
	d, err := driver.New(driver.Config{Endpoint: filepath.Join(dir, name), Version: "bench", Controller: control, Group: control})
	if err != nil {
		return err
	}
	server := d.Remote(ctx, link.ServerOptions()...)
	dialing.Go(func() {
		link.Dialer{Address: address, Node: name, Server: server,
			TLS:   func() (*tls.Config, error) { return trust, nil },
			Token: func() (string, error) { return name, nil },
		}.Run(ctx)
		server.Stop()
	})
	return nil
}

// knownToAll measures the first create of a controller, which asks all nodes what they have.
func knownToAll(b *bench, c *controller) ([]row, error) {
	began := time.Now()
	_, err := c.CreateVolume(b, empty("first"))
	return []row{{what: "1,000 nodes: first create after that", figure: round(time.Since(began)).String(), bound: "<= 5s", met: time.Since(began) <= 5*time.Second}}, err
}

func empty(name string) *csi.CreateVolumeRequest {
	return &csi.CreateVolumeRequest{Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: 1 << 20}, VolumeCapabilities: []*csi.VolumeCapability{blockAccess()}}
}

func manyAtOnce(b *bench, c *controller) ([]row, error) {
	var workers sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	var errs []error
	names := make(chan string)
	began := time.Now()
	for range createsAtOne {
		workers.Go(func() {
			for name := range names {
				start := time.Now()
				_, err := c.CreateVolume(b, empty(name))
				mu.Lock()
				took, errs = append(took, time.Since(start)), append(errs, err)
				mu.Unlock()
			}
		})
	}
	for i := range manyCreates {
		names <- fmt.Sprintf("new-%d", i)
	}
	close(names)
	workers.Wait()
	rate := manyCreates / time.Since(began).Seconds()
	return []row{{what: "1,000 nodes: creates a second, 50 at once", figure: fmt.Sprintf("%.0f (p50 %s each)", rate, round(median(took))), bound: ">= 500", met: rate >= 500}}, errors.Join(errs...)
}

func listAll(b *bench, c *controller) ([]row, error) {
	found, began := map[string]bool{}, time.Now()
	for token := ""; ; {
		page, err := c.ListVolumes(b, &csi.ListVolumesRequest{StartingToken: token})
		if err != nil {
			return nil, err
		}
		for _, e := range page.GetEntries() {
			found[e.GetVolume().GetVolumeId()] = true
		}
		if token = page.GetNextToken(); token == "" {
			break
		}
	}
	want := simulated*volumesEach + manyCreates + 1
	return []row{{what: "1,000 nodes: volumes in a list of all", figure: fmt.Sprintf("%d in %s", len(found), round(time.Since(began))), bound: fmt.Sprintf("= %d", want), met: len(found) == want}}, nil
}

func memoryOf(_ *bench, c *controller) ([]row, error) {
	peak, err := c.peak()
	return []row{{what: "1,000 nodes of 100 volumes: memory of the controller, most", figure: volume.Size(peak).String(), bound: "< 400MiB", met: peak < 400<<20}}, err
}
