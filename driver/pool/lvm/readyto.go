package lvm

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"k8s.io/klog/v2"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// A thick volume carries the size that loam gave it (tagReadyTo), so that what somebody else has extended it by is not taken
// for its own: nobody has wiped that. It is not wiped then either, for a file system may have been grown into it.
//
// The tag is there with tagReady. Without that it is there only where the volume has been used and was expanded since: then
// it says up to where the next attach wipes it. In a pool that does not wipe there is none.

// readyTo returns up to where a logical volume is its user's or wiped, or will be when it is attached next; ok is false where
// no tag says so. The kind of its error is Internal.
func readyTo(l vg.LV) (bytes volume.Size, ok bool, err error) {
	text, ok := tagged(l.Tags, tagReadyTo)
	if !ok {
		return 0, false, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, false, volume.Errorf(volume.Internal, "tag \"%s%.32s\" does not say up to where logical volume %q is its user's", tagReadyTo, text, l.Name)
	}
	return volume.Size(n), true, nil
}

func readyToTag(bytes volume.Size) string { return tagReadyTo + byteText(bytes) }

// grownByOthers says whether a logical volume, of a volume or a snapshot, is larger than loam has made it. The kind of its
// error is InUse.
func (p *account) grownByOthers(id volume.ID, l vg.LV) error {
	if !p.layout.wipes() {
		return nil
	}
	to, ok, err := readyTo(l)
	if err != nil || !ok || l.Size <= to {
		return err
	}
	group, extended := p.config.VolumeGroup, l.Name
	if l.IsCOW() {
		extended = l.Origin // which gives its snapshots their size
	}
	return volume.Errorf(volume.InUse, "%q: logical volume %s/%s has %s (%d bytes), and loam gave it %s: somebody else has extended it, and what it has since may show what others wrote. To take that back, if no file system was grown into it: lvreduce --size %db %[2]s/%[3]s. If what is there is its own: lvchange --deltag %[8]s --addtag %[9]s %[2]s/%[10]s",
		id, group, extended, l.Size, int64(l.Size), to, int64(to), readyToTag(to), readyToTag(l.Size), l.Name)
}

// settleReadyTo takes back what an expansion that was cut off has noted and not done.
func (p *lvs) settleReadyTo(ctx context.Context, l vg.LV) error {
	to, ok, err := readyTo(l)
	if err != nil || !ok || to <= l.Size || !p.layout.wipes() || !l.Has(tagReady) {
		return err
	}
	change := vg.Tag(vg.Only(l.Name, p.identity(l), tagReady, readyToTag(to)), []string{readyToTag(l.Size)}, []string{readyToTag(to)})
	return p.why(ctx, p.vg.Change(ctx, change), 0)
}

// namesPerCommand bounds how many logical volumes are named in one command.
const namesPerCommand = 64

// noteSizes gives those that are ready and do not say up to where the tag that does, with one command for all of one size:
// they are of an earlier version, and are trusted as they are when a pool is opened first. What an expansion has noted and
// was cut off before it did it is taken back.
func (p *lvs) noteSizes(ctx context.Context, g *vg.Layout) error {
	if !p.layout.wipes() {
		return nil
	}
	bySize := map[volume.Size][]string{}
	for _, l := range g.LVs {
		isVolume := strings.HasPrefix(p.identity(l), tagVolume) || strings.HasPrefix(p.identity(l), tagSnapshot)
		if !isVolume || !l.Has(tagReady) || p.named(l) != nil || p.halfMade(g, l) {
			continue
		}
		if _, ok, err := readyTo(l); err == nil && !ok {
			bySize[l.Size] = append(bySize[l.Size], l.Name)
		}
		if err := p.settleReadyTo(ctx, l); err != nil && volume.KindOf(err) != volume.Internal {
			return err
		} else if err != nil {
			klog.FromContext(ctx).Error(err, "a volume with a damaged tag stays as it is", "pool", p.name)
		}
	}
	for size, all := range bySize {
		for names := range slices.Chunk(all, namesPerCommand) {
			change := vg.Tag(vg.Select{Names: names, Tags: []string{tagReady}}, []string{readyToTag(size)}, nil)
			if err := p.why(ctx, p.vg.Change(ctx, change), 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func byteText(bytes volume.Size) string { return strconv.FormatInt(int64(bytes), 10) }
