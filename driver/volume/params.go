package volume

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Keys of a StorageClass's parameters and of an inline volume's attributes.
const (
	KeyPool        = "pool"                   // name of the pool; the first configured one where absent
	KeyMkfsOptions = "mkfsOptions"            // further options for mkfs, as far as mkfs.go allows them
	KeyAllowBlock  = "allowBlockAsFilesystem" // "true": a volume that was used as a block device may be mounted
	KeySize        = "size"                   // of an inline ephemeral volume; DefaultSize where absent
	KeyMaxFreeze   = "maxFreeze"              // of a VolumeSnapshotClass or VolumeGroupSnapshotClass: a duration, such as "30s"
)

// reserved is the prefix of keys that Kubernetes and its sidecars add.
const reserved = "csi.storage.k8s.io/"

// Keys that the external-provisioner adds with --extra-create-metadata, and that the kubelet adds to
// the volume context with podInfoOnMount.
const (
	keyClaimName      = reserved + "pvc/name"
	keyClaimNamespace = reserved + "pvc/namespace"
	keyPV             = reserved + "pv/name"
	keyPodName        = reserved + "pod.name"
	keyPodNamespace   = reserved + "pod.namespace"
)

// snapshotKeys are what the external-snapshotter adds with --extra-create-metadata.
var snapshotKeys = []string{
	reserved + "volumesnapshot/name", reserved + "volumesnapshot/namespace", reserved + "volumesnapshotcontent/name",
	reserved + "volumegroupsnapshot/name", reserved + "volumegroupsnapshot/namespace", reserved + "volumegroupsnapshotcontent/name",
}

// Parameters is what a StorageClass says of its volumes, read once. Below ParseParameters nobody
// reads a map. It is comparable.
type Parameters struct {
	Pool        string `json:"pool,omitempty"`
	MkfsOptions string `json:"mkfsOptions,omitempty"` // options and their values, separated by single blanks

	// AllowBlockAsFilesystem lets the volume be mounted although a user has had its device (Block). The kernel and
	// fsck of the node then read, as root, metadata that this user may have made.
	AllowBlockAsFilesystem bool `json:"allowBlockAsFilesystem,omitempty"`
}

// MkfsArgs returns the further arguments for mkfs.
func (p Parameters) MkfsArgs() []string { return strings.Fields(p.MkfsOptions) }

// OwnParameters returns a StorageClass's parameters without those for Kubernetes and its sidecars. They are
// taken out before a volume is created, and not before somebody asks for room. FSTypeOf reads the one of them
// that says something of volumes.
func OwnParameters(raw map[string]string) map[string]string {
	own := map[string]string{}
	for key, value := range raw {
		if !strings.HasPrefix(key, reserved) {
			own[key] = value
		}
	}
	return own
}

// FSTypeOf returns the file system that a StorageClass asks for among the sidecars' keys; empty if none.
func FSTypeOf(raw map[string]string) string { return raw[reserved+"fstype"] }

// ParseParameters reads the parameters of CreateVolume. A key it does not know is refused by name.
// The kind of its error is Invalid.
func ParseParameters(raw map[string]string) (Parameters, Claim, error) {
	var p Parameters
	var c Claim
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		value := raw[key]
		switch key {
		case KeyPool:
			if err := CheckPoolName(value); err != nil {
				return Parameters{}, Claim{}, Errorf(Invalid, "parameter %q: %w", key, err)
			}
			p.Pool = value
		case KeyMkfsOptions:
			options, err := readMkfsOptions(value)
			if err != nil {
				return Parameters{}, Claim{}, err
			}
			p.MkfsOptions = options
		case KeyAllowBlock:
			if value != "true" && value != "false" {
				return Parameters{}, Claim{}, Errorf(Invalid, `parameter %q is %.64q: write "true" or "false"`, key, value)
			}
			p.AllowBlockAsFilesystem = value == "true"
		case keyClaimName:
			c.Name = value
		case keyClaimNamespace:
			c.Namespace = value
		case keyPV:
			c.PV = value
		default:
			return Parameters{}, Claim{}, unknownKey(key, KeyPool, KeyMkfsOptions, KeyAllowBlock)
		}
	}
	return p, c, nil
}

// longestFreeze is the most that maxFreeze can be: a database whose writes wait for longer is down.
const longestFreeze = time.Hour

// ParseSnapshotParameters reads the parameters of CreateSnapshot and CreateVolumeGroupSnapshot: how long file systems may be
// frozen, 0 where that is not said. Beside it there may be
// only what the external-snapshotter itself adds, and a deletion policy, which is a field of the class, but stands among
// the parameters as well where Kubernetes' own tests make one for groups; it is the orchestrator's matter in
// both places. The kind of its error is Invalid.
func ParseSnapshotParameters(raw map[string]string) (maxFreeze time.Duration, err error) {
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		policy := key == "deletionPolicy" && (raw[key] == "Delete" || raw[key] == "Retain")
		switch {
		case key == KeyMaxFreeze:
			if maxFreeze, err = time.ParseDuration(raw[key]); err != nil || maxFreeze <= 0 || maxFreeze > longestFreeze {
				return 0, Errorf(Invalid, "parameter %s is %q, and not a duration of more than 0 and at most %s, such as \"30s\"", KeyMaxFreeze, raw[key], longestFreeze)
			}
		case !policy && !slices.Contains(snapshotKeys, key):
			return 0, unknownKey(key)
		}
	}
	return maxFreeze, nil
}

// ParseMutableParameters checks the mutable parameters of CreateVolume. There are none yet, so any
// key is refused. The kind of its error is Invalid.
func ParseMutableParameters(raw map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		return unknownKey(key)
	}
	return nil
}

// IsEphemeral reports whether the volume context that the kubelet sends with NodePublishVolume is
// that of an inline ephemeral volume.
func IsEphemeral(context map[string]string) bool { return context[ContextEphemeral] == "true" }

// ParseEphemeral reads the volume context of an inline ephemeral volume. A key that is neither ours
// nor added by the kubelet is refused by name, and so are KeyMkfsOptions and KeyAllowBlock: who may write a pod need not be
// who may write a StorageClass. The kind of its error is Invalid.
func ParseEphemeral(context map[string]string) (Parameters, Claim, Size, error) {
	size, own := DefaultSize, map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(context)) {
		switch {
		case key == KeySize:
			parsed, err := ParseSize(context[key])
			if err != nil {
				return Parameters{}, Claim{}, 0, Errorf(Invalid, "attribute %q: %w", key, err)
			}
			size = parsed
		case key == KeyMkfsOptions || key == KeyAllowBlock:
			return Parameters{}, Claim{}, 0, Errorf(Invalid, "attribute %q cannot be given for an inline volume: use a StorageClass", key)
		case !strings.HasPrefix(key, reserved):
			own[key] = context[key]
		}
	}
	p, _, err := ParseParameters(own)
	return p, Claim{Namespace: context[keyPodNamespace], Name: context[keyPodName]}, size, err
}

func unknownKey(key string, known ...string) error {
	if len(known) == 0 {
		return Errorf(Invalid, "parameter %q is unknown: none can be given here", printable(key))
	}
	return Errorf(Invalid, "parameter %q is unknown: loam knows %s", printable(key), strings.Join(known, ", "))
}
