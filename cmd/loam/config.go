package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/node"
)

// defaultConfig is what holds where no file is given. It works on any Linux host with room for it.
const defaultConfig = `
pools:
  - name: default
    loop: {directory: /var/lib/loam/default, size: 50Gi, create: true}
`

// maxConfigBytes bounds the file. A large one is not a configuration.
const maxConfigBytes = 1 << 20

// config is a configuration that was checked.
type config struct {
	Node       string // as in handles and in the topology
	MaxVolumes int    // how many volumes may be attached at once; 0 for no limit
	State      string // the directory of what the machine remembers of its pools; not in the file
	Default    bool   // there is no file: nobody has asked for what it says
	MustOpen   bool   // a pool that cannot be opened is an error, and not tried again; not in the file
	Pools      []poolConfig
}

// poolConfig is one pool. A further kind of pool is one more field here, one more key in
// parsePool, and one more case in open and inspect.
type poolConfig struct {
	Name      string
	Ephemeral node.Ephemeral
	Loop      loop.Config // of a loop pool
	LVM       lvm.Config  // of an lvm pool, whose VolumeGroup is not empty
}

func (p poolConfig) isLVM() bool { return p.LVM.VolumeGroup != "" }

// where says where the pool is, for the log.
func (p poolConfig) where() string {
	switch {
	case !p.isLVM():
		return p.Loop.Directory
	case p.LVM.ThinPool != "":
		return p.LVM.VolumeGroup + "/" + p.LVM.ThinPool
	default:
		return p.LVM.VolumeGroup
	}
}

// remembered returns the pool with what the machine remembers of those that it has opened.
func (p poolConfig) remembered(state string) poolConfig {
	p.Loop.Known = identity.Store{Directory: state}
	p.LVM.Known = p.Loop.Known
	return p
}

func (p poolConfig) open(ctx context.Context, node string, machine *host.Host) (pool.Pool, error) {
	if p.isLVM() {
		return lvm.Open(ctx, p.Name, node, p.LVM, machine, host.NewRunner())
	}
	return loop.Open(ctx, p.Name, node, p.Loop, machine)
}

// inspect opens the pool only to look at it, which also works while another process has it open.
func (p poolConfig) inspect(ctx context.Context, node string, machine *host.Host) (pool.Pool, error) {
	if p.isLVM() {
		return lvm.Inspect(ctx, p.Name, node, p.LVM, machine, host.NewRunner())
	}
	return loop.Inspect(ctx, p.Name, node, p.Loop, machine)
}

// readConfig reads the file at path, or the default configuration where path is empty. The kind of
// its error is Invalid.
func readConfig(path string) (config, error) {
	machine, err := machineName()
	if err != nil {
		return config{}, err
	}
	return readConfigFor(path, machine)
}

// machineName returns what this machine is called in its cluster, which a pod is told in $NODE_NAME, else its
// host name, which in a pod is that of the pod.
func machineName() (string, error) {
	if name := os.Getenv("NODE_NAME"); name != "" {
		return name, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("what this machine is called: %w", err)
	}
	return name, nil
}

// readConfigFor does so on a machine of that name, where the file does not name another.
func readConfigFor(path, hostname string) (config, error) {
	if path == "" {
		return parseConfig([]byte(defaultConfig), hostname)
	}
	file, err := os.Open(path)
	if err != nil {
		return config{}, volume.Errorf(volume.Invalid, "configuration: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxConfigBytes+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return config{}, volume.Errorf(volume.Invalid, "configuration %q: %w", path, err)
	}
	c, err := parseConfig(text, hostname)
	if err != nil {
		return config{}, volume.Errorf(volume.Invalid, "configuration %q: %w", path, err)
	}
	return c, nil
}

// nodePattern is what a machine may be called (RFC 1123, and capitals). volume.NodeName shortens it.
var nodePattern = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)

// parseConfig reads and checks all of a configuration before anything is done with it. Every error
// names the key, and the pool where it is in one. The kind of its error is Invalid.
func parseConfig(text []byte, hostname string) (config, error) {
	top, err := readYAML(text, "node", "maxVolumes", "pools")
	if err != nil {
		return config{}, volume.Errorf(volume.Invalid, "%w", err)
	}
	node, nodeErr := top.text("node")
	if node == "" {
		node = hostname
	} else if !nodePattern.MatchString(node) {
		nodeErr = top.wrong("node", "%.128q cannot be the name of a machine", node)
	}
	maxVolumes, maxErr := top.number("maxVolumes", 0, 1<<20)
	pools, poolsErr := parsePools(top)
	c := config{Node: volume.NodeName(node), MaxVolumes: int(maxVolumes), Pools: pools}
	if err := errors.Join(nodeErr, maxErr, poolsErr); err != nil {
		return config{}, volume.Errorf(volume.Invalid, "%w", err)
	}
	return c, nil
}

func parsePools(top section) ([]poolConfig, error) {
	list, err := top.list("pools")
	if err != nil {
		return nil, err
	}
	var pools []poolConfig
	var errs []error
	for i, raw := range list {
		p, err := parsePool(fmt.Sprintf("pools[%d]", i), raw)
		if err == nil {
			err = apart(p, pools)
		}
		pools, errs = append(pools, p), append(errs, err)
	}
	return pools, errors.Join(errs...)
}

func parsePool(where string, raw []byte) (poolConfig, error) {
	s, err := newSection(where, raw)
	if err != nil {
		return poolConfig{}, err
	}
	p := poolConfig{}
	if p.Name, err = s.text("name"); err != nil {
		return p, err
	}
	if p.Name == "" {
		return p, s.wrong("name", "is missing")
	}
	if err := volume.CheckPoolName(p.Name); err != nil {
		return p, s.wrong("name", "%w", err)
	}
	s.where = fmt.Sprintf("pool %q", p.Name)
	if err := s.only("name", "ephemeral", "loop", "lvm"); err != nil {
		return p, err
	}
	if p.Ephemeral, err = s.ephemeral(); err != nil {
		return p, err
	}
	switch {
	case s.has("loop") && s.has("lvm"):
		return p, s.wrong("lvm", "stands beside loop: a pool is of one kind")
	case s.has("lvm"):
		p.LVM, err = parseLVM(s)
		return p, err
	case !s.has("loop"):
		return p, s.wrong("loop", "is missing, and lvm: one of them says where the pool is, as in \"loop: {directory: /var/lib/loam/%s}\"", p.Name)
	}
	p.Loop, err = parseLoop(s)
	return p, err
}

func parseLoop(pool section) (loop.Config, error) {
	s, err := newSection(pool.where+": loop", pool.values["loop"])
	if err != nil {
		return loop.Config{}, err
	}
	if err := s.only("directory", "size", "allocation", "overprovision", "reserve", "create", "mount"); err != nil {
		return loop.Config{}, err
	}
	directory, dirErr := s.directory()
	size, sizeErr := s.size("size")
	sparse, sparseErr := s.sparse()
	overprovision, overErr := s.ratio("overprovision")
	reserve, percent, reserveErr := s.reserve()
	create, createErr := s.truth("create")
	mount, mountErr := s.truth("mount")
	if err := errors.Join(dirErr, sizeErr, sparseErr, overErr, reserveErr, createErr, mountErr); err != nil {
		return loop.Config{}, err
	}
	c := loop.Config{
		Directory: directory, SizeBytes: size, Sparse: sparse, Overprovision: overprovision,
		ReserveBytes: reserve, ReservePercent: percent, Create: create, Mount: mount,
	}
	if err := c.Check(); err != nil {
		return loop.Config{}, fmt.Errorf("%s: %w", s.where, err)
	}
	return c, nil
}
