package volume

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"sync"
)

// Lengths that make every handle fit the 128 bytes that CSI allows an identifier
// (spec, section "Size Limits"): 58 + "/" + 20 + "/" + 48.
const (
	MaxNodeBytes = 58
	MaxPoolBytes = 20
	MaxNameBytes = 48
)

// ID names one volume, one snapshot or one group of snapshots. Its text is the CSI handle,
// "<node>/<pool>/<name>": an administrator reads from a PersistentVolume where its data lives, and
// making the same name again yields the same handle without a table that says so.
type ID struct {
	Node string // the node whose disk it is on
	Pool string // the pool on that node
	Name string // the name inside the pool
}

// String returns the CSI handle of id.
func (id ID) String() string { return id.Node + "/" + id.Pool + "/" + id.Name }

// MarshalText prints the handle, so that records and tables show IDs as everything else does.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText printed. The kind of its error is NotFound.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}

var (
	nodePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,56}[A-Za-z0-9])?$`) })
	poolPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,18}[a-z0-9])?$`) })
	namePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$`) })
	hashPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[gh]-[0-9a-f]{40}$`) })
)

// ParseID reads a handle. A handle that this code could not have printed names nothing that could
// exist, so the kind of the error is NotFound; it never reaches a path or a command line.
func ParseID(handle string) (ID, error) {
	parts := strings.Split(handle, "/")
	if len(parts) != 3 || !nodePattern().MatchString(parts[0]) || !poolPattern().MatchString(parts[1]) || !namePattern().MatchString(parts[2]) {
		return ID{}, Errorf(NotFound, "handle %q does not exist: a handle of loam is <node>/<pool>/<name>", printable(handle))
	}
	return ID{Node: parts[0], Pool: parts[1], Name: parts[2]}, nil
}

// NameFor returns the name that a thing requested under the given CSI name has inside its pool: the
// name itself where it is 1 to 48 characters of [A-Za-z0-9._-] and starts with a letter or a digit,
// else a hash of it. A name that looks like such a hash, or like one of MemberName, is hashed as well,
// so that two names never meet in one.
func NameFor(requested string) string {
	if namePattern().MatchString(requested) && !hashPattern().MatchString(requested) {
		return requested
	}
	return hashed("h-", requested)
}

// MemberName returns the name of the snapshot of the given volume inside a group of snapshots.
func MemberName(group, volume string) string {
	return hashed("g-", group+"/"+volume)
}

// NodeName returns the name that a machine has in handles and in the topology: its own name, or
// where that is longer than 58 bytes or not a valid label value, its beginning and a hash.
func NodeName(machine string) string {
	if nodePattern().MatchString(machine) {
		return machine
	}
	sum := sha256.Sum256([]byte(machine))
	head := strings.Trim(strings.Map(func(r rune) rune {
		if r < 128 && nodePattern().MatchString("a"+string(r)+"a") {
			return r
		}
		return -1
	}, machine), "._-")
	if len(head) > 41 {
		head = head[:41]
	}
	return strings.TrimLeft(head+"-", "-") + hex.EncodeToString(sum[:8])
}

// CheckPoolName says whether name can name a pool: 1 to 20 lower-case letters, digits and inner
// dashes. The kind of its error is Invalid.
func CheckPoolName(name string) error {
	if !poolPattern().MatchString(name) {
		return Errorf(Invalid, "pool name %q: use 1 to 20 lower-case letters, digits and dashes, with a letter or digit at both ends", printable(name))
	}
	return nil
}

// MaxRequestNameBytes is the longest name that a CSI request may carry (spec, "Size Limits").
const MaxRequestNameBytes = 128

// CheckRequestName says whether a CSI request may carry the given name: not empty, at most 128
// bytes, and without the control characters that the specification forbids. The kind of its error
// is Invalid.
func CheckRequestName(name string) error {
	switch {
	case name == "":
		return Errorf(Invalid, "name is missing")
	case len(name) > MaxRequestNameBytes:
		return Errorf(Invalid, "name %q... is %d bytes long, the longest allowed is %d", printable(name[:32]), len(name), MaxRequestNameBytes)
	case strings.ContainsFunc(name, forbidden):
		return Errorf(Invalid, "name %q contains a control character", printable(name))
	}
	return nil
}

// forbidden is the specification's list: U+0000-0008, 000B, 000C, 000E-001F and 007F-009F. A
// replacement character is what a decoder makes of bytes that are not UTF-8.
func forbidden(r rune) bool {
	return r <= 0x08 || r == 0x0b || r == 0x0c || (r >= 0x0e && r <= 0x1f) || (r >= 0x7f && r <= 0x9f) || r == '\uFFFD'
}

func hashed(prefix, text string) string {
	sum := sha256.Sum256([]byte(text))
	return prefix + hex.EncodeToString(sum[:20])
}

// printable shortens what a caller sent to what an error message can carry.
func printable(text string) string {
	if len(text) > MaxRequestNameBytes {
		return text[:MaxRequestNameBytes]
	}
	return text
}
