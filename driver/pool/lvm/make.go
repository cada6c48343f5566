package lvm

import (
	"context"
	"errors"

	"github.com/loam-storage/loam/driver/volume"
)

// lookOrMake reads the volume group, and makes it and its thin pool where the configuration says so and they
// are not there yet.
func (p *Pool) lookOrMake(ctx context.Context) (*group, error) {
	g, err := p.look(ctx)
	if !p.config.Create {
		return g, err
	}
	if volume.Is(err, volume.Unavailable) {
		if makeErr := p.makeGroup(ctx); makeErr != nil {
			return nil, errors.Join(makeErr, err)
		}
		g, err = p.look(ctx)
	}
	// A group with anything in it is not one that a crash left half made.
	if err != nil || !p.thin() || len(g.lvs) > 0 {
		return g, err
	}
	if err := p.makeThinPool(ctx); err != nil {
		return nil, volume.Errorf(volume.KindOf(err), "pool %q: make thin pool %q in volume group %q: %w", p.name, p.config.ThinPool, p.config.VolumeGroup, err)
	}
	return p.look(ctx)
}

// makeGroup makes the volume group on disks that are certainly empty. The kind of its error is Invalid
// where one is not.
func (p *Pool) makeGroup(ctx context.Context) error {
	for _, device := range p.config.Devices {
		found, err := p.machine.Probe(ctx, device)
		switch {
		case err != nil:
			return volume.Errorf(volume.Invalid, "pool %q: devices: %w", p.name, err)
		case found.Type != "":
			return volume.Errorf(volume.Invalid, "pool %q: devices: %q has %s on it, and is left as it is: take an empty disk, or wipe this one (wipefs --all)", p.name, device, found.Type)
		case !found.Blank:
			return volume.Errorf(volume.Invalid, "pool %q: devices: %q holds data that nobody knows, and is left as it is: take an empty disk, or wipe this one (blkdiscard --zeroout)", p.name, device)
		}
		if err := p.machine.NotHeld(device); err != nil {
			return volume.Errorf(volume.Invalid, "pool %q: devices: %w", p.name, err)
		}
	}
	args := append([]string{"vgcreate", "--metadatasize", groupMetadata, p.config.VolumeGroup}, p.config.Devices...)
	if _, err := p.run(ctx, "", p.config.Devices, args); err != nil {
		return volume.Errorf(volume.KindOf(err), "pool %q: make volume group %q: %w", p.name, p.config.VolumeGroup, err)
	}
	return p.flush(p.config.Devices)
}

// groupMetadata has room for the tags of some thousand volumes.
const groupMetadata = "16m"

// makeThinPool makes a thin pool of all of the group. LVM chooses the chunks and the size of the metadata.
func (p *Pool) makeThinPool(ctx context.Context) error {
	_, err := p.lvm(ctx, "lvcreate", "--yes", "--type", "thin-pool", "--zero", "y",
		"--extents", "100%FREE", "--name", p.config.ThinPool, p.config.VolumeGroup)
	return err
}
