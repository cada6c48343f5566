package lvm

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// lookOrMake reads the volume group, and makes it and its thin pool where the configuration says so and they
// are not there yet. What a crash left half made is made whole: disks that were prepared carry a UUID that tells whose
// they are, and a group has a tag until its thin pool is there, too.
func (p *Pool) lookOrMake(ctx context.Context) (*vg.Report, error) {
	g, err := p.lookAndDecide(ctx)
	if !p.config.Create {
		return g, err
	}
	if errors.Is(err, errRefused) {
		return nil, err
	}
	if volume.Is(err, volume.Unavailable) {
		if makeErr := p.makeGroup(ctx); makeErr != nil {
			return nil, errors.Join(makeErr, err)
		}
		g, err = p.vg.Report(ctx)
	}
	if err != nil {
		return nil, err
	}
	half := slices.Contains(g.Tags, tagMaking)
	// A group without the tag and with anything in it is not one that a crash left half made.
	if p.config.ThinPool != "" && (half || len(g.LVs) == 0) {
		if err := p.makeThinPool(ctx, &g.Layout); err != nil {
			return nil, volume.Errorf(volume.KindOf(err), "pool %q: make thin pool %q in volume group %q: %w", p.name, p.config.ThinPool, p.config.VolumeGroup, err)
		}
	}
	if half {
		if err := p.vg.ChangeOutside(ctx, vg.Command{Name: "vgchange", Flags: []string{"--deltag", tagMaking}}); err != nil {
			return nil, p.explain(err, g, 0)
		}
	}
	return p.vg.Report(ctx)
}

// makeGroup makes the volume group on disks that are certainly empty, or that this pool has prepared for it. The
// kind of its error is Invalid where one is neither.
func (p *Pool) makeGroup(ctx context.Context) error {
	var empty []string
	if err := p.vg.CheckDevices(ctx); err != nil {
		return err
	}
	for _, device := range p.config.Devices {
		found, err := p.machine.Probe(ctx, device)
		switch {
		case err != nil:
			return volume.Errorf(volume.Invalid, "pool %q: devices: %w", p.name, err)
		case p.prepared(found.Type, found.UUID): // vgcreate refuses it if it is in a group meanwhile
		case found.Type != "":
			return volume.Errorf(volume.Invalid, "pool %q: devices: %q has %s on it, and is left as it is: take an empty disk, or wipe this one (wipefs --all)", p.name, device, found.Type)
		case !found.Blank:
			return volume.Errorf(volume.Invalid, "pool %q: devices: %q holds data that nobody knows, and is left as it is: take an empty disk, or wipe this one (blkdiscard --zeroout)", p.name, device)
		default:
			empty = append(empty, device)
		}
		if err := p.machine.NotHeld(device, ""); err != nil {
			return volume.Errorf(volume.Invalid, "pool %q: devices: %w", p.name, err)
		}
	}
	for _, device := range empty {
		if err := p.vg.PrepareDisk(ctx, device, p.newDiskUUID(), groupMetadata); err != nil {
			return err
		}
	}
	return p.vg.Create(ctx, tagMaking)
}

// groupMetadata is enough for the tags of some thousand volumes.
const groupMetadata = "16m"

// diskMark is what the UUID of a disk begins with that was prepared for this node's group: 80 bits of a hash. The
// rest is random, for no two disks may have one UUID.
func (o owner) diskMark() string {
	sum := sha256.Sum256([]byte(o.node + "/" + o.group))
	return hex.EncodeToString(sum[:10])
}

// newDiskUUID writes 32 characters as LVM does, in groups of 6, 4, 4, 4, 4, 4 and 6.
func (o owner) newDiskUUID() string {
	all := o.diskMark() + strings.ToLower(rand.Text()[:12])
	groups := []string{all[:6]}
	for at := 6; at < 26; at += 4 {
		groups = append(groups, all[at:at+4])
	}
	return strings.Join(append(groups, all[26:]), "-")
}

// prepared reports whether a disk with that signature was prepared for the group by this pool.
func (o owner) prepared(signature, uuid string) bool {
	return signature == "LVM2_member" && strings.HasPrefix(strings.ReplaceAll(uuid, "-", ""), o.diskMark())
}

// makeThinPool makes a thin pool of all of the group. LVM chooses the chunks and the size of the metadata. Of one
// that a crash left half made, parts may be there as logical volumes of their own.
func (p *lvs) makeThinPool(ctx context.Context, g *vg.Layout) error {
	if l, there := g.Find(p.config.ThinPool); there && l.Type == vg.TypeThinPool {
		return nil
	}
	for _, l := range g.LVs {
		part := l.Name == p.config.ThinPool || strings.HasPrefix(l.Name, p.config.ThinPool+"_t") || strings.HasPrefix(l.Name, "lvol")
		if l.Hidden { // it goes with what it belongs to
			continue
		}
		if !part || len(l.Tags) > 0 {
			return volume.Errorf(volume.Invalid, "logical volume %q is in the group, which was not made whole yet: remove it, or make the thin pool yourself", l.Name)
		}
		if err := p.vg.ChangeOutside(ctx, vg.Remove(vg.Select{Names: []string{l.Name}, Group: tagMaking})); err != nil {
			return err
		}
	}
	return p.vg.ChangeOutside(ctx, vg.Command{Name: "lvcreate", Flags: []string{"--yes", "--type", "thin-pool", "--zero", "y", "--extents", "100%FREE", "--name", p.config.ThinPool}})
}
