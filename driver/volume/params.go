package volume

import (
	"maps"
	"slices"
	"strconv"
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

// parameter is one parameter of a StorageClass. All that loam does with parameters in general goes over these: reading them,
// comparing those of a volume with those that are asked for, and refusing them for inline volumes.
type parameter struct {
	key    string
	inline bool // may be given for an inline volume, too: who may write a pod need not be who may write a StorageClass
	read   func(p *Parameters, value string) error
	text   func(p Parameters) string // for messages
}

func parameters() []parameter {
	return []parameter{
		{KeyPool, true, func(p *Parameters, value string) error {
			p.Pool = value
			if err := CheckPoolName(value); err != nil {
				return Errorf(Invalid, "parameter %q: %w", KeyPool, err)
			}
			return nil
		}, func(p Parameters) string { return quotedText(p.Pool) }},
		{KeyMkfsOptions, false, func(p *Parameters, value string) (err error) {
			p.MkfsOptions, err = readMkfsOptions(value)
			return err
		}, func(p Parameters) string { return quotedText(p.MkfsOptions) }},
		{KeyAllowBlock, false, func(p *Parameters, value string) error {
			p.AllowBlockAsFilesystem = value == "true"
			if value != "true" && value != "false" {
				return Errorf(Invalid, `parameter %q is %.64q: write "true" or "false"`, KeyAllowBlock, value)
			}
			return nil
		}, func(p Parameters) string { return strconv.FormatBool(p.AllowBlockAsFilesystem) }},
	}
}

// Differs returns the key of the first parameter that other has differently, and both values as texts; an empty key where
// they are equal.
func (p Parameters) Differs(other Parameters) (key, has, others string) {
	for _, one := range parameters() {
		if has, others := one.text(p), one.text(other); has != others {
			return one.key, has, others
		}
	}
	return "", "", ""
}

// ParseParameters reads the parameters of CreateVolume. A key it does not know is refused by name.
// The kind of its error is Invalid.
func ParseParameters(raw map[string]string) (Parameters, Claim, error) {
	var p Parameters
	var c Claim
	of, known := map[string]parameter{}, []string(nil)
	for _, one := range parameters() {
		of[one.key], known = one, append(known, one.key)
	}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		one, isParameter := of[key]
		switch {
		case isParameter:
			if err := one.read(&p, raw[key]); err != nil {
				return Parameters{}, Claim{}, err
			}
		case key == keyClaimName:
			c.Name = raw[key]
		case key == keyClaimNamespace:
			c.Namespace = raw[key]
		case key == keyPV:
			c.PV = raw[key]
		default:
			return Parameters{}, Claim{}, unknownKey(key, known...)
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
// nor added by the kubelet is refused by name, and so is a parameter that only a StorageClass may have. The kind of its
// error is Invalid.
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
		case slices.ContainsFunc(parameters(), func(p parameter) bool { return p.key == key && !p.inline }):
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
