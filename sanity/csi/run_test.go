package csi_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/sanity/scratch"
	"github.com/loam-storage/loam/sanity/serve"
)

// run runs the suite in this mode and says whether all is as it should be.
func (m mode) run() (err error) {
	dir, err := os.MkdirTemp("", "csi-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, scratch.Sweep(dir))
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	said := &log{also: ginkgo.GinkgoWriter} // which shows it for a spec that fails
	klog.LogToStderr(false)                 // csi-sanity's own
	klog.SetOutput(ginkgo.GinkgoWriter)
	ctx := klog.NewContext(context.Background(), said.logger())

	p, machine, closePool, err := m.open(ctx, dir)
	if err != nil {
		return err
	}
	set, err := pool.NewSet(nodeName, p)
	if err != nil {
		return errors.Join(err, closePool())
	}
	d, err := serve.Start(ctx, serve.Config{Socket: filepath.Join(dir, "csi.sock"), Pools: set, Machine: machine, MaxVolumes: m.maxVolumes, InCluster: m.nodes > 0})
	if err != nil {
		return errors.Join(err, closePool())
	}
	controller, stopCluster := d, func() error { return nil }
	if m.nodes > 0 {
		if controller, stopCluster, err = m.cluster(ctx, dir, d); err != nil {
			return errors.Join(err, d.Stop(), closePool())
		}
	}
	err = m.suite(dir, d.Endpoint, controller.Endpoint)
	return errors.Join(err, nothingLeft(ctx, controller), stopCluster(), d.Stop(), closePool(), said.check())
}

// suite runs csi-sanity against the node service at endpoint and the controller services at another, or the same.
func (m mode) suite(dir, endpoint, controller string) error {
	secrets := filepath.Join(dir, "secrets.yaml")
	if err := os.WriteFile(secrets, []byte(secretsFile()), 0o600); err != nil {
		return err
	}
	size, expanded := m.sizes()
	config := sanity.NewTestConfig()
	config.Address = endpoint
	if controller != endpoint {
		config.ControllerAddress = controller
	}
	config.TargetPath, config.StagingPath = filepath.Join(dir, "target"), filepath.Join(dir, "staging")
	config.SecretsFile = secrets
	config.TestVolumeAccessType = m.access
	config.TestVolumeSize, config.TestVolumeExpandSize = int64(size), int64(expanded)
	config.TestVolumeParameters = map[string]string{
		volume.KeyPool: poolName, "csi.storage.k8s.io/pvc/name": "claim", "csi.storage.k8s.io/pvc/namespace": "default",
	}
	config.TestSnapshotParameters = map[string]string{"csi.storage.k8s.io/volumesnapshot/name": "snapshot"}
	config.TestInvalidListVolumesStartingToken = "not/a token"
	config.TestNodeVolumeAttachLimit = m.maxVolumes > 0
	config.DialOptions = append(config.DialOptions, grpc.WithUnaryInterceptor(m.change))
	config.ControllerDialOptions = append(config.ControllerDialOptions, grpc.WithUnaryInterceptor(m.change))

	specs := sanity.GinkgoTest(&config)
	defer specs.Finalize()
	var report types.Report
	ginkgo.ReportAfterSuite("", func(all types.Report) { report = all })
	gomega.RegisterFailHandler(ginkgo.Fail)
	suite, output := ginkgo.GinkgoConfiguration()
	suite.Timeout = 15 * time.Minute
	output.NoColor, output.Succinct = true, true
	var r result
	ginkgo.RunSpecs(&r, "csi-sanity "+m.name, suite, output)
	return errors.Join(m.check(report), r.err)
}

// result takes the place of a *testing.T, which this process has not.
type result struct{ err error }

// Fail is called by ginkgo, which has said why.
func (r *result) Fail() { r.err = errors.New("the suite failed") }

// change sends a copy of each request, with the mode's file system in its capabilities where there is
// one: csi-sanity leaves it to the driver. The original is not touched: to send a message leaves a mark in
// it, and csi-sanity 5.6 compares a topology that it has sent byte for byte with the one in the answer.
func (m mode) change(ctx context.Context, method string, req, reply any, c *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	message, ok := req.(proto.Message)
	if !ok {
		return fmt.Errorf("%s: the request is a %T", method, req)
	}
	req = proto.Clone(message)
	var capabilities []*csi.VolumeCapability
	if r, ok := req.(interface{ GetVolumeCapability() *csi.VolumeCapability }); ok {
		capabilities = append(capabilities, r.GetVolumeCapability())
	}
	if r, ok := req.(interface {
		GetVolumeCapabilities() []*csi.VolumeCapability
	}); ok {
		capabilities = append(capabilities, r.GetVolumeCapabilities()...)
	}
	for _, c := range capabilities {
		if mount := c.GetMount(); mount != nil {
			mount.FsType = string(m.fsType)
		}
	}
	return invoke(ctx, method, req, reply, c, options...)
}

// nothingLeft says whether the driver has neither volumes nor snapshots any more.
func nothingLeft(ctx context.Context, d *serve.Driver) error {
	volumes, err := d.Controller.ListVolumes(ctx, &csi.ListVolumesRequest{})
	if err != nil {
		return err
	}
	snapshots, err := d.Controller.ListSnapshots(ctx, &csi.ListSnapshotsRequest{})
	if err != nil {
		return err
	}
	if len(volumes.GetEntries())+len(snapshots.GetEntries()) > 0 {
		return fmt.Errorf("left in the pool: %v and %v", volumes.GetEntries(), snapshots.GetEntries())
	}
	return nil
}
