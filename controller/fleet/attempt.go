package fleet

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loam-storage/loam/driver/volume"
)

// attempt is a create of which it is not known how it ended, or that has not ended.
type attempt struct {
	node string
	pool string // that the request names; empty: the default one
	ask  bool   // the call is over: what the node says that it has, or is making, decides
}

// trying says that the volume may be on the node, or come to be there, until decided.
func (f *Fleet) trying(name string, a attempt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.undecided[name] = a
}

// decided says that what a node has is known again, as far as the volume goes.
func (f *Fleet) decided(name, node string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.undecided[name].node == node {
		delete(f.undecided, name)
	}
}

// How a call that makes something ended.
type ending int

const (
	made    ending = iota
	refused        // it has not been made
	failed         // it is over, and may have been made
	open           // it may go on
)

// endingOf returns how a call of pass ended.
func endingOf(err error) ending {
	if volume.Is(err, volume.Unavailable) {
		return open // with its connection
	}
	switch status.Code(err) {
	case codes.OK:
		return made
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.OutOfRange, codes.ResourceExhausted,
		codes.Unimplemented, codes.PermissionDenied, codes.Unauthenticated:
		return refused
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted:
		return open
	}
	return failed
}
