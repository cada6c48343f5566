package lvm

import (
	"context"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/host"
	"github.com/loam-storage/loam/driver/pool"
	"github.com/loam-storage/loam/driver/pool/identity"
	"github.com/loam-storage/loam/driver/volume"
)

// Kind returns the kind of pools in a volume group.
func Kind() pool.Kind { return pool.Kind{Key: "lvm", Parse: parse} }

func parse(s *config.Section) pool.Settings {
	s.Only("volumeGroup", "thinPool", "type", "stripes", "mirrors", "reserve", "overprovision", "extend", "wipe", "devices", "create")
	c := Config{
		VolumeGroup: s.Text("volumeGroup"), ThinPool: s.Text("thinPool"),
		Type: Type(s.Text("type")), Stripes: int(s.Number("stripes", 1, 64)), Mirrors: int(s.Number("mirrors", 1, 64)),
		Space: s.Space(), Wipe: Wipe(s.Text("wipe")), Devices: s.Texts("devices"), Create: s.Bool("create"),
	}
	if !s.Has("volumeGroup") {
		s.Wrong("volumeGroup", "is missing: it says which volume group the pool is in")
	}
	if s.Has("extend") {
		extend := s.Child("extend")
		extend.Only("at", "by")
		c.ExtendAt, c.ExtendBy = extend.Percent("at"), extend.Percent("by")
	}
	if s.Err() == nil {
		if err := c.Check(); err != nil {
			s.Errorf("%w", err)
		}
	}
	return c
}

// Where returns the names of the volume group and of the thin pool.
func (c Config) Where() string {
	if c.ThinPool != "" {
		return c.VolumeGroup + "/" + c.ThinPool
	}
	return c.VolumeGroup
}

// Open keeps the contract of pool.Settings.
func (c Config) Open(ctx context.Context, name string, on pool.Machine) (pool.Pool, error) {
	c.Known = identity.Store{Directory: on.State}
	return Open(ctx, name, on.Node, c, on.Host, host.NewRunner())
}

// Inspect keeps the contract of pool.Settings.
func (c Config) Inspect(ctx context.Context, name string, on pool.Machine) (pool.Pool, error) {
	c.Known = identity.Store{Directory: on.State}
	return Inspect(ctx, name, on.Node, c, on.Host, host.NewRunner())
}

// Apart refuses a thin pool that another pool gives out too. A volume group may have several pools.
func (c Config) Apart(other pool.Settings, name string) error {
	o, ok := other.(Config)
	if ok && c.ThinPool != "" && c.ThinPool == o.ThinPool && c.VolumeGroup == o.VolumeGroup {
		return volume.Errorf(volume.Invalid, "lvm: thinPool: %q of volume group %q is that of pool %q, and two cannot keep one account", c.ThinPool, c.VolumeGroup, name)
	}
	return nil
}

// Shares returns nothing: LVM itself keeps account of a volume group.
func (c Config) Shares() (device uint64, promises bool, err error) { return 0, false, nil }
