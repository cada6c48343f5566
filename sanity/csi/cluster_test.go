package csi_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/loam-storage/loam/driver/host/hosttest"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/memory"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/serve"
)

// cluster makes a cluster of the driver, as the node that the suite mounts on, and of others, and returns its
// controller.
func (m mode) cluster(ctx context.Context, dir string, first *serve.Driver) (_ *serve.Driver, stop func() error, err error) {
	certificate := filepath.Join(dir, "controller.pem")
	if err := serve.WriteCertificate(certificate); err != nil {
		return nil, nil, err
	}
	router, err := serve.StartRouter(ctx, serve.RouterConfig{Socket: filepath.Join(dir, "controller.sock"), Certificate: certificate})
	if err != nil {
		return nil, nil, err
	}
	ending := []func() error{router.Stop}
	stop = func() error {
		var errs []error
		for _, end := range ending {
			errs = append(errs, end())
		}
		return errors.Join(errs...)
	}
	if err := router.Dial(ctx, nodeName, first); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
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
		if err := router.Dial(ctx, name, d); err != nil {
			return nil, nil, errors.Join(err, stop())
		}
	}
	return &router.Driver, stop, nil
}
