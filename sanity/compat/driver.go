package compat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Driver is a `loam serve` in a process of its own, and clients of it.
type Driver struct {
	Binary string
	Dir    string   // for its configuration, its socket and its log
	State  string   // where it remembers pools; empty for a release that does not
	Env    []string // added to that of this process

	Controller csi.ControllerClient
	Group      csi.GroupControllerClient
	Node       csi.NodeClient

	process    *exec.Cmd
	ended      chan error
	connection *grpc.ClientConn
}

const patience = time.Minute // an emulated processor is slow

func (d *Driver) config() string { return filepath.Join(d.Dir, "loam.yaml") }
func (d *Driver) socket() string { return "unix://" + filepath.Join(d.Dir, "csi.sock") }

func (d *Driver) flags() []string {
	flags := []string{"--config", d.config()}
	if d.State != "" {
		flags = append(flags, "--state-dir", d.State)
	}
	return flags
}

// LogFile returns the path of what it has logged.
func (d *Driver) LogFile() string { return filepath.Join(d.Dir, "loam.log") }

// Start starts it with a configuration, and waits until it answers.
func (d *Driver) Start(ctx context.Context, config string) error {
	if err := os.WriteFile(d.config(), []byte(config), 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(d.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // the process writes it
	process := exec.Command(d.Binary, append([]string{"serve", "--endpoint", d.socket()}, d.flags()...)...)
	process.Stdout, process.Stderr, process.Env = log, log, append(os.Environ(), d.Env...)
	if err := process.Start(); err != nil {
		return err
	}
	d.process, d.ended = process, make(chan error, 1)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	go func(ended chan<- error) {
		ended <- process.Wait()
		cancel()
	}(d.ended)
	if d.connection, err = grpc.NewClient(d.socket(), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		return err
	}
	d.Controller, d.Group, d.Node = csi.NewControllerClient(d.connection), csi.NewGroupControllerClient(d.connection), csi.NewNodeClient(d.connection)
	if _, err := csi.NewIdentityClient(d.connection).Probe(ctx, &csi.ProbeRequest{}, grpc.WaitForReady(true)); err != nil {
		said, _ := os.ReadFile(d.LogFile())
		return errors.Join(fmt.Errorf("loam does not answer: %w; it said: %s", err, said), d.Kill())
	}
	return nil
}

// Running reports whether it was started and not ended since.
func (d *Driver) Running() bool { return d.process != nil }

// Kill ends it as a loss of power would.
func (d *Driver) Kill() error { return d.end(syscall.SIGKILL) }

// Stop ends it as a service manager does.
func (d *Driver) Stop() error { return d.end(syscall.SIGTERM) }

func (d *Driver) end(signal syscall.Signal) error {
	_ = d.process.Process.Signal(signal) // it may have ended by itself, which Wait tells
	err := <-d.ended
	d.process = nil
	if signal == syscall.SIGKILL {
		err = nil
	}
	return errors.Join(err, d.connection.Close(), os.RemoveAll(filepath.Join(d.Dir, "csi.sock")))
}

// Rows returns what `loam volumes` or `loam snapshots` prints of the pool.
func (d *Driver) Rows(verb string) (rows []Row, err error) {
	c := exec.Command(d.Binary, append([]string{verb, "-o", "json"}, d.flags()...)...)
	c.Env = append(os.Environ(), d.Env...)
	out, err := c.Output()
	if err == nil {
		err = json.Unmarshal(out, &rows)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return rows, err
}

// Publish stages a volume and publishes it at a path, or does so again.
func (d *Driver) Publish(ctx context.Context, id string, c *csi.VolumeCapability, at string) error {
	if err := os.MkdirAll(at+"-staging", 0o700); err != nil {
		return err
	}
	if _, err := d.Node.NodeStageVolume(ctx, &csi.NodeStageVolumeRequest{VolumeId: id, StagingTargetPath: at + "-staging", VolumeCapability: c}); err != nil {
		return fmt.Errorf("stage %s: %w", id, err)
	}
	_, err := d.Node.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{VolumeId: id, StagingTargetPath: at + "-staging", TargetPath: at, VolumeCapability: c})
	if err != nil {
		return fmt.Errorf("publish %s: %w", id, err)
	}
	return nil
}

// Unpublish takes a volume from where it was published, and unstages it.
func (d *Driver) Unpublish(ctx context.Context, id, at string) error {
	if _, err := d.Node.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: id, TargetPath: at}); err != nil {
		return fmt.Errorf("unpublish %s: %w", id, err)
	}
	if _, err := d.Node.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: id, StagingTargetPath: at + "-staging"}); err != nil {
		return fmt.Errorf("unstage %s: %w", id, err)
	}
	return os.RemoveAll(at + "-staging")
}

// Access returns the capability of a file system, or of a block device where fsType is empty.
func Access(fsType string) *csi.VolumeCapability {
	c := &csi.VolumeCapability{AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER}}
	if fsType == "" {
		c.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
	} else {
		c.AccessType = &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: fsType}}
	}
	return c
}
