package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
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
	volumesEach  = 100
	manyCreates  = 5000
	createsAtOne = 50 // at a time
)

// cluster is a number of simulated nodes, and what is asked of their controller.
type cluster struct {
	nodes      int
	mostBack   time.Duration
	mostFirst  time.Duration
	leastRate  float64     // creates a second
	mostMemory volume.Size // of the process of the controller alone
}

// clusters are measured one after the other.
func clusters() []cluster {
	return []cluster{
		{1000, 5 * time.Second, 5 * time.Second, 500, 400 * volume.MiB},
		{2500, 5 * time.Second, 10 * time.Second, 500, 500 * volume.MiB},
		{5000, 6 * time.Second, 20 * time.Second, 2000, 600 * volume.MiB},
	}
}

// of says what a figure of this cluster is of.
func (c cluster) of(what string) string {
	return fmt.Sprintf("%d,%03d nodes: %s", c.nodes/1000, c.nodes%1000, what)
}

// figures are what is compared between clusters.
type figures struct {
	back   time.Duration
	rate   float64       // creates a second
	work   time.Duration // of the controller's processors, for a create
	memory volume.Size
}

// manyNodes measures the controller of large clusters, which is a process of its own: the nodes are in this one, with
// pools in memory, and dial it over TLS.
func manyNodes(b *bench) (rows []row, err error) {
	var first, last figures
	for i, c := range clusters() {
		more, f, err := c.measure(b)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
		if last = f; i == 0 {
			first = f
		}
	}
	growth := func(what string, bound, grown float64) row {
		return row{what: "5,000 nodes against 1,000: " + what, figure: fmt.Sprintf("%.2f", grown), bound: fmt.Sprintf("<= %.1f", bound), met: grown <= bound}
	}
	return append(rows,
		growth("work of the controller for a create", 1.5, float64(last.work)/float64(first.work)),
		growth("time of as many creates", 2, first.rate/last.rate),
		growth("memory of the controller", 5, float64(last.memory)/float64(first.memory)),
		growth("time until all are back", 5, float64(last.back)/float64(first.back))), nil
}

// measure returns what one cluster needs.
func (c cluster) measure(b *bench) (rows []row, f figures, err error) {
	dir, err := os.MkdirTemp(b.dir, "nodes-")
	if err != nil {
		return nil, f, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	certificate := filepath.Join(dir, controllerCertificate)
	if err := serve.WriteCertificate(certificate); err != nil {
		return nil, f, err
	}
	trust, err := serve.Trust(certificate)
	if err != nil {
		return nil, f, err
	}
	first, err := startController(b, dir, "127.0.0.1:0")
	if err != nil {
		return nil, f, err
	}
	ctx, stop := context.WithCancel(klog.NewContext(b, klog.Logger{}))
	var dialing sync.WaitGroup
	defer func() { stop(); dialing.Wait() }()
	for i := range c.nodes {
		if err := dialAsNode(ctx, &dialing, dir, first.address, trust, i); err != nil {
			first.kill()
			return nil, f, err
		}
	}
	if _, err := first.connected(c.nodes); err != nil {
		return nil, f, err
	}
	first.kill()
	again, err := startController(b, dir, first.address)
	if err != nil {
		return nil, f, err
	}
	defer again.kill()
	if f.back, err = again.connected(c.nodes); err != nil {
		return nil, f, err
	}
	rows = append(rows, row{what: c.of("all back after the controller was killed"), figure: round(f.back).String(), bound: "<= " + c.mostBack.String(), met: f.back <= c.mostBack})
	for _, measure := range []func(*bench, *controller, *figures) ([]row, error){c.knownToAll, c.manyAtOnce, c.listAll, c.memoryOf} {
		more, err := measure(b, again, &f)
		if err != nil {
			return nil, f, err
		}
		rows = append(rows, more...)
	}
	return rows, f, nil
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
			From:  net.IPv4(127, 1, byte(i>>8), byte(i)), // each has its own, of which strangers may come from one only so many times
			TLS:   func() (*tls.Config, error) { return trust, nil },
			Token: func() (string, error) { return name, nil },
		}.Run(ctx)
		server.Stop()
	})
	return nil
}

// knownToAll measures the first create of a controller, which asks all nodes what they have.
func (c cluster) knownToAll(b *bench, to *controller, _ *figures) ([]row, error) {
	began := time.Now()
	_, err := to.CreateVolume(b, empty("first"))
	took := time.Since(began)
	return []row{{what: c.of("first create after that"), figure: round(took).String(), bound: "<= " + c.mostFirst.String(), met: took <= c.mostFirst}}, err
}

func empty(name string) *csi.CreateVolumeRequest {
	return &csi.CreateVolumeRequest{Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: 1 << 20}, VolumeCapabilities: []*csi.VolumeCapability{blockAccess()}}
}

func (c cluster) manyAtOnce(b *bench, to *controller, f *figures) ([]row, error) {
	var workers sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	var errs []error
	names := make(chan string)
	before, err := to.worked()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for range createsAtOne {
		workers.Go(func() {
			for name := range names {
				start := time.Now()
				_, err := to.CreateVolume(b, empty(name))
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
	f.rate = manyCreates / time.Since(began).Seconds()
	after, err := to.worked()
	if err != nil {
		return nil, err
	}
	f.work = (after - before) / manyCreates
	return []row{{what: c.of("creates a second, 50 at once"), figure: fmt.Sprintf("%.0f (p50 %s each)", f.rate, round(median(took))), bound: fmt.Sprintf(">= %.0f", c.leastRate), met: f.rate >= c.leastRate,
		note: fmt.Sprintf("%s of the controller's processors for each, %.0f a second on each of them", round(f.work), float64(time.Second)/float64(f.work))}}, errors.Join(errs...)
}

func (c cluster) listAll(b *bench, to *controller, _ *figures) ([]row, error) {
	found, began := map[string]bool{}, time.Now()
	for token := ""; ; {
		page, err := to.ListVolumes(b, &csi.ListVolumesRequest{StartingToken: token})
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
	want := c.nodes*volumesEach + manyCreates + 1
	return []row{{what: c.of("volumes in a list of all"), figure: fmt.Sprintf("%d in %s", len(found), round(time.Since(began))), bound: fmt.Sprintf("= %d", want), met: len(found) == want}}, nil
}

// memoryOf is the most that the process of the controller has had of the machine's memory, with the program itself; the nodes and their
// side of the connections are in another process.
func (c cluster) memoryOf(_ *bench, to *controller, f *figures) ([]row, error) {
	peak, err := to.peak()
	f.memory = volume.Size(peak)
	return []row{{what: c.of("most memory of the controller's process"), figure: f.memory.String(), bound: "<= " + c.mostMemory.String(), met: f.memory <= c.mostMemory}}, err
}
