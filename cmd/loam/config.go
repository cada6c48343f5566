package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/node"
)

// kinds returns the kinds of pools that there are. The first one can be made in any directory.
func kinds() []pool.Kind { return []pool.Kind{loop.Kind(), lvm.Kind()} }

// defaultConfig is what holds where no file is given. It works on any Linux host with room for it.
func defaultConfig() string { return configOf("default", "/var/lib/loam/default", 50*volume.GiB) }

// configOf returns the configuration of one pool that is made in a directory.
func configOf(name, directory string, sizeBytes volume.Size) string {
	return fmt.Sprintf("pools:\n  - name: %s\n    %s\n", name, kinds()[0].InDirectory(directory, sizeBytes))
}

// settings is a configuration that was checked.
type settings struct {
	Node       string // as in handles and in the topology
	MaxVolumes int    // how many volumes may be attached at once; 0 for no limit
	State      string // the directory of what the machine remembers of its pools; not in the file
	Throwaway  bool   // what is in the pools need not outlive the machine; not in the file
	Default    bool   // there is no file: nobody has asked for what it says
	MustOpen   bool   // a pool that cannot be opened is an error, and not tried again; not in the file
	Pools      []poolSettings
}

// poolSettings is one pool.
type poolSettings struct {
	Name      string
	Ephemeral node.Ephemeral
	pool.Settings
}

// on returns the machine on which the pools are opened.
func (c settings) on(machine *host.Host) pool.Machine {
	return pool.Machine{Node: c.Node, Host: machine, State: c.State, Throwaway: c.Throwaway}
}

// readConfig reads the file at path, or the default configuration where path is empty. The kind of
// its error is Invalid.
func readConfig(path string) (settings, error) {
	machine, err := machineName()
	if err != nil {
		return settings{}, err
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
func readConfigFor(path, hostname string) (settings, error) {
	if path == "" {
		return parseConfig([]byte(defaultConfig()), hostname)
	}
	file, err := os.Open(path)
	if err != nil {
		return settings{}, volume.Errorf(volume.Invalid, "configuration: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(file, config.MaxBytes+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return settings{}, volume.Errorf(volume.Invalid, "configuration %q: %w", path, err)
	}
	c, err := parseConfig(text, hostname)
	if err != nil {
		return settings{}, volume.Errorf(volume.Invalid, "configuration %q: %w", path, err)
	}
	return c, nil
}

// nodePattern is what a machine may be called (RFC 1123, and capitals). volume.NodeName shortens it.
const nodePattern = `^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`

// parseConfig reads and checks all of a configuration before anything is done with it. Every error
// names the key, and the pool where it is in one. The kind of its error is Invalid.
func parseConfig(text []byte, hostname string) (settings, error) {
	top, err := config.Parse(text, "node", "maxVolumes", "pools")
	if err != nil {
		return settings{}, volume.Errorf(volume.Invalid, "%w", err)
	}
	node := hostname
	if top.Has("node") {
		node = top.Text("node")
	}
	if top.Has("node") && node != "" && !regexp.MustCompile(nodePattern).MatchString(node) {
		top.Wrong("node", "%.128q cannot be the name of a machine", node)
	}
	c := settings{Node: volume.NodeName(node), MaxVolumes: int(top.Number("maxVolumes", 0, 1<<20))}
	list := top.List("pools")
	if len(list) == 0 {
		top.Wrong("pools", "name at least one pool, as in \"pools: [{name: default, %s}]\"", kinds()[0].InDirectory("/var/lib/loam/default", 0))
	}
	for _, s := range list {
		p := parsePool(s)
		if s.Err() == nil {
			apart(s, p, c.Pools)
		}
		c.Pools = append(c.Pools, p)
	}
	if err := top.Err(); err != nil {
		return settings{}, volume.Errorf(volume.Invalid, "%w", err)
	}
	return c, nil
}

// parsePool reads one pool, and says with s what is wrong with it.
func parsePool(s *config.Section) poolSettings {
	p := poolSettings{Name: s.Text("name")}
	if s.Err() != nil {
		return p
	}
	if !s.Has("name") {
		s.Wrong("name", "is missing")
		return p
	}
	if err := volume.CheckPoolName(p.Name); err != nil {
		s.Wrong("name", "%w", err)
		return p
	}
	s.Rename(fmt.Sprintf("pool %q", p.Name))
	known, found := []string{"name", "ephemeral"}, []pool.Kind(nil)
	for _, k := range kinds() {
		known = append(known, k.Key)
		if s.Has(k.Key) {
			found = append(found, k)
		}
	}
	s.Only(known...)
	p.Ephemeral = parseEphemeral(s)
	switch {
	case len(found) > 1:
		s.Wrong(found[1].Key, "stands beside %s: a pool is of one kind", found[0].Key)
	case len(found) == 1:
		p.Settings = found[0].Parse(s.Child(found[0].Key))
	case s.Err() == nil:
		first := kinds()[0]
		s.Wrong(first.Key, "is missing, as are %s: one of them says where the pool is, as in %q", strings.Join(known[3:], ", "), first.InDirectory("/var/lib/loam/"+p.Name, 0))
	}
	return p
}

// apart refuses a pool that cannot stand beside those before it.
func apart(s *config.Section, p poolSettings, before []poolSettings) {
	for _, other := range before {
		if p.Name == other.Name {
			s.Wrong("name", "there are two pools of that name")
			continue
		}
		if other.Settings == nil { // what it is could not be read
			continue
		}
		if err := p.Apart(other.Settings, other.Name); err != nil {
			s.Errorf("%w", err)
		}
	}
}
