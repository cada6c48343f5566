package volume

import (
	"fmt"
	"strings"
	"time"
)

// SourceKind says what a volume was copied from.
type SourceKind string

// What a volume can be copied from.
const (
	FromSnapshot SourceKind = "snapshot"
	FromVolume   SourceKind = "volume"
)

// Source names what a new volume starts as a copy of (CSI VolumeContentSource).
type Source struct {
	Kind SourceKind `json:"kind"`
	ID   ID         `json:"id"`
}

// String returns the source as a message shows it: `snapshot "n1/fast/s1"`.
func (s Source) String() string { return string(s.Kind) + " " + quoted(s.ID) }

// Claim is what an orchestrator says a volume is for. It is kept for the people who look at a disk
// and decides nothing.
type Claim struct {
	Namespace string `json:"namespace,omitempty"` // of the PersistentVolumeClaim or pod
	Name      string `json:"name,omitempty"`      // of the PersistentVolumeClaim or pod
	PV        string `json:"pv,omitempty"`        // name of the PersistentVolume
}

// Spec is what a caller asks a pool to make.
type Spec struct {
	ID         ID
	Size       Range
	Source     *Source // nil for an empty volume, which reads as zeros
	FSType     FSType  // the file system it is meant for; empty where the caller did not say
	Mkfs       FSType  // the file system that is certainly made of it if it is no copy; empty for none, as of a block device
	Parameters Parameters
	Claim      Claim
	Ephemeral  bool // lives and dies with one pod
	BlockBytes Size // logical block size of its device in bytes; 0 for the pool's own, or for a copy that of its source
}

// LeastBytes returns the smallest size in which the spec makes sense: room for the file system that
// it is meant for.
func (s Spec) LeastBytes() Size { return s.FSType.Least() }

// PickSize returns the size to make: as Range.Pick, but never below what the file system needs, and
// for a copy never below sourceBytes, which is also its size where none is asked. The kind of its
// error is OutOfRange, or Invalid for a negative range.
func (s Spec) PickSize(sourceBytes, least, unit Size) (Size, error) {
	r := s.Size
	if s.Source != nil && r.RequiredBytes >= 0 {
		r.RequiredBytes = max(r.RequiredBytes, sourceBytes)
	}
	return r.Pick(max(least, s.LeastBytes()), unit)
}

// Volume is a volume that exists, as its pool read it from the disk. Sizes are in bytes.
type Volume struct {
	ID         ID
	Size       Size
	Source     *Source
	FSType     FSType
	Parameters Parameters
	Claim      Claim
	Ephemeral  bool
	Created    time.Time
	Mark       Mark
	Device     string // path of the block device while it is attached, else empty
	ReadOnly   bool   // the device refuses writes
	Unwiped    bool   // what its user has not written need not read as zeros, but at both ends
	BlockBytes Size   // logical block size of its device in bytes, the same at each use; 0: not recorded

	Others []string // paths of further block devices of the same bytes, which somebody else has made
	Fault  string   // how Device is not as its pool makes it; empty: it is
	Damage string   // what of the volume or its record is lost or damaged, and what to do; empty: nothing. The rest is what is known
}

// Damaged returns v as one that is damaged, if says is not empty. Nobody can tell then whether it holds data, so it is none to
// format.
func (v Volume) Damaged(says string) Volume {
	if says == "" {
		return v
	}
	if v.Damage = says; v.Mark != Block {
		v.Mark = Used
	}
	return v
}

// Intact says whether all that its pool keeps of the volume is there. With one that is damaged nothing is done, but to take its
// device away: what it is, and whether it holds data, cannot be told. The kind of its error is InUse.
func (v Volume) Intact() error {
	if v.Damage == "" {
		return nil
	}
	return Errorf(InUse, "volume %s is damaged, and nothing is done with it: %s", quoted(v.ID), v.Damage)
}

// Usable says whether the volume may be handed out, or written to by its pool. Two devices of the same bytes know
// nothing of what is written through the other, so a file system that is mounted of one of them is lost when it
// is of the other too; and a device that was changed may show other bytes. Nor is one usable that is
// damaged. The kind of its error is InUse.
func (v Volume) Usable() error {
	switch {
	case v.Damage != "":
		return v.Intact()
	case v.Fault != "":
		return Errorf(InUse, "volume %s is attached as %s, but %s: end what uses it, and detach it", quoted(v.ID), v.Device, v.Fault)
	case len(v.Others) > 0:
		return Errorf(InUse, "volume %s is attached as %s, and its bytes are shown through %s as well, which is not its own device: unmount and detach that one",
			quoted(v.ID), v.Device, strings.Join(v.Others, ", "))
	}
	return nil
}

// Mountable says whether the file system that may be on v can be mounted: not where a user has had the device itself
// (Block), unless the volume was created with the parameter for that. The kind of its error is InUse.
func (v Volume) Mountable() error {
	if v.Mark != Block || v.Parameters.AllowBlockAsFilesystem {
		return nil
	}
	return Errorf(InUse, "volume %s was used as a block device, or is a copy of one that was, and is not mounted: its user may have written any metadata there, "+
		"which the kernel and fsck of the node would read as root; if that user may be trusted with it, make a copy of the volume with a StorageClass that has the parameter %s: \"true\"",
		quoted(v.ID), KeyAllowBlock)
}

// Attached reports whether the volume's block device is there.
func (v Volume) Attached() bool { return v.Device != "" }

// About adds to an error of any kind which volume it is about, and which PersistentVolume that is.
func (v Volume) About(err error) error {
	switch {
	case err == nil:
		return nil
	case v.Claim.PV == "":
		return Errorf(KindOf(err), "volume %s: %w", quoted(v.ID), err)
	}
	return Errorf(KindOf(err), "volume %s, PersistentVolume %.253q: %w", quoted(v.ID), v.Claim.PV, err)
}

// Grown returns the size that v is to get to meet r: its own where that does, else the least multiple of
// unit. A volume never gets smaller. The kind of its error is OutOfRange, or Invalid for a negative
// range.
func (v Volume) Grown(r Range, unit Size) (Size, error) {
	if err := r.Check(); err != nil {
		return 0, err
	}
	size := max(v.Size, r.RequiredBytes.RoundUp(unit))
	if !r.Holds(size) {
		return 0, Errorf(OutOfRange, "volume %s has %d bytes, and neither can it shrink nor its pool make a size between %d and %d, in multiples of %d",
			quoted(v.ID), v.Size, r.RequiredBytes, r.LimitBytes, unit)
	}
	return size, nil
}

// Fits says whether v is what spec asks for, so that making it again may answer with it. The kind of
// its error is Exists, and the message names the first difference; InUse where v is damaged.
func (v Volume) Fits(spec Spec) error {
	differs := func(what string, has, asked any) error {
		return Errorf(Exists, "volume %s exists already with %s %v, not %v", quoted(v.ID), what, has, asked)
	}
	key, has, asked := v.Parameters.Differs(spec.Parameters)
	switch {
	case v.Damage != "":
		return v.Intact()
	case !spec.Size.Holds(v.Size):
		return Errorf(Exists, "volume %s exists already with %d bytes, which is not between %d and %d",
			quoted(v.ID), v.Size, spec.Size.RequiredBytes, spec.Size.LimitBytes)
	case !sameSource(v.Source, spec.Source):
		return differs("source", sourceText(v.Source), sourceText(spec.Source))
	case v.FSType != "" && spec.FSType != "" && v.FSType != spec.FSType:
		return differs("file system", v.FSType, spec.FSType)
	case key != "":
		return differs(fmt.Sprintf("parameter %q", key), has, asked)
	case v.Ephemeral != spec.Ephemeral:
		return differs("ephemeral", v.Ephemeral, spec.Ephemeral)
	case v.BlockBytes != 0 && spec.BlockBytes != 0 && v.BlockBytes != spec.BlockBytes:
		return differs("logical blocks of (bytes)", int64(v.BlockBytes), int64(spec.BlockBytes))
	}
	return nil
}

func sameSource(a, b *Source) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func sourceText(s *Source) string {
	if s == nil {
		return "none"
	}
	return s.String()
}

// quotedText shows a text of any length.
func quotedText(text string) string { return fmt.Sprintf("%.64q", text) }

func quoted(id ID) string { return `"` + id.String() + `"` }
