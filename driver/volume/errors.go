package volume

import (
	"errors"
	"fmt"
)

// Kind says what sort of failure an error is, in words that mean the same for every pool and
// service. It is turned into a gRPC code in exactly one place, driver/status.go.
type Kind int

// The kinds of error. Internal is the zero value: an error that nobody gave a kind is one that
// nobody expected.
const (
	Internal    Kind = iota // the machine failed, or loam is wrong
	Invalid                 // the request itself can never succeed
	NotFound                // the volume, snapshot, pool or path named is not there
	Exists                  // the name is taken by something other than what is asked for
	Busy                    // another operation holds the name: ask again
	InUse                   // the state forbids it: attached, mounted, not staged, staged otherwise
	Full                    // no room, or no room in the topology asked for
	OutOfRange              // a size that cannot be had
	Unsupported             // this pool, file system or kernel cannot do it
	Unavailable             // the machine or pool cannot be reached now: ask again
)

var kindNames = [...]string{
	Internal: "Internal", Invalid: "Invalid", NotFound: "NotFound", Exists: "Exists", Busy: "Busy",
	InUse: "InUse", Full: "Full", OutOfRange: "OutOfRange", Unsupported: "Unsupported", Unavailable: "Unavailable",
}

func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("Kind(%d)", int(k))
	}
	return kindNames[k]
}

type kindError struct {
	kind Kind
	err  error
}

func (e *kindError) Error() string { return e.err.Error() }
func (e *kindError) Unwrap() error { return e.err }

// Errorf makes an error of the given kind. The message names the thing, says what is wrong and what
// can be done; %w wraps as in fmt.Errorf.
func Errorf(kind Kind, format string, args ...any) error {
	return &kindError{kind: kind, err: fmt.Errorf(format, args...)}
}

// KindOf returns the kind of err: that of the outermost error made by Errorf in its chain, else
// Internal.
func KindOf(err error) Kind {
	var e *kindError
	if errors.As(err, &e) {
		return e.kind
	}
	return Internal
}

// Is reports whether err is an error of the given kind. It is false for nil.
func Is(err error, kind Kind) bool {
	return err != nil && KindOf(err) == kind
}
